"""A small Kubeflow Pipelines API server of our own: enough of REST v2beta1 to upload, run and follow, in the shapes the
real 2.17.0 answers with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlparse

from tests.fakes.http_server import answering


class FakeKubeflow:
    """State of the server.

    Args:
        states: what a run shows at each look, the last one for ever.
        error: what the API says of a failed run.
        token: the only one that is let in; empty lets everybody in.
        log: what the log of the failed step's pod holds; None means that the pod and its log are gone.
        multi_user: the kind of installation it says it is.
        steps: (task, state) of a run; an empty state is the run's own.
        message: what Kubernetes says of a step's last pod.
    """

    def __init__(
        self, states: tuple[str, ...] = ("RUNNING", "SUCCEEDED"), *, error: str = "", token: str = "", log: str | None = None,
        multi_user: bool = False, steps: tuple[tuple[str, str], ...] = (("ingest", ""),),
        message: str = "main: Error (exit code 1)",
    ) -> None:  # fmt: skip
        self.states, self.error, self.token, self.log, self.multi_user = states, error, token, log, multi_user
        self.steps, self.message = steps, message
        self.experiments: list[dict[str, Any]] = []
        self.ended: list[str] = []
        self.pipelines: dict[str, str] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.uploads = 0

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        if method == "GET" and path.startswith("/pipelines/names/"):
            name = path.rpartition("/")[2]
            return self._found("pipeline_id", self.pipelines.get(name))
        if path == "/healthz":
            return 200, {"multi_user": self.multi_user, "tag_name": "2.17.0"}
        if path == "/experiments":
            return self._experiments(method, body)
        if method == "POST" and path.endswith(":terminate"):
            self.ended.append(path.removeprefix("/runs/").removesuffix(":terminate"))
            return 200, {}
        if method == "POST" and path == "/pipelines":
            name = json.loads(body)["name"]
            self.pipelines[name] = f"p-{len(self.pipelines) + 1}"
            return 200, {"pipeline_id": self.pipelines[name], "display_name": name}
        if method == "GET" and re.search(r"/versions/[^/]+$", path):
            return self._version(path.rpartition("/")[2])
        if method == "GET" and path.endswith("/versions"):
            return self._version_page(int(query.get("page_token") or 0))
        if method == "POST" and path == "/pipelines/upload_version":
            return self._upload(query, body)
        if method == "POST" and path == "/runs":
            return self._start(json.loads(body))
        if method == "GET" and path.startswith("/runs/"):
            return self._look(path.rpartition("/")[2])
        return 404, {"message": "not found"}

    def _experiments(self, method: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if method == "POST":
            self.experiments.append({**json.loads(body), "experiment_id": f"e-{len(self.experiments) + 1}"})
            return 200, self.experiments[-1]
        return 200, {"experiments": self.experiments}

    def _version(self, id: str) -> tuple[int, dict[str, Any]]:
        """A version with its compiled pipeline, as `documents` of it hold it: with a platform spec one floor deeper."""
        version = next((v for v in self.versions.values() if v["pipeline_version_id"] == id), None)
        return (200, version) if version else (404, {"message": "not found"})

    def _version_page(self, start: int) -> tuple[int, dict[str, Any]]:
        """Two versions a page, so that paging is met."""
        every = list(self.versions.values())
        more = {"next_page_token": str(start + 2)} if len(every) > start + 2 else {}
        return 200, {"pipeline_versions": every[start : start + 2], **more}

    def _upload(self, query: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        if b"pipelineInfo" not in body:
            return 400, {"error_message": "unknown template format"}
        self.uploads += 1
        version = {"pipeline_version_id": f"v-{self.uploads}", "display_name": query["name"], "pipeline_id": query["pipelineid"]}
        self.versions[query["name"]] = version
        return 200, version

    def _start(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        known = {version["pipeline_version_id"] for version in self.versions.values()}
        if body["pipeline_version_reference"]["pipeline_version_id"] not in known:
            return 400, {"message": "no such pipeline version"}
        run = f"r-{len(self.runs) + 1}"
        self.runs[run] = {"body": body, "looks": 0}
        return 200, {"run_id": run}

    def _look(self, run: str) -> tuple[int, dict[str, Any]]:
        if run not in self.runs:
            return 404, {"message": "no such run"}
        looks = self.runs[run]["looks"]
        self.runs[run]["looks"] += 1
        state = self.states[min(looks, len(self.states) - 1)]
        answer: dict[str, Any] = {"run_id": run, "state": state, "run_details": {"task_details": _tasks(run, self._steps(state))}}
        answer["pipeline_version_reference"] = self.runs[run]["body"].get("pipeline_version_reference", {})
        if state == "FAILED" and self.error:
            answer["error"] = {"message": self.error}
        return 200, answer

    def _steps(self, state: str) -> list[tuple[str, str]]:
        return [(name, own or state) for name, own in self.steps]

    def workflow(self, run: str) -> dict[str, Any]:
        """What v1beta1 shows besides: Argo's account. Each step lost its first pod; the second one has the log."""
        looks = max(0, self.runs[run]["looks"] - 1)
        nodes = {}
        for number, (name, state) in enumerate(self._steps(self.states[min(looks, len(self.states) - 1)])):
            for attempt, phase in enumerate(("Error", state.capitalize())):
                id = f"wf-{run}-{number}{attempt}"
                way = f"wf-{run}(0).root(0).{name}(0).executor({attempt})"
                nodes[id] = {"id": id, "name": way, "type": "Pod", "templateName": "impl", "phase": phase}
                nodes[id]["message"] = self.message if attempt else "pod deleted"
        manifest = json.dumps({"metadata": {"name": f"wf-{run}"}, "status": {"nodes": nodes}})
        return {"pipeline_runtime": {"workflow_manifest": manifest}}

    @staticmethod
    def _found(name: str, value: str | None) -> tuple[int, dict[str, Any]]:
        return (200, {name: value}) if value else (404, {"message": "not found"})


