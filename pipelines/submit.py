"""Compiles, lints, uploads, runs and follows a pipeline on a Kubeflow Pipelines API server, over its REST API v2beta1.

    python -m pipelines.submit full --recipe lora_24gb --endpoint http://localhost:8888 --set source=s3://jams/may

A version is named by the content of its YAML: uploading the same pipeline twice makes one version.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from audiotune.errors import AudioTuneError, PipelineError, SettingsError
from pipelines.compile import compiled
from pipelines.documents import PIPELINES, to_yaml
from pipelines.local import typed_arguments
from pipelines.recipe import load_recipe

_API = "/apis/v2beta1"
_ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
Documents = list[dict[str, Any]]


class Kubeflow:
    """A Kubeflow Pipelines API server.

    Args:
        endpoint: its address, as in http://localhost:8888.
        token: bearer token, where one is asked for.
        user: value of the kubeflow-userid header in multi-user installations reached without a gateway.
        namespace: profile namespace in multi-user installations.
    """

    def __init__(self, endpoint: str, *, token: str = "", user: str = "", namespace: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if user:
            headers["kubeflow-userid"] = user
        self.endpoint, self.namespace = endpoint.rstrip("/"), namespace
        self._http = httpx.Client(base_url=self.endpoint, headers=headers, timeout=30)

    def upload(self, documents: Documents) -> tuple[str, str]:
        """Returns (pipeline id, version id); uploads only what the server does not have yet."""
        text = to_yaml(documents)
        info = documents[0]["pipelineInfo"]
        version = f"{info['name']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        pipeline = self._find_pipeline(info["name"])
        if pipeline is None:
            created = self._call("POST", "/pipelines", json={**self._place(), "name": info["name"], "display_name": info["name"]})
            pipeline = created["pipeline_id"]
        return pipeline, self._find_version(pipeline, version) or self._upload_version(pipeline, version, text)

    def run(self, pipeline: str, version: str, name: str, arguments: Mapping[str, Any], service_account: str = "") -> str:
        """Starts a run and returns its id."""
        body = {
            "display_name": name,
            "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
            "runtime_config": {"parameters": dict(arguments)},
            "service_account": service_account,
        }
        return str(self._call("POST", "/runs", json=body)["run_id"])

    def follow(self, run: str, tell: Callable[[str], None], *, every_s: float = 5.0, timeout_s: float = 7 * 86_400) -> str:
        """Waits for a run's end and tells every change of its tasks. Returns the run's state.

        Raises:
            PipelineError: it did not succeed, or did not end in time.
        """
        told: dict[str, str] = {}
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            answer = self._call("GET", f"/runs/{run}")
            for task in answer.get("run_details", {}).get("task_details", []):
                name, state = task.get("display_name", "?"), task.get("state", "")
                if told.get(name) != state:
                    told[name] = state
                    tell(f"{name}: {state}")
            state = str(answer.get("state", ""))
            if state in _ENDED:
                return self._ended(run, state, answer)
            time.sleep(every_s)
        raise PipelineError(f"the run did not end within {timeout_s:.0f} s", where=run, cure="look at it in the Kubeflow UI")

    def _ended(self, run: str, state: str, answer: Mapping[str, Any]) -> str:
        if state == "SUCCEEDED":
            return state
        words = (answer.get("error") or {}).get("message") or "the last line of the failed step's log says why"
        raise PipelineError(f"the run ended as {state}: {words}", where=f"{self.endpoint}/#/runs/details/{run}")

    def _find_pipeline(self, name: str) -> str | None:
        try:
            return str(self._call("GET", f"/pipelines/names/{name}", params=self._place())["pipeline_id"])
        except NotThereError:
            return None

    def _find_version(self, pipeline: str, name: str) -> str | None:
        page = ""
        while True:
            answer = self._call("GET", f"/pipelines/{pipeline}/versions", params={"page_size": 100, "page_token": page})
            for version in answer.get("pipeline_versions", []):
                if name in (version.get("name"), version.get("display_name")):
                    return str(version["pipeline_version_id"])
            page = answer.get("next_page_token", "")
            if not page:
                return None

    def _upload_version(self, pipeline: str, name: str, text: str) -> str:
        files = {"uploadfile": (f"{name}.yaml", text.encode(), "application/yaml")}
        answer = self._call("POST", "/pipelines/upload_version", params={"name": name, "pipelineid": pipeline}, files=files)
        return str(answer["pipeline_version_id"])

    def _place(self) -> dict[str, str]:
        return {"namespace": self.namespace} if self.namespace else {}

    def _call(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, _API + path, **how)
        except httpx.HTTPError as e:
            cure = "is the port forwarded? kubectl port-forward -n kubeflow svc/ml-pipeline 8888"
            raise PipelineError(f"Kubeflow does not answer: {e}", where=self.endpoint, cure=cure) from e
        if answer.status_code == 404:
            raise NotThereError("not there", where=path)
        if answer.status_code in (401, 403):
            raise PipelineError("Kubeflow refuses this user", where=path, cure="give --token or --user and --namespace")
        if answer.is_error:
            raise PipelineError(f"Kubeflow answered {answer.status_code}: {_message(answer)}", where=path)
        return dict(answer.json())


class NotThereError(PipelineError):
    """Kubeflow has no such thing."""


def _message(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return str(body.get("message") or body.get("error_message") or body)[:500]
    except ValueError:
        return answer.text[:500]


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        if not args.endpoint:
            raise SettingsError("no Kubeflow is named", cure="give --endpoint or set KFP_ENDPOINT")
        documents = compiled(args.pipeline, load_recipe(args.recipe))
        arguments = typed_arguments(documents[0], dict(pair.split("=", 1) for pair in args.set if "=" in pair))
        server = Kubeflow(args.endpoint, token=args.token, user=args.user, namespace=args.namespace)
        pipeline, version = server.upload(documents)
        print(f"version {version} of pipeline {pipeline}")
        if args.upload_only:
            return 0
        run = server.run(pipeline, version, args.name or f"{args.pipeline} {args.recipe}", arguments, args.service_account)
        print(f"run {run}")
        if not args.no_wait:
            print(server.follow(run, print))
    except AudioTuneError as e:
        print(f"submit: {e}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m pipelines.submit", description=(__doc__ or "").split("\n")[0])
    made.add_argument("pipeline", choices=PIPELINES)
    made.add_argument("--recipe", default="first_release", help="name of a shipped recipe or a TOML file")
    made.add_argument("--endpoint", default=os.environ.get("KFP_ENDPOINT", ""), help="Kubeflow Pipelines API (KFP_ENDPOINT)")
    made.add_argument("--token", default=os.environ.get("KFP_TOKEN", ""), help="bearer token (KFP_TOKEN)")
    made.add_argument("--user", default="", help="kubeflow-userid header")
    made.add_argument("--namespace", default="", help="profile namespace in multi-user installations")
    made.add_argument("--service-account", default="", help="service account of the steps")
    made.add_argument("--name", default="", help="display name of the run")
    made.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the run form; repeat it")
    made.add_argument("--upload-only", action="store_true", help="upload the version, start no run")
    made.add_argument("--no-wait", action="store_true", help="start the run and do not follow it")
    return made


if __name__ == "__main__":
    raise SystemExit(main())
