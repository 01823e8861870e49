"""Random valid values, drawn from the schema: Helm renders them, Kubernetes takes them, and the pods still pass the scorecard."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from deploy.chart import rules, scorecard
from tests.kubernetes_schemas import VERSIONS, faults
from tests.rendered_chart import CHART, REGISTRY, RefusedError, merged, objects, text

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
FITS = jsonschema_rs.Draft7Validator(SCHEMA)
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
PRINTABLE = st.characters(codec="ascii", exclude_categories=["C"], exclude_characters="\x7f")
KEYS = st.sampled_from(["room", "a.b/c", "x-y"])
WORDS = st.sampled_from(["a", "band", "b2"])
AFFINITIES = st.sampled_from([{}, {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}])
# Each example is drawn once and not shrunk: a render takes long, and a fault names its object and its key anyway.
DRAWN = settings(max_examples=6, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck), database=None)
# rule -> values under which it is not broken; `_cured` lays them over values that break it
CURES: dict[str, dict[str, Any]] = {
    "images.registry": REGISTRY,
    "objectStorage.external.secret": {"objectStorage": {"external": {"secret": "keys"}}},
    "database.external.host": {"database": {"external": {"host": "db.example"}}},
    "database.external.secret": {"database": {"external": {"secret": "login"}}},
    "registry.external.url": {"registry": {"external": {"url": "https://mlflow.example"}}},
    "kfp.endpoint": {"kfp": {"endpoint": "http://ml-pipeline.kubeflow:8888"}},
    "generation.autoscaling.maxReplicas": {"generation": {"autoscaling": {"minReplicas": 1}}},
    "generation.autoscaling.prometheusUrl": {"generation": {"autoscaling": {"prometheusUrl": "http://p"}}},
    "ingress.studioHost": {"ingress": {"studioHost": "studio.example"}},
    "httpRoute.parentRefs": {"httpRoute": {"parentRefs": [{"name": "gate"}]}},
    "httpRoute.studioHost": {"httpRoute": {"studioHost": "studio.example"}},
    "access.mode": {"access": {"mode": "members"}},
    "generation.replicas": {"generation": {"replicas": 1}},
    "objectStorage.lifecycle.jobsDays": {"objectStorage": {"lifecycle": {"jobsDays": 0}}},
    "studio.releasesBy": {"studio": {"releasesBy": "members"}},
    "studio.notices.webhook.secret": {"studio": {"notices": {"webhook": {"secret": "signs"}}}},
    "studio.notices.mail.sender": {"studio": {"notices": {"mail": {"sender": "tune@band.example"}}}},
    "studio.notices.matrix.room": {"studio": {"notices": {"matrix": {"room": "!a:band.example"}}}},
    "studio.notices.matrix.secret": {"studio": {"notices": {"matrix": {"secret": "matrix"}}}},
    "studio.oidc.clientId": {"studio": {"oidc": {"clientId": "band"}}},
    "studio.oidc.issuer": {"studio": {"oidc": {"issuer": "https://login.example"}}, "access": {"mode": "members"}},
    "studio.oidc.scopes": {"studio": {"oidc": {"scopes": "profile openid"}}},
    "studio.oidc.url": {"studio": {"oidc": {"url": "https://studio.example"}}},
    "generation.env": {"generation": {"env": None}},
    "studio.env": {"studio": {"env": None}},
}


def draw_values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Random valid values of a schema; texts by the schema's own regular expressions."""
    if "anyOf" in schema:
        return st.one_of(*(draw_values(choice) for choice in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    return _KINDS[schema["type"]](schema)


def _object(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" in schema:
        parts = {key: draw_values(below) for key, below in schema["properties"].items() if key != "global"}
        must = {key: parts.pop(key) for key in schema.get("required", ())}
        return st.fixed_dictionaries(must, optional=parts)
    for pattern, below in schema.get("patternProperties", {}).items():
        return st.dictionaries(_matching(pattern), draw_values(below), max_size=2)
    below = schema.get("additionalProperties")
    return st.dictionaries(KEYS, draw_values(below), max_size=2) if isinstance(below, dict) else AFFINITIES


def _number(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema["maximum"]
    return st.floats(low, high, exclude_min="exclusiveMinimum" in schema) | st.integers(int(low) + 1, int(high))


def _text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    most = schema.get("maxLength", 300)
    texts = _matching(schema["pattern"]) if "pattern" in schema else WORDS
    return texts.filter(lambda text: schema.get("minLength", 0) <= len(text) <= most)


def _matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(pattern.replace("$", r"\Z"), re.ASCII), fullmatch=True, alphabet=PRINTABLE)


_KINDS = {
    "null": lambda _: st.none(),
    "boolean": lambda _: st.booleans(),
    "object": _object,
    "array": lambda schema: st.lists(draw_values(schema["items"]), max_size=2),
    "integer": lambda schema: st.integers(
        schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1), schema.get("maximum", 10**6)
    ),
    "number": _number,
    "string": _text,
}


def _cured(values: dict[str, Any], version: str) -> dict[str, Any]:
    made = merged(values, REGISTRY)
    if version in ("1.30", "1.31"):
        made = merged(made, {"generation": {"gpu": {"device": "plugin"}}})
    for fault in rules.list_broken_rules(merged(DEFAULTS, made)):
        made = merged(made, CURES[fault.partition(":")[0]])
    return made


def test_every_rule_has_a_cure() -> None:
    assert set(CURES) == {rule.key for rule in rules.RULES}


@pytest.mark.parametrize("version", VERSIONS)
def test_random_valid_values_are_taken_by_kubernetes(version: str) -> None:
    @seed(VERSIONS.index(version))  # other values for each version, and the same ones tomorrow
    @DRAWN
    @given(values=draw_values(SCHEMA))
    def taken(values: dict[str, Any]) -> None:
        FITS.validate(values)
        cured = _cured(values, version)
        found = objects(cured, kube_version=f"{version}.0", api_versions="keda.sh/v1alpha1/ScaledObject")
        assert [fault for one in found for fault in faults(one, version)] == []
        names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found]
        assert len(names) == len(set(names))
        always = {"restricted", "read-only root", "requests and limits", "no token", "unique variables"}
        assert {line: bad for line, bad in scorecard.list_failing_pods(found).items() if bad and line in always} == {}

    taken()


def _refusal(values: dict[str, Any]) -> str:
    try:
        text(values, api_versions="keda.sh/v1alpha1/ScaledObject")
    except RefusedError as e:
        return str(e)
    return ""


@seed(0)
@settings(DRAWN, max_examples=25)
@given(values=draw_values(SCHEMA))
def test_helm_refuses_random_values_exactly_when_a_rule_is_broken(values: dict[str, Any]) -> None:
    broken = {fault.partition(":")[0] for fault in rules.list_broken_rules(merged(DEFAULTS, values, REGISTRY))}
    refusal = _refusal(merged(values, REGISTRY))
    assert bool(refusal) == bool(broken)
    assert {key for key in broken if key not in refusal} == set()
