"""Strict schemas of Kubernetes 1.30 to 1.37 (from kubernetes-validate) and of other projects' objects (tests/contract/crds).

`kubernetes_validate.validate` takes 26 ms an object; here its files are read once, for a validator that takes a fraction of one.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator, Registry

VERSIONS = tuple(f"1.{minor}" for minor in range(30, 38))
CRDS = Path(__file__).parent / "contract" / "crds"
_SCHEMAS = Path(str(resources.files("kubernetes_validate"))) / "kubernetes-json-schema"
_BASE = "json-schema://kubernetes"
# kind -> why it is not held against a schema here
UNCHECKED = {("trainer.kubeflow.org/v1alpha1", "TrainingRuntime"): "its definition is half a megabyte of pod specs"}
Object = dict[str, Any]


def faults(found: Object, version: str) -> list[str]:
    """What is wrong with an object, each with its place; an object nobody knows is one fault."""
    api, kind = found["apiVersion"], found["kind"]
    if (api, kind) in UNCHECKED:
        return []
    validator = _validator(api, kind, version)
    if validator is None:
        return [f"{kind} {api} is not known to Kubernetes {version}"]
    name = found["metadata"]["name"]
    return [f"{kind}/{name}: {'.'.join(map(str, e.instance_path))}: {e.message[:300]}" for e in validator.iter_errors(found)]


def definitions() -> list[Object]:
    """The CustomResourceDefinitions, as an API server takes them."""
    return [json.loads(path.read_text()) for path in sorted(CRDS.glob("*.json"))]


@functools.cache
def _validator(api: str, kind: str, version: str) -> Draft202012Validator | None:
    if (api, kind) in _foreign():
        return Draft202012Validator(_foreign()[api, kind])
    group, _, number = api.rpartition("/")
    short = f"{group.split('.')[0]}-{number}" if group else number
    path = _SCHEMAS / f"v{version}.0-local-strict" / f"{kind.lower()}-{short}.json"
    if not path.is_file():
        return None
    return Draft202012Validator(json.loads(path.read_text()), registry=_registry(version), base_uri=f"{_BASE}/{path.name}")


@functools.cache
def _registry(version: str) -> Registry:
    whole = json.loads((_SCHEMAS / f"v{version}.0-local-strict" / "_definitions.json").read_text())
    return Registry([(f"{_BASE}/_definitions.json", whole)])


@functools.cache
def _foreign() -> dict[tuple[str, str], Object]:
    made = {}
    for definition in definitions():
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = _closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            made[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return made


def _closed(node: Any) -> Any:
    """An API server drops keys it does not know; here they are refused."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _closed(value) for key, value in node.items()}
    if node.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    if isinstance(node.get("properties"), dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made
