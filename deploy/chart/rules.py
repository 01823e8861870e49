"""Rules between values. Each is written once for Python and once for Helm's templates; a test compares the two."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ValueRule:
    """A combination of values that is refused.

    Attributes:
        key: the value to change.
        template: Go template expression over .Values, true when the rule is broken.
        broken: the same in Python, over the values as Helm sees them.
        words: what is wrong and the cure.
    """

    key: str
    template: str
    broken: Callable[[Mapping[str, Any]], bool]
    words: str


# Variables that the chart sets; of two with one name, the order would decide silently.
CHART_VARIABLES = ("AUDIOTUNE_", "AWS_", "MLFLOW_", "HOME", "XDG_CACHE_HOME")


_OPENID = r"(^|\s)openid(\s|$)"
_PUBLIC_URL = "^https://[^/]+/*$"


def _sets_chart_variable(env: Mapping[str, str]) -> bool:
    return any(name.startswith(CHART_VARIABLES) for name in env)


def _has_public_url(v: Mapping[str, Any]) -> bool:
    """The given address, or else one that a route has."""
    if url := v["studio"]["oidc"]["url"]:
        return bool(re.search(_PUBLIC_URL, url))
    return any(v[route]["enabled"] and v[route]["studioHost"] for route in ("ingress", "httpRoute"))


def _make_env_rule(part: str) -> ValueRule:
    return ValueRule(
        f"{part}.env",
        f'(regexMatch "(^|,)({"|".join(CHART_VARIABLES)})" (join "," (keys .{part}.env)))',
        lambda v: _sets_chart_variable(v[part]["env"]),
        f"names beginning with {', '.join(CHART_VARIABLES)} are the chart's own; set the value that stands for it",
    )


def _removes_jobs_too_early(storage: Mapping[str, Any], keep_days: float) -> bool:
    ruled = storage["kind"] == "bundled" or storage["external"]["makeBucket"]
    jobs_days = storage["lifecycle"]["jobsDays"]
    return bool(ruled and jobs_days and (keep_days == 0 or jobs_days < keep_days))


RULES = (
    ValueRule(
        "images.registry",
        "(not .images.registry)",
        lambda v: not v["images"]["registry"],
        "say where the images live, as in --set images.registry=registry.home:5000; `make images REGISTRY=...` pushes them there",
    ),
    ValueRule(
        "objectStorage.external.secret",
        '(and (eq .objectStorage.kind "external") (not .objectStorage.external.secret))',
        lambda v: v["objectStorage"]["kind"] == "external" and not v["objectStorage"]["external"]["secret"],
        "an external store needs an existing Secret with accesskey and secretkey",
    ),
    ValueRule(
        "database.external.host",
        '(and (eq .registry.kind "bundled") (eq .database.kind "external") (not .database.external.host))',
        lambda v: (
            v["registry"]["kind"] == "bundled" and v["database"]["kind"] == "external" and not v["database"]["external"]["host"]
        ),
        "an external database needs a host name",
    ),
    ValueRule(
        "database.external.secret",
        '(and (eq .registry.kind "bundled") (eq .database.kind "external") (not .database.external.secret))',
        lambda v: (
            v["registry"]["kind"] == "bundled" and v["database"]["kind"] == "external" and not v["database"]["external"]["secret"]
        ),
        "an external database needs an existing Secret with username and password",
    ),
    ValueRule(
        "registry.external.url",
        '(and (eq .registry.kind "external") (not .registry.external.url))',
        lambda v: v["registry"]["kind"] == "external" and not v["registry"]["external"]["url"],
        "an external registry needs its address",
    ),
    ValueRule(
        "kfp.endpoint",
        '(and (ne .kfp.mode "none") (not .kfp.endpoint))',
        lambda v: v["kfp"]["mode"] != "none" and not v["kfp"]["endpoint"],
        "say where its API answers, as in http://ml-pipeline.kubeflow:8888, or set kfp.mode to none",
    ),
    ValueRule(
        "generation.autoscaling.maxReplicas",
        "(gt (int .generation.autoscaling.minReplicas) (int .generation.autoscaling.maxReplicas))",
        lambda v: v["generation"]["autoscaling"]["minReplicas"] > v["generation"]["autoscaling"]["maxReplicas"],
        "must not be below minReplicas",
    ),
    ValueRule(
        "generation.autoscaling.prometheusUrl",
        '(and (eq .generation.autoscaling.kind "keda") (not .generation.autoscaling.prometheusUrl))',
        lambda v: v["generation"]["autoscaling"]["kind"] == "keda" and not v["generation"]["autoscaling"]["prometheusUrl"],
        "KEDA asks Prometheus for the queue; say where it answers",
    ),
    ValueRule(
        "ingress.studioHost",
        "(and .ingress.enabled (not (or .ingress.studioHost .ingress.generationHost)))",
        lambda v: v["ingress"]["enabled"] and not (v["ingress"]["studioHost"] or v["ingress"]["generationHost"]),
        "an Ingress needs studioHost or generationHost",
    ),
    ValueRule(
        "httpRoute.parentRefs",
        "(and .httpRoute.enabled (not .httpRoute.parentRefs))",
        lambda v: v["httpRoute"]["enabled"] and not v["httpRoute"]["parentRefs"],
        "an HTTPRoute needs the Gateway it is attached to",
    ),
    ValueRule(
        "httpRoute.studioHost",
        "(and .httpRoute.enabled (not (or .httpRoute.studioHost .httpRoute.generationHost)))",
        lambda v: v["httpRoute"]["enabled"] and not (v["httpRoute"]["studioHost"] or v["httpRoute"]["generationHost"]),
        "an HTTPRoute needs studioHost or generationHost",
    ),
    ValueRule(
        "access.mode",
        '(and (eq .access.mode "open") (or .ingress.enabled .httpRoute.enabled))',
        lambda v: v["access"]["mode"] == "open" and (v["ingress"]["enabled"] or v["httpRoute"]["enabled"]),
        "open lets everybody in; with an Ingress or HTTPRoute it must be members",
    ),
    ValueRule(
        "studio.releasesBy",
        '(and (eq .studio.releasesBy "owners") (eq .access.mode "open"))',
        lambda v: v["studio"]["releasesBy"] == "owners" and v["access"]["mode"] == "open",
        "without sign-in nobody is known to be an owner; set access.mode to members",
    ),
    ValueRule(
        "studio.oidc.clientId",
        "(and .studio.oidc.issuer (not .studio.oidc.clientId))",
        lambda v: bool(v["studio"]["oidc"]["issuer"]) and not v["studio"]["oidc"]["clientId"],
        "say what the provider calls the studio",
    ),
    ValueRule(
        "studio.oidc.issuer",
        '(and .studio.oidc.issuer (or (not (hasPrefix "https://" .studio.oidc.issuer)) (eq .access.mode "open")))',
        lambda v: (
            bool(v["studio"]["oidc"]["issuer"])
            and (not v["studio"]["oidc"]["issuer"].startswith("https://") or v["access"]["mode"] == "open")
        ),
        "it must begin with https://, and access.mode must be members",
    ),
    ValueRule(
        "studio.oidc.scopes",
        f"(and .studio.oidc.issuer (not (regexMatch {json.dumps(_OPENID)} .studio.oidc.scopes)))",
        lambda v: bool(v["studio"]["oidc"]["issuer"]) and not re.search(_OPENID, v["studio"]["oidc"]["scopes"]),
        "they must hold openid, or the provider tells nobody's name; as in openid email profile",
    ),
    ValueRule(
        "studio.oidc.url",
        f"(and .studio.oidc.issuer (or (and .studio.oidc.url (not (regexMatch {json.dumps(_PUBLIC_URL)} .studio.oidc.url)))"
        " (not (or .studio.oidc.url (and .ingress.enabled .ingress.studioHost) (and .httpRoute.enabled .httpRoute.studioHost)))))",
        lambda v: bool(v["studio"]["oidc"]["issuer"]) and not _has_public_url(v),
        "the provider sends members back to an https address without a path: set it, or studioHost of an Ingress or HTTPRoute",
    ),
    ValueRule(
        "generation.replicas",
        '(and (ne .generation.autoscaling.kind "none") (eq (int .generation.replicas) 0))',
        lambda v: v["generation"]["autoscaling"]["kind"] != "none" and v["generation"]["replicas"] == 0,
        "0 pods and autoscaling contradict each other",
    ),
    ValueRule(
        "objectStorage.lifecycle.jobsDays",
        '(and (or (eq .objectStorage.kind "bundled") .objectStorage.external.makeBucket) (gt (int .objectStorage.lifecycle.jobsDays) 0)'
        " (or (eq (float64 .generation.keepDays) 0.0)"
        " (lt (float64 .objectStorage.lifecycle.jobsDays) (float64 .generation.keepDays))))",
        lambda v: _removes_jobs_too_early(v["objectStorage"], v["generation"]["keepDays"]),
        "the store would remove jobs that generation.keepDays still keeps; make it as long, or 0",
    ),
    _make_env_rule("generation"),
    _make_env_rule("studio"),
)


def list_broken_rules(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with complete values, one sentence a rule."""
    return [f"{rule.key}: {rule.words}" for rule in RULES if rule.broken(values)]


def render_template() -> str:
    """templates/_rules.tpl: every broken rule is told at once."""
    lines = [
        "{{- /* Written by `python -m deploy.chart.generate` from deploy/chart/rules.py. */ -}}",
        '{{- define "audio-tune.rules" -}}',
        "{{- $faults := list -}}",
        "{{- with .Values -}}",
    ]
    for rule in RULES:
        words = f"{rule.key}: {rule.words}".replace("`", "'")
        lines += [f"{{{{- if {rule.template} -}}}}", f"{{{{- $faults = append $faults `{words}` -}}}}", "{{- end -}}"]
    lines += ["{{- end -}}", '{{- if $faults -}}{{- fail (printf "\\n- %s" (join "\\n- " $faults)) -}}{{- end -}}', "{{- end -}}"]
    return "\n".join(lines) + "\n"
