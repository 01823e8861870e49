"""The launcher over Kubeflow Pipelines: no kfp package, the client of audiotune.outside.kubeflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audiotune.errors import PipelineError, RunUnfinishedError
from audiotune.outside.kubeflow import ENDED_WELL, Kubeflow, find_newest_version
from audiotune.outside.kubeflow_runs import list_steps
from audiotune.store.port import Store
from services.studio.prepare_runner import PrepareProgress
from services.studio.uploads import Upload

_LARGEST_B = 1 << 30  # the store port writes a named key from memory; larger takes come in by bucket


class KubeflowPrepareRunner:
    """Starts the uploaded pipelines and follows them.

    Args:
        store: must be one the cluster reaches too (s3://...).
        url: Kubeflow's API server.
        pipeline: name of the pipeline that prepares recordings, with or without `audio-tune-` before it.
        account: service account of the steps; empty takes Kubeflow's default.
        user: value of the kubeflow-userid header, where no gateway sets it.
        poll_s: seconds between two looks.
    """

    place = "on the cluster"

    def __init__(
        self, store: Store, url: str, *, pipeline: str = "prepare", namespace: str = "", token: str = "", user: str = "",
        account: str = "", limit_s: int = 7200, poll_s: float = 3.0,
    ) -> None:  # fmt: skip
        self._store, self._pipeline, self._limit_s, self._poll_s = store, pipeline, limit_s, poll_s
        self._account = account
        self._server = Kubeflow(url, token=token, user=user, namespace=namespace, timeout_s=20)

    def prepare_upload(self, upload: Upload) -> Iterator[PrepareProgress]:
        self._require_bucket()
        yield PrepareProgress(0.0, "Laying the files out for the cluster")
        self._copy_upload_files(upload)
        form = {
            "source": f"{self._store.url.rstrip('/')}/{upload.folder_key}",
            "contributors": ",".join(upload.contributors),
            "session": upload.session,
            "instrument": upload.instrument,
            "licence": upload.licence,
        }
        yield from self._follow_run(self._pipeline, f"studio upload {upload.id}", form)

    def _follow_run(self, pipeline: str, title: str, form: Mapping[str, Any]) -> Iterator[PrepareProgress]:
        """Starts and follows. Who stops listening does not end the run."""
        given = {name: value for name, value in form.items() if value}
        run = self._server.start_run(*find_newest_version(self._server, pipeline), title, given, self._account)
        yield PrepareProgress(0.02, "The cluster has the run; a pod takes some seconds to start")
        try:
            for seen in self._server.watch_run(run, every_s=self._poll_s, timeout_s=self._limit_s):
                yield _describe_progress(seen)
        except RunUnfinishedError as e:
            cure = "look at it in Kubeflow"
            raise PipelineError(f"the run takes longer than {self._limit_s} s", where=f"run {run}", cure=cure) from e
        yield PrepareProgress(1.0, "Done; the reports are in the Kubeflow page of the run", done=True)

    def _require_bucket(self) -> None:
        if not self._store.url.startswith("s3://"):
            raise PipelineError("the cluster cannot reach a store in a folder", cure="set AUDIOTUNE_STORE to s3://bucket/prefix")

    def _copy_upload_files(self, upload: Upload) -> None:
        for file in upload.files:
            if file.size > _LARGEST_B:
                raise PipelineError(f"{file.name} is over 1 GiB", cure="put it into the bucket and run prepare on its prefix")
            self._store.put(f"{upload.folder_key}{file.name}", self._store.get(file.blob))


def _describe_progress(run: dict[str, Any]) -> PrepareProgress:
    """Ended steps over all known steps of a run."""
    tasks = list_steps(run)
    ended = [task for task in tasks if task.get("state") in ENDED_WELL]
    running = [str(task.get("display_name")) for task in tasks if task.get("state") == "RUNNING"]
    share = len(ended) / len(tasks) if tasks else None
    return PrepareProgress(share, f"Running: {', '.join(running[:3])}" if running else "Waiting for the cluster")
