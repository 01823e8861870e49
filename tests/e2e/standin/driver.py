"""What KFP's driver decides: the order of the tasks, the ExecutorInput of each, and whether the cache has it already."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipelines.documents import Documents

_PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")


@dataclass(frozen=True)
class Published:
    """The outputs of one finished task.

    Attributes:
        parameters: output name -> value.
        artifacts: output name -> artifact as the next task gets it.
        cached: from the cache; nothing ran.
    """

    parameters: dict[str, Any]
    artifacts: dict[str, dict[str, Any]]
    cached: bool = False


@dataclass
class Run:
    """One run of one compiled pipeline.

    Args:
        documents: pipeline spec and platform spec.
        arguments: values that the user gave in the form.
        id: the run's id.
        name: display name.
        root: where artifacts go, as in s3://audiotune/kfp.
        session: `store_session_info`, as the launcher's configuration gives it.
        ids: numbers of the artifacts, as the metadata store counts them.
    """

    documents: Documents
    arguments: dict[str, Any]
    id: str
    name: str
    root: str
    session: dict[str, Any]
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    done: dict[str, Published] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        return self.documents[0]

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.spec["root"]["dag"]["tasks"]
        return found

    def component(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = self.spec["components"][self.tasks[task]["componentRef"]["name"]]
        return found

    def form(self) -> dict[str, Any]:
        """Values of the run form, defaults filled in."""
        definitions = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = {
            name: plain(definition["defaultValue"]) for name, definition in definitions.items() if "defaultValue" in definition
        }
        return {**given, **self.arguments}

    def order(self) -> list[str]:
        """Every task after those it needs; by name where there is a choice."""
        left, ready = dict(self.tasks), list[str]()
        while left:
            free = sorted(name for name, task in left.items() if set(task.get("dependentTasks", [])) <= set(ready))
            if not free:
                raise ValueError(f"tasks wait for each other: {sorted(left)}")
            ready.append(free[0])
            del left[free[0]]
        return ready

    def executor_input(self, task: str, execution: str, attempt: int = 0) -> dict[str, Any]:
        """What the launcher puts in place of {{$}}. `execution` is the UUID in the artifacts' addresses."""
        inputs = self._inputs(task)
        return {"inputs": inputs, "outputs": self._outputs(task, execution, attempt)}

    def _inputs(self, task: str) -> dict[str, Any]:
        wired = self.tasks[task].get("inputs", {})
        values = {name: self._value(wire) for name, wire in wired.get("parameters", {}).items()}
        definitions = self.component(task).get("inputDefinitions", {}).get("parameters", {})
        defaults = {
            name: plain(definition["defaultValue"]) for name, definition in definitions.items() if "defaultValue" in definition
        }
        values = {**defaults, **values}
        resolved = {name: _placed(value, values) for name, value in values.items()}
        artifacts = {}
        for name, wire in wired.get("artifacts", {}).items():
            source = wire["taskOutputArtifact"]
            artifacts[name] = {"artifacts": [self.done[source["producerTask"]].artifacts[source["outputArtifactKey"]]]}
        made: dict[str, Any] = {"artifacts": artifacts} if artifacts else {}
        return {**made, **({"parameterValues": resolved} if resolved else {})}

    def _value(self, wire: dict[str, Any]) -> Any:
        if "componentInputParameter" in wire:
            return self.form()[wire["componentInputParameter"]]
        if "taskOutputParameter" in wire:
            source = wire["taskOutputParameter"]
            return self.done[source["producerTask"]].parameters[source["outputParameterKey"]]
        constant = plain(wire["runtimeValue"]["constant"])
        known = {"{{$.pipeline_job_name}}": self.name, "{{$.pipeline_job_uuid}}": self.id}
        return known.get(constant, constant) if isinstance(constant, str) else constant

    def _outputs(self, task: str, execution: str, attempt: int) -> dict[str, Any]:
        declared = self.component(task).get("outputDefinitions", {})
        base = f"{self.root}/{self.spec['pipelineInfo']['name']}/{self.id}/{task}/{execution}"
        artifacts = {
            name: _artifact(name, {k: definition["artifactType"][k] for k in ("schemaTitle", "schemaVersion")}, f"{base}/{name}")
            for name, definition in declared.get("artifacts", {}).items()
        }
        logs = _artifact("executor-logs", {"schemaTitle": "system.Artifact"}, f"{base}/executor-logs-{attempt}")
        made: dict[str, Any] = {
            "artifacts": {**artifacts, "executor-logs": logs},
            "outputFile": local_path(f"{base}/output_metadata.json"),
        }
        parameters = declared.get("parameters", {})
        if parameters:
            made["parameters"] = {name: {"outputFile": f"/tmp/kfp/outputs/{name}"} for name in parameters}
        return made

    def publish(self, task: str, given: dict[str, Any], written: dict[str, Any]) -> Published:
        """Takes over what a step wrote, as the launcher does: a null or another address fails the step after its work."""
        artifacts = {}
        for name, side in given["outputs"]["artifacts"].items():
            before = side["artifacts"][0]
            after = written.get("artifacts", {}).get(name, side)["artifacts"][0]
            if after["uri"] != before["uri"]:
                raise ValueError(f"{task}: URI {after['uri']!r} does not have expected bucket prefix")
            if name != "executor-logs":
                artifacts[name] = self._as_input(name, after)
        self.done[task] = Published(dict(written.get("parameterValues", {})), artifacts)
        return self.done[task]

    def _as_input(self, name: str, after: dict[str, Any]) -> dict[str, Any]:
        facts = {key: _stored(key, value) for key, value in (after.get("metadata") or {}).items()}
        session = json.dumps(self.session, separators=(",", ":"), sort_keys=True)
        metadata = {"display_name": name, **facts, "store_session_info": session}
        return {"name": str(next(self.ids)), "type": {"instanceSchema": ""}, "uri": after["uri"], "metadata": metadata}

    def cached(self, task: str) -> bool:
        """Whether the compiled pipeline lets this task be taken from the cache."""
        return bool(self.tasks[task].get("cachingOptions", {}).get("enableCache"))

    def cache_key(self, task: str) -> str:
        """KFP's key: image string, command, args, parameters, ids of input artifacts, names of outputs. Not environment, not contents."""
        label = self.component(task)["executorLabel"]
        container = self.spec["deploymentSpec"]["executors"][label]["container"]
        inputs = self._inputs(task)
        key = {
            "container": [container["image"], container.get("command", []), container.get("args", [])],
            "parameters": inputs.get("parameterValues", {}),
            "artifacts": {name: [a["name"] for a in side["artifacts"]] for name, side in inputs.get("artifacts", {}).items()},
            "outputs": self.component(task).get("outputDefinitions", {}),
        }
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """Numbers as the backend passes them on: what is whole comes as an integer, at any depth."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def local_path(uri: str) -> str:
    """Where the launcher keeps s3://bucket/key in the pod."""
    return f"/s3/{uri.removeprefix('s3://')}"


def _placed(value: Any, values: dict[str, Any]) -> Any:
    match = _PARAMETER.fullmatch(value) if isinstance(value, str) else None
    return values[match.group(1)] if match else value


def _artifact(name: str, kind: dict[str, str], uri: str) -> dict[str, Any]:
    return {"artifacts": [{"name": name, "type": kind, "uri": uri}]}


def _stored(key: str, value: Any) -> Any:
    """As the metadata store gives it back: booleans are numbers, tables are wrapped, null is refused."""
    if value is None:
        raise ValueError(f"failed to convert RuntimeArtifact to MLMD artifact: {key} is null")
    if isinstance(value, bool):
        return int(value)
    return {"struct": value} if isinstance(value, dict | list) else value
