"""The chart as Helm renders it, for tests: by Helm 4's engine in this process, or by a helm program where one is named.

AUDIOTUNE_HELM=/path/to/helm has everything rendered by that program: the whole suite on Helm 3, some ten times slower.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart, HelmError, _native

CHART = Path(__file__).resolve().parents[1] / "helm" / "audio-tune"
REGISTRY = {"images": {"registry": "registry.home:5000"}}
KUBERNETES = "1.34.4"  # a helm built from its module alone believes in 1.20
_NOTES = "audio-tune/templates/NOTES.txt"
Object = dict[str, Any]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def program(name: str) -> str | None:
    """A program on PATH, or among the lab's."""
    lab = Path(os.environ.get("LAB_HOME") or Path("~/.cache/audio-tune-lab").expanduser()) / "bin" / name
    return shutil.which(name) or (str(lab) if lab.is_file() else None)


HELM = os.environ.get("AUDIOTUNE_HELM")


def needs(name: str) -> pytest.MarkDecorator:
    """Leaves a test out, with a reason, where a program is missing."""
    return pytest.mark.skipif(program(name) is None, reason=f"no {name} on PATH or among the lab's programs (`lab tools {name}`)")


class RefusedError(Exception):
    """Helm did not render; the words are its own."""


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Maps laid over each other, deep."""
    made: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            below = made.get(key)
            made[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return made


def at(path: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for a.b."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def text(values: Mapping[str, Any] | None = None, *, helm: str | None = HELM, name: str = "audio-tune", **flags: str) -> str:
    """Everything `helm template` prints. Raises RefusedError."""
    return bare(merged(REGISTRY, values or {}), helm=helm, name=name, **flags)


def bare(values: Mapping[str, Any], *, helm: str | None = HELM, name: str = "audio-tune", **flags: str) -> str:
    """The same without the one required value."""
    known = {"kube_version": KUBERNETES, **flags}
    return _text(json.dumps(values, sort_keys=True), helm, name, tuple(sorted(known.items())))


def notes(values: Mapping[str, Any] | None = None) -> str:
    """What `helm install` prints at its end."""
    return _by_engine(json.dumps(merged(REGISTRY, values or {})), "audio-tune", {"kube_version": KUBERNETES})[_NOTES]


@functools.lru_cache(maxsize=256)
def _text(values: str, helm: str | None, name: str, flags: tuple[tuple[str, str], ...]) -> str:
    if helm:
        return _by_program(helm, values, name, flags)
    files = _by_engine(values, name, dict(flags))
    return "\n".join(f"---\n# Source: {path}\n{text}" for path, text in sorted(files.items()) if path != _NOTES)


def _by_engine(values: str, name: str, flags: Mapping[str, str]) -> dict[str, str]:
    """Path -> what came of it. The library's own `render` leaves out two options its engine knows, so that is called itself."""
    options: dict[str, Any] = {"name": name, "namespace": "audio-tune", **flags}
    if "api_versions" in flags:
        options["api_versions"] = flags["api_versions"].split(",")
    try:
        found: dict[str, str] = json.loads(_native.call_string("helm_render", _chart()._raw(), values, json.dumps(options)))
    except HelmError as e:
        raise RefusedError(str(e)) from e
    return found


@functools.lru_cache(maxsize=1)
def _chart() -> Chart:
    return Chart.load(CHART)


def _by_program(helm: str, values: str, name: str, flags: tuple[tuple[str, str], ...]) -> str:
    more = [word for flag, value in flags for word in (f"--{flag.replace('_', '-')}", value)]
    command = [helm, "template", name, str(CHART), "-n", "audio-tune", "-f", "-", *more]
    done = subprocess.run(command, input=values, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RefusedError(done.stderr)
    return done.stdout


def objects(values: Mapping[str, Any] | None = None, **flags: str) -> list[Object]:
    return [found for found in yaml.load_all(text(values, **flags), Loader=_Loader) if found]


def one(found: list[Object], kind: str, name: str) -> Object:
    """The object of a kind whose name ends like this."""
    hits = [o for o in found if o["kind"] == kind and o["metadata"]["name"].endswith(name)]
    assert len(hits) == 1, f"{len(hits)} {kind} named {name}"
    return hits[0]


def pods(found: list[Object]) -> Iterator[tuple[str, Object]]:
    """(name, pod spec) of everything that starts pods."""
    for o in found:
        spec = o.get("spec") or {}
        if o["kind"] == "Pod":
            yield o["metadata"]["name"], spec
        elif o["kind"] == "CronJob":
            yield o["metadata"]["name"], spec["jobTemplate"]["spec"]["template"]["spec"]
        elif "containers" in spec.get("template", {}).get("spec", {}):
            yield o["metadata"]["name"], spec["template"]["spec"]


def containers(spec: Object) -> list[Object]:
    return [*spec.get("initContainers", []), *spec["containers"]]
