"""A Kubernetes API with Kubeflow Trainer in it, of our own: TrainJobs, their pods and logs, in the shapes of a real one.

`trainer_recorded/` holds what Kubeflow Trainer 2.3.0 and JobSet 0.12.0 answered on a Kubernetes 1.34 (README there), and the schema
of TrainJob that every object posted here is held to.
"""

from __future__ import annotations

import copy
import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from jsonschema import Draft202012Validator

from tests.fakes.http_server import answering

RECORDED = Path(__file__).parent / "trainer_recorded"
ANSWERS: dict[str, Any] = json.loads((RECORDED / "answers.json").read_text())
SCHEMA: dict[str, Any] = json.loads((RECORDED / "trainjob_schema.json").read_text())
JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/jam/trainjobs"
PODS = "/api/v1/namespaces/jam/pods"
Answer = tuple[int, Any]


@dataclass
class FakeTrainer:
    """State of the cluster; `script` makes time pass: one entry is played before each look at a TrainJob.

    Attributes:
        jobs: name -> TrainJob.
        pods: name -> pod.
        logs: pod -> lines with their time stamps, as the API gives them.
        refused: what a POST is answered instead, one after the other.
        away: how many calls are answered 503 from now on.
        forbidden: parts of paths nobody may ask.
        calls: method and path of every call.
    """

    script: deque[Callable[[FakeTrainer], object]] = field(default_factory=deque)
    jobs: dict[str, Any] = field(default_factory=dict)
    pods: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    refused: list[Answer] = field(default_factory=list)
    away: int = 0
    forbidden: set[str] = field(default_factory=set)
    calls: list[tuple[str, str]] = field(default_factory=list)
    made: int = 0
    clock: int = 0

    @property
    def job(self) -> dict[str, Any]:
        """The one TrainJob there is."""
        (only,) = self.jobs.values()
        found: dict[str, Any] = only
        return found

    def end(self, how: str, **condition: str) -> None:
        """Trainer's controller writes how it ended: complete or failed."""
        self.job["status"] = copy.deepcopy(ANSWERS["trainjob_status"][how])
        self.job["status"]["conditions"][0].update(condition)

    def put_pod(self, index: int, shape: str, **status: Any) -> dict[str, Any]:
        """A pod as it was recorded in that state: pending, running, failed, succeeded, leaving."""
        made: dict[str, Any] = copy.deepcopy(ANSWERS["pod"][shape])
        name = f"{self.job['metadata']['name']}-node-0-{index}-{self.made}"
        made["metadata"]["name"] = name
        made["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = str(index)
        made["metadata"]["labels"]["jobset.sigs.k8s.io/jobset-name"] = self.job["metadata"]["name"]
        made["status"].update(status)
        self.pods[name] = made
        return made

    def say(self, index: int, *lines: str) -> None:
        """A pod writes to its log, a tenth of a second each."""
        name = next(name for name in self.pods if f"-node-0-{index}-" in name)
        for line in lines:
            self.clock += 1
            stamp = f"2026-11-25T01:{self.clock // 600:02d}:{self.clock // 10 % 60:02d}.{self.clock % 10}00000000Z"
            self.logs.setdefault(name, []).append(f"{stamp} {line}")

    def drop_pods(self) -> None:
        self.pods.clear()

    # ------------------------------------------------------------------------------------------------ the API
    def answer(self, method: str, path: str, params: dict[str, str], body: dict[str, Any]) -> Answer:
        self.calls.append((method, path))
        if self.away:
            self.away -= 1
            return 503, "the server is currently unable to handle the request"
        if any(part in path for part in self.forbidden):
            return 403, _status(403, "Forbidden", f'cannot {method.lower()} resource in "{path}"')
        if path == JOBS and method == "POST":
            return self._create(body, params)
        if path.startswith(f"{JOBS}/"):
            return self._one(method, path.removeprefix(f"{JOBS}/"), body)
        if path == PODS:
            name = params["labelSelector"].removeprefix("jobset.sigs.k8s.io/jobset-name=")
            found = [pod for pod in self.pods.values() if pod["metadata"]["labels"]["jobset.sigs.k8s.io/jobset-name"] == name]
            return 200, {"kind": "PodList", "items": found}
        if path.removeprefix(f"{PODS}/") in self.pods:
            return 200, self.pods[path.removeprefix(f"{PODS}/")]
        if path.startswith(PODS) and path.endswith("/log"):
            return self._log(path.split("/")[-2], params)
        return 404, _status(404, "NotFound", f"{path} not found")

    def _create(self, body: dict[str, Any], params: dict[str, str]) -> Answer:
        if self.refused:
            return self.refused.pop(0)
        name = body["metadata"]["name"]
        unknown = [".".join(map(str, e.absolute_path)) + f": {e.message}" for e in Draft202012Validator(SCHEMA).iter_errors(body)]
        unknown += [f'unknown field "{path}"' for path in undeclared(body["spec"], SCHEMA["properties"]["spec"], "spec")]
        if unknown and params.get("fieldValidation") == "Strict":
            return 400, _status(400, "BadRequest", f"strict decoding error: {'; '.join(unknown)}")
        if name in self.jobs:
            return 409, _status(409, "AlreadyExists", f'trainjobs.trainer.kubeflow.org "{name}" already exists')
        self.made += 1
        made = copy.deepcopy(body)
        made["metadata"]["uid"] = f"uid-{self.made}"
        self.jobs[name] = made
        return 201, made

    def _one(self, method: str, name: str, body: dict[str, Any]) -> Answer:
        if method == "GET" and self.script and name in self.jobs:
            self.script.popleft()(self)
        there = self.jobs.get(name)
        if there is None:
            return 404, _status(404, "NotFound", f'trainjobs.trainer.kubeflow.org "{name}" not found')
        if method == "PATCH":
            there["metadata"].update(body["metadata"])
        if method == "DELETE":
            wanted = (body.get("preconditions") or {}).get("uid", there["metadata"]["uid"])
            if wanted != there["metadata"]["uid"]:
                return 409, _status(409, "Conflict", "the UID in the precondition does not match the UID in record")
            del self.jobs[name]
            self.pods.clear()
        return 200, there

    def _log(self, pod: str, params: dict[str, str]) -> Answer:
        if pod not in self.pods:
            return 404, _status(404, "NotFound", f'pods "{pod}" not found')
        if self.pods[pod]["status"]["phase"] == "Pending":
            return 400, _status(400, "BadRequest", f'container "node" in pod "{pod}" is waiting to start: ContainerCreating')
        since = params.get("sinceTime", "")[:19]  # whole seconds, as the kubelet takes it
        return 200, "".join(f"{line}\n" for line in self.logs.get(pod, []) if line[:19] >= since)


def undeclared(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    """Fields that a strict API server would not take; where a schema names no properties everything goes."""
    if isinstance(value, dict) and "properties" in schema:
        for key, inner in value.items():
            if key in schema["properties"]:
                yield from undeclared(inner, schema["properties"][key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(value, list):
        for inner in value:
            yield from undeclared(inner, schema.get("items", {}), path)


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": message}


@contextmanager
def serving(fake: FakeTrainer) -> Iterator[str]:
    """The fake behind real HTTP on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            url = urlparse(self.path)
            params = {name: values[-1] for name, values in parse_qs(url.query).items()}
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            code, answer = fake.answer(self.command, url.path, params, body)
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with answering(Handler) as url:
        yield url