def _tasks(run: str, steps: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Argo's tree laid flat, in no order: what stands beside the steps is most of it."""
    whole, times = f"wf-{run}", {"start_time": "2026-11-23T11:00:00Z", "end_time": "2026-11-23T12:00:00Z"}
    made: list[dict[str, Any]] = []
    for number, (name, state) in enumerate(steps):
        below = [{"pod_name": f"{whole}-{number}"}]
        made += [{"display_name": f"{name}(0)", "state": state, "child_tasks": below, **times}]
        made += [{"display_name": other, "state": "SUCCEEDED", **times} for other in (f"{name}-driver", f"{name}-driver(0)")]
        made += [{"display_name": other, "state": state, **times} for other in ("executor(0)", "executor", name)]
    around = [
        {"display_name": name, "state": "RUNNING", **times} for name in (whole, f"{whole}(0)", "root", "root(0)", "root-driver")
    ]
    return [*made, *around, {"task_id": "nameless"}, {"display_name": "never-begun-driver"}]


@contextmanager
def serving(fake: FakeKubeflow) -> Iterator[str]:
    """The fake behind real HTTP on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            url = urlparse(self.path)
            answer: Any
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if fake.token and self.headers.get("Authorization") != f"Bearer {fake.token}":
                code, answer = 401, {"message": "Unauthorized"}
            elif match := re.fullmatch(r"/apis/v(?:2beta1|1beta1(?=/healthz))(/.*)", url.path):
                code, answer = fake.answer(self.command, match.group(1), query, body)
            elif (match := re.fullmatch(r"/apis/v1beta1/runs/([^/]+)", url.path)) and match[1] in fake.runs:
                code, answer = 200, fake.workflow(match[1])
            elif match := re.fullmatch(r"/apis/v1alpha1/runs/r-\d+/nodes/([^/]+)/log", url.path):
                there = fake.log is not None and re.fullmatch(r"wf-r-\d+-impl-\d1", match[1])
                code, answer = 200, fake.log if there else '{"error_message":"BadRequestError: Failed to read logs"}'
            else:
                code, answer = 404, {"message": "not found"}
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with answering(Handler) as url:
        yield url
