"""Rules between values. Each is written once and gives a check in Python and one in Helm's templates; a test compares the two."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True)
class ValueCondition:
    """A Go template expression over .Values, and the same in Python over the values as Helm sees them."""

    template: str
    holds: Callable[[Values], Any]


@dataclass(frozen=True)
class ValueRule:
    """A combination of values that is refused: the value to change, a sentence with the cure, and the combination."""

    key: str
    words: str
    broken: ValueCondition


def _get(values: Values, key: str) -> Any:
    return reduce(lambda group, name: group[name], key.split("."), values)


def _is_set(key: str) -> ValueCondition:
    return ValueCondition(f".{key}", lambda v: _get(v, key))


def _equals(key: str, text: str) -> ValueCondition:
    return ValueCondition(f'(eq .{key} "{text}")', lambda v: _get(v, key) == text)


def _matches(key: str, pattern: str) -> ValueCondition:
    return ValueCondition(f"(regexMatch {json.dumps(pattern)} .{key})", lambda v: re.search(pattern, _get(v, key)))


def _not(condition: ValueCondition) -> ValueCondition:
    return ValueCondition(f"(not {condition.template})", lambda v: not condition.holds(v))


def _all(*conditions: ValueCondition) -> ValueCondition:
    return ValueCondition(f"(and {' '.join(c.template for c in conditions)})", lambda v: all(c.holds(v) for c in conditions))


def _any(*conditions: ValueCondition) -> ValueCondition:
    return ValueCondition(f"(or {' '.join(c.template for c in conditions)})", lambda v: any(c.holds(v) for c in conditions))


def _require(key: str, words: str, *when: ValueCondition) -> ValueRule:
    """A value that must not be empty where all of the conditions hold."""
    empty = _not(_is_set(key))
    return ValueRule(key, words, _all(*when, empty) if when else empty)


def _require_host(route: str, words: str) -> ValueRule:
    named = _any(_is_set(f"{route}.studioHost"), _is_set(f"{route}.generationHost"))
    return ValueRule(f"{route}.studioHost", words, _all(_is_set(f"{route}.enabled"), _not(named)))


# Variables that the chart sets; if two had the same name, their order would decide.
CHART_VARIABLES = ("AUDIOTUNE_", "AWS_", "MLFLOW_", "HOME", "XDG_CACHE_HOME")


def _refuse_chart_variables(part: str) -> ValueRule:
    return ValueRule(
        f"{part}.env",
        f"names beginning with {', '.join(CHART_VARIABLES)} are the chart's own; set the value that stands for it",
        ValueCondition(
            f'(regexMatch "(^|,)({"|".join(CHART_VARIABLES)})" (join "," (keys .{part}.env)))',
            lambda v: any(name.startswith(CHART_VARIABLES) for name in v[part]["env"]),
        ),
    )


def _removes_jobs_too_early(v: Values) -> bool:
    storage, keep_days = v["objectStorage"], v["generation"]["keepDays"]
    jobs_days = storage["lifecycle"]["jobsDays"]
    sets_rules = storage["kind"] == "bundled" or storage["external"]["makeBucket"]
    return bool(sets_rules and jobs_days and (keep_days == 0 or jobs_days < keep_days))


_EXTERNAL_DATABASE = (_equals("registry.kind", "bundled"), _equals("database.kind", "external"))
_HOOK, _MATRIX = _is_set("studio.notices.webhook.url"), _is_set("studio.notices.matrix.url")
_OIDC = _is_set("studio.oidc.issuer")
_OIDC_URL = "studio.oidc.url"
_OPEN = _equals("access.mode", "open")
_STUDIO_ROUTES = [_all(_is_set(f"{route}.enabled"), _is_set(f"{route}.studioHost")) for route in ("ingress", "httpRoute")]

RULES = (
    _require(
        "images.registry",
        "say where the images are, as in --set images.registry=registry.home:5000; `make images REGISTRY=...` pushes them there",
    ),
    _require(
        "objectStorage.external.secret",
        "an external store needs an existing Secret with accesskey and secretkey",
        _equals("objectStorage.kind", "external"),
    ),
    _require("database.external.host", "an external database needs a host name", *_EXTERNAL_DATABASE),
    _require(
        "database.external.secret",
        "an external database needs an existing Secret with username and password",
        *_EXTERNAL_DATABASE,
    ),
    _require("registry.external.url", "an external registry needs its address", _equals("registry.kind", "external")),
    _require(
        "kfp.endpoint",
        "say where its API answers, as in http://ml-pipeline.kubeflow:8888, or set kfp.mode to none",
        _not(_equals("kfp.mode", "none")),
    ),
    ValueRule(
        "generation.autoscaling.maxReplicas",
        "must not be below minReplicas",
        ValueCondition(
            "(gt (int .generation.autoscaling.minReplicas) (int .generation.autoscaling.maxReplicas))",
            lambda v: v["generation"]["autoscaling"]["minReplicas"] > v["generation"]["autoscaling"]["maxReplicas"],
        ),
    ),
    _require(
        "generation.autoscaling.prometheusUrl",
        "KEDA queries Prometheus for the queue; say where it answers",
        _equals("generation.autoscaling.kind", "keda"),
    ),
    _require_host("ingress", "an Ingress needs studioHost or generationHost"),
    _require("httpRoute.parentRefs", "an HTTPRoute needs the Gateway it is attached to", _is_set("httpRoute.enabled")),
    _require_host("httpRoute", "an HTTPRoute needs studioHost or generationHost"),
    ValueRule(
        "access.mode",
        "open lets everybody in; with an Ingress or HTTPRoute it must be members",
        _all(_OPEN, _any(_is_set("ingress.enabled"), _is_set("httpRoute.enabled"))),
    ),
    ValueRule(
        "studio.releasesBy",
        "without sign-in owners are unknown; set access.mode to members",
        _all(_equals("studio.releasesBy", "owners"), _OPEN),
    ),
    _require(
        "studio.notices.webhook.secret",
        "name the Secret with the key `secret`, which signs them",
        _HOOK,
    ),
    _require("studio.notices.mail.sender", "say which address the mails come from", _is_set("studio.notices.mail.host")),
    _require("studio.notices.matrix.room", "name the room by its id, as in !abcdef:band.example", _MATRIX),
    _require("studio.notices.matrix.secret", "name the Secret with the key `token`", _MATRIX),
    _require("studio.oidc.clientId", "say what the provider calls the studio", _OIDC),
    ValueRule(
        "studio.oidc.issuer",
        "it must begin with https://, and access.mode must be members",
        _all(_OIDC, _any(_not(_matches("studio.oidc.issuer", "^https://")), _OPEN)),
    ),
    ValueRule(
        "studio.oidc.scopes",
        "they must hold openid, or the provider gives no name; as in openid email profile",
        _all(_OIDC, _not(_matches("studio.oidc.scopes", r"(^|\s)openid(\s|$)"))),
    ),
    ValueRule(
        _OIDC_URL,
        "the provider sends members back to an https address without a path: set it, or studioHost of an Ingress or HTTPRoute",
        _all(_OIDC, _not(_any(_matches(_OIDC_URL, "^https://[^/]+/*$"), _all(_not(_is_set(_OIDC_URL)), _any(*_STUDIO_ROUTES))))),
    ),
    ValueRule(
        "generation.replicas",
        "0 pods and autoscaling contradict each other",
        _all(
            _not(_equals("generation.autoscaling.kind", "none")),
            ValueCondition("(eq (int .generation.replicas) 0)", lambda v: v["generation"]["replicas"] == 0),
        ),
    ),
    ValueRule(
        "objectStorage.lifecycle.jobsDays",
        "the store would remove jobs that generation.keepDays still keeps; make it as long, or 0",
        ValueCondition(
            '(and (or (eq .objectStorage.kind "bundled") .objectStorage.external.makeBucket)'
            " (gt (int .objectStorage.lifecycle.jobsDays) 0) (or (eq (float64 .generation.keepDays) 0.0)"
            " (lt (float64 .objectStorage.lifecycle.jobsDays) (float64 .generation.keepDays))))",
            _removes_jobs_too_early,
        ),
    ),
    _refuse_chart_variables("generation"),
    _refuse_chart_variables("studio"),
)


def list_broken_rules(values: Values) -> list[str]:
    """What is wrong with complete values, one sentence for each rule."""
    return [f"{rule.key}: {rule.words}" for rule in RULES if rule.broken.holds(values)]


def render_template() -> str:
    """templates/_rules.tpl, which names every broken rule at once."""
    lines = [
        "{{- /* Written by `python -m deploy.chart.generate` from deploy/chart/rules.py. */ -}}",
        '{{- define "audio-tune.rules" -}}',
        "{{- $faults := list -}}",
        "{{- with .Values -}}",
    ]
    for rule in RULES:
        words = f"{rule.key}: {rule.words}".replace("`", "'")
        lines += [f"{{{{- if {rule.broken.template} -}}}}", f"{{{{- $faults = append $faults `{words}` -}}}}", "{{- end -}}"]
    lines += ["{{- end -}}", '{{- if $faults -}}{{- fail (printf "\\n- %s" (join "\\n- " $faults)) -}}{{- end -}}', "{{- end -}}"]
    return "\n".join(lines) + "\n"
