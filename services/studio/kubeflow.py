"""The launcher over Kubeflow Pipelines' HTTP API (v2beta1): no kfp package, a handful of calls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx

from audiotune.errors import PipelineError
from audiotune.store.port import Store
from services.studio.inbox import Upload
from services.studio.launcher import News

_ENDED_WELL, _ENDED_BADLY = {"SUCCEEDED"}, {"FAILED", "CANCELED", "SKIPPED"}
_LARGEST_B = 1 << 30  # the store port writes a named key from memory; larger takes come in by bucket


class KubeflowLauncher:
    """Starts the uploaded pipeline `prepare` and follows it.

    Args:
        store: must be one the cluster reaches too (s3://...).
        poll_s: seconds between two looks.
    """

    place = "on the cluster"

    def __init__(
        self, store: Store, url: str, *, pipeline: str = "prepare", namespace: str = "", token: str = "",
        limit_s: int = 7200, poll_s: float = 3.0,
    ) -> None:  # fmt: skip
        self._store, self._pipeline, self._namespace = store, pipeline, namespace
        self._limit_s, self._poll_s = limit_s, poll_s
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/apis/v2beta1", headers=headers, timeout=20)

    def prepare(self, upload: Upload) -> Iterator[News]:
        if not self._store.url.startswith("s3://"):
            raise PipelineError("the cluster cannot reach a store in a folder", cure="set AUDIOTUNE_STORE to s3://bucket/prefix")
        yield News(0.0, "Laying the files out for the cluster")
        self._lay_out(upload)
        run = self._start(upload)
        yield News(0.02, "The cluster has the run; a pod takes some seconds to start")
        yield from self._follow(run)
        yield News(1.0, "Done; the reports are in the Kubeflow page of the run", done=True)

    def _lay_out(self, upload: Upload) -> None:
        for file in upload.files:
            if file.size > _LARGEST_B:
                raise PipelineError(f"{file.name} is over 1 GiB", cure="put it into the bucket and run prepare on its prefix")
            self._store.put(f"{upload.folder_key}{file.name}", self._store.get(file.blob))

    def _start(self, upload: Upload) -> str:
        form = {
            "source": f"{self._store.url.rstrip('/')}/{upload.folder_key}",
            "contributors": ",".join(upload.contributors),
            "session": upload.session,
            "instrument": upload.instrument,
            "licence": upload.licence,
        }
        pipeline = self._id_of_pipeline()
        body = {
            "display_name": f"studio upload {upload.id}",
            "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": self._newest_version(pipeline)},
            "runtime_config": {"parameters": {name: value for name, value in form.items() if value}},
        }
        return str(self._call("POST", "/runs", json=body)["run_id"])

    def _id_of_pipeline(self) -> str:
        params = {"namespace": self._namespace} if self._namespace else {}
        return str(self._call("GET", f"/pipelines/names/{self._pipeline}", params=params)["pipeline_id"])

    def _newest_version(self, pipeline: str) -> str:
        params = {"sort_by": "created_at desc", "page_size": "1"}
        versions = self._call("GET", f"/pipelines/{pipeline}/versions", params=params).get("pipeline_versions") or []
        if not versions:
            raise PipelineError(f"the pipeline {self._pipeline!r} has no version", cure="upload it with pipelines.submit")
        return str(versions[0]["pipeline_version_id"])

    def _follow(self, run: str) -> Iterator[News]:
        end = time.monotonic() + self._limit_s
        while time.monotonic() < end:
            seen = self._call("GET", f"/runs/{run}")
            state = seen.get("state", "PENDING")
            if state in _ENDED_WELL:
                return
            if state in _ENDED_BADLY:
                words = (seen.get("error") or {}).get("message") or "a step failed"
                raise PipelineError(f"the run {state.lower()}: {words}", where=f"run {run}", cure="its log is in Kubeflow")
            yield _news(seen)
            time.sleep(self._poll_s)
        raise PipelineError(f"the run takes longer than {self._limit_s} s", where=f"run {run}", cure="look at it in Kubeflow")

    def _call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **given)
            answer.raise_for_status()
            found = answer.json()
        except httpx.HTTPStatusError as e:
            said = e.response.text[:200]
            raise PipelineError(
                f"Kubeflow answers {e.response.status_code}: {said}", where=path, cure="is the pipeline uploaded?"
            ) from e
        except (httpx.HTTPError, ValueError) as e:
            raise PipelineError(f"Kubeflow does not answer: {e}", where=path, cure="check AUDIOTUNE_STUDIO_KFP_URL") from e
        return found if isinstance(found, dict) else {}


def _news(run: dict[str, Any]) -> News:
    """Ended tasks over all known tasks of a run; drivers and executors are left out of the words."""
    tasks = [t for t in (run.get("run_details") or {}).get("task_details") or [] if "driver" not in str(t.get("display_name"))]
    ended = [t for t in tasks if t.get("state") in _ENDED_WELL]
    running = [str(t.get("display_name")) for t in tasks if t.get("state") == "RUNNING"]
    share = len(ended) / len(tasks) if tasks else None
    return News(share, f"Running: {', '.join(running[:3])}" if running else "Waiting for the cluster")
