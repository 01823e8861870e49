"""A Kubeflow Pipelines API server over HTTP (REST v2beta1): upload, run, look, cancel, and why a step failed.

This does not use the package kfp, which the images of the studio and of the chart's jobs do not hold. KFP 2.17.0 says only "Error"
of a failed step; the reason is the last line of the step's log.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from audiotune.errors import (
    KubeflowNotFoundError,
    KubeflowRefusedError,
    KubeflowUnreachableError,
    PipelineError,
)
from audiotune.outside.kubeflow_runs import (
    KubeflowRun,
    StepPod,
    find_failed_drivers,
    find_failure_line,
    find_step_pods,
    list_steps,
    parse_error_message,
    parse_workflow,
    was_cancelled,
)
from audiotune.reporting.last_words import name_step
from audiotune.reporting.progress import Progress, find_last_progress

_API = "/apis/v2beta1"
_API_PORT = 8888  # of the Service ml-pipeline, and of a port forwarded to it
ENDED_WELL, ENDED_BADLY = {"SUCCEEDED"}, {"FAILED", "CANCELED", "SKIPPED"}
_EXPERIMENT = "audio-tune"
PIPELINE_PREFIX = "audio-tune-"


class Kubeflow:
    """A Kubeflow Pipelines API server.

    Args:
        endpoint: its address, as in http://localhost:8888.
        token: bearer token; empty where none is needed.
        user: value of the header kubeflow-userid, for multi-user installations that are reached without a gateway.
        namespace: profile namespace in multi-user installations; empty in single-user ones.
        timeout_s: seconds one answer may take.
        pages: address of Kubeflow's pages as a browser reaches them; empty where the endpoint serves them, too, as a gateway does.
    """

    def __init__(
        self, endpoint: str, *, token: str = "", user: str = "", namespace: str = "", timeout_s: float = 30.0, pages: str = ""
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if user:
            headers["kubeflow-userid"] = user
        self.endpoint, self.namespace = endpoint.rstrip("/"), namespace
        self._pages = pages.rstrip("/") or ("" if urlsplit(self.endpoint).port == _API_PORT else self.endpoint)
        self._http = httpx.Client(base_url=self.endpoint, headers=headers, timeout=timeout_s)

    def health(self) -> dict[str, Any]:
        """The server's version (`tag_name`) and whether it is `multi_user`."""
        found = self._request_json("GET", "/apis/v1beta1/healthz", whole=True)
        return found if "multi_user" in found else {**found, **self._request_json("GET", "/healthz")}

    def server_date(self) -> str:
        """The Date header of an answer; empty when there is none."""
        return str(self._send_request("GET", f"{_API}/healthz").headers.get("Date", ""))

    def upload_pipeline(self, name: str, version: str, text: str, title: str = "", about: str = "") -> tuple[str, str, bool]:
        """Uploads a pipeline unless the server has it. Returns (pipeline id, version id, whether it was new).

        Args:
            name: name of the pipeline.
            version: name of the version; the same name must mean the same content.
            text: the compiled YAML.
            title: name for people.
            about: a sentence for people.
        """
        pipeline = self.pipeline_id(name)
        if pipeline is None:
            body = {**self._namespace_field(), "name": name, "display_name": title or name, "description": about}
            pipeline = str(self._request_json("POST", "/pipelines", json=body)["pipeline_id"])
        path = f"/pipelines/{pipeline}/versions"
        existing = self._find_id(path, "pipeline_versions", "pipeline_version_id", version, {})
        return pipeline, existing or self._upload_version(pipeline, version, text), existing is None

    def start_run(self, pipeline: str, version: str, name: str, arguments: Mapping[str, Any], service_account: str = "") -> str:
        """Starts a run and returns its id. The arguments have the types of the run form; the server checks them."""
        body = {
            "display_name": name,
            "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
            "runtime_config": {"parameters": dict(arguments)},
            "service_account": service_account,
        }
        if self.namespace:
            body["experiment_id"] = self._experiment_id()
        return str(self._request_json("POST", "/runs", json=body)["run_id"])

    def read_run(self, run: str) -> KubeflowRun:
        """The run as it is now: `state` and `run_details.task_details`."""
        return self._request_json("GET", f"/runs/{run}")

    def cancel_run(self, run: str) -> None:
        """Asks Kubeflow to end a run. Its steps live about 0.7 s after the signal; the API then calls the run FAILED."""
        self._request_json("POST", f"/runs/{run}:terminate")

    def run_page(self, run: str) -> str:
        """Address of the run's page; empty where no pages are known: the API server itself has none."""
        return f"{self._pages}/#/runs/details/{run}" if self._pages else ""

    def failure_reason(self, run: str, seen: KubeflowRun) -> str:
        """Why a run failed, in one sentence: the last line in the log of the step that failed first."""
        if was_cancelled(seen):
            return "the run was ended by hand"
        failed = [task for task in list_steps(seen) if task.get("state") == "FAILED"]
        failed.sort(key=lambda task: str(task.get("end_time") or "~"))
        for name in (*(str(task.get("display_name")) for task in failed), *find_failed_drivers(seen)):
            if line := self._failure_line(run, name):
                return name_step(name, line)
        words = str((seen.get("error") or {}).get("message") or "")
        names = ", ".join(str(task.get("display_name")) for task in failed)
        return words or f"{names or 'a step'} failed; the last line of its log says why"

    def _failure_line(self, run: str, step: str) -> str:
        """The reason in a step's log, else Kubernetes' message about its pod."""
        pods = self._step_pods(run, step)
        logs = (find_failure_line(self._pod_log(run, pod)) for pod in pods)
        newest = (pod.message for pod in pods[:1] if "Error (exit code" not in pod.message)
        return next(filter(None, (*logs, *newest)), "")

    def _step_pods(self, run: str, step: str) -> list[StepPod]:
        try:
            return find_step_pods(parse_workflow(self._request_json("GET", f"/apis/v1beta1/runs/{run}", whole=True)), step)
        except PipelineError:
            return []

    def _pod_log(self, run: str, pod: StepPod) -> str:
        """A pod's log, live or archived; empty when the server cannot find it: then it answers 200 with an error message.

        A single-user server has only the logs of pods that have ended: for running pods it looks in no namespace.
        """
        for name in dict.fromkeys((pod.name, pod.node)):
            try:
                text = self._send_request("GET", f"/apis/v1alpha1/runs/{run}/nodes/{name}/log").text
            except PipelineError:
                continue
            if text and not text.startswith('{"error_message"'):
                return text
        return ""

    def pipeline_id(self, name: str) -> str | None:
        """The id of a pipeline by name, or None."""
        try:
            return str(self._request_json("GET", f"/pipelines/names/{name}", params=self._namespace_field())["pipeline_id"])
        except KubeflowNotFoundError:
            return None

    def newest_version(self, name: str) -> tuple[str, str]:
        """Pipeline id and version id of what was uploaded last under a name, with or without the prefix `audio-tune-`."""
        full = f"{PIPELINE_PREFIX}{name.removeprefix(PIPELINE_PREFIX)}"
        pipeline = self.pipeline_id(name) or self.pipeline_id(full)
        if pipeline is not None:
            params = {"sort_by": "created_at desc", "page_size": "1"}
            versions = self._request_json("GET", f"/pipelines/{pipeline}/versions", params=params).get("pipeline_versions") or []
            if versions:
                return pipeline, str(versions[0]["pipeline_version_id"])
        raise KubeflowNotFoundError(
            f"Kubeflow has no pipeline {full!r}", where=self.endpoint, cure="run python -m pipelines.submit upload"
        )

    def pipeline_spec(self, pipeline: str, version: str) -> dict[str, Any]:
        """The compiled pipeline of a version, the first document of its YAML; empty when the server does not show it."""
        found = self._request_json("GET", f"/pipelines/{pipeline}/versions/{version}").get("pipeline_spec") or {}
        return dict(found.get("pipeline_spec") or found)  # with a platform spec, both are one level deeper

    def step_progress(self, run: str, step: str) -> Progress | None:
        """How far a running step is, by the last progress line in its log; None where there is none yet.

        While the step's pod waits, the words are Kubernetes' message about it.
        """
        for pod in self._step_pods(run, step):
            if found := find_last_progress(self._pod_log(run, pod)):
                return found
            if pod.phase == "Pending" and pod.message:
                return Progress(0.0, pod.message[:200])
        return None

    def _experiment_id(self) -> str:
        found = self._find_id("/experiments", "experiments", "experiment_id", _EXPERIMENT, self._namespace_field())
        body = {"display_name": _EXPERIMENT, **self._namespace_field()}
        return found or str(self._request_json("POST", "/experiments", json=body)["experiment_id"])

    def _find_id(self, path: str, kind: str, key: str, name: str, params: Mapping[str, str]) -> str | None:
        page = ""
        while True:
            answer = self._request_json("GET", path, params={**params, "page_size": 100, "page_token": page})
            for entry in answer.get(kind) or []:
                if name in (entry.get("name"), entry.get("display_name")):
                    return str(entry[key])
            page = answer.get("next_page_token", "")
            if not page:
                return None

    def _upload_version(self, pipeline: str, name: str, text: str) -> str:
        files = {"uploadfile": (f"{name}.yaml", text.encode(), "application/yaml")}
        params = {"name": name, "pipelineid": pipeline}
        answer = self._request_json("POST", "/pipelines/upload_version", params=params, files=files)
        return str(answer["pipeline_version_id"])

    def _namespace_field(self) -> dict[str, str]:
        return {"namespace": self.namespace} if self.namespace else {}

    def _request_json(self, method: str, path: str, *, whole: bool = False, **how: Any) -> dict[str, Any]:
        answer = self._send_request(method, path if whole else _API + path, **how)
        try:
            found = answer.json() if answer.content else {}
        except ValueError as e:
            cure = "is this the API server's address, and no sign-in page?"
            raise KubeflowUnreachableError("what answers is not Kubeflow", where=f"{self.endpoint}{path}", cure=cure) from e
        return found if isinstance(found, dict) else {}

    def _send_request(self, method: str, path: str, **how: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **how)
        except httpx.HTTPError as e:
            cure = "is the address right, the port forwarded? kubectl port-forward -n kubeflow svc/ml-pipeline 8888"
            raise KubeflowUnreachableError(f"Kubeflow does not answer: {e}", where=self.endpoint, cure=cure) from e
        if answer.status_code == 404:
            raise KubeflowNotFoundError("Kubeflow has no such thing", where=path)
        message = parse_error_message(answer.text) if answer.is_error else ""
        if answer.status_code in (401, 403) or "PermissionDenied" in message or "Unauthenticated" in message:
            raise KubeflowRefusedError("Kubeflow refuses this user", where=path, cure="give a token, or user and namespace")
        if answer.is_error:
            raise PipelineError(f"Kubeflow answered {answer.status_code}: {message}", where=path)
        return answer
