"""Runs on Kubeflow Pipelines: starts an uploaded pipeline, and reads its state from Kubeflow."""

import time
from collections.abc import Mapping
from typing import Any

from audiotune.errors import KubeflowNotFoundError, PipelineError
from audiotune.outside.kubeflow import ENDED_BADLY, ENDED_WELL, Kubeflow
from audiotune.outside.kubeflow_runs import KubeflowRun, list_steps
from audiotune.reporting.progress import Progress
from audiotune.runs.port import RunSnapshot, RunStep
from audiotune.runs.run_form import FormStep, RunForm

_STATES = {"RUNNING": "running", "SUCCEEDED": "done", "SKIPPED": "done", "FAILED": "failed", "CANCELED": "failed"}


class KubeflowRunner:
    """Runs of one pipeline on the cluster. Kubeflow keeps all of a run; every program that reads it there sees the same.

    Args:
        server: Kubeflow's API server.
        pipeline: name of the pipeline, with or without `audio-tune-` before it.
        version: ids of the pipeline and the version to start; None takes the newest version.
        store_url: the store of the steps, which the cluster must reach; empty where it is not known.
        account: service account of the steps; empty takes Kubeflow's default.
        log_every_s: seconds between two reads of a running step's log, which shows its progress.
    """

    place = "on the cluster"

    def __init__(
        self,
        server: Kubeflow,
        pipeline: str = "",
        *,
        version: tuple[str, str] | None = None,
        store_url: str = "",
        account: str = "",
        log_every_s: float = 15.0,
    ) -> None:
        self._server, self._pipeline, self._version = server, pipeline, version
        self._store_url, self._account, self._log_every_s = store_url, account, log_every_s
        self._progress: dict[str, tuple[float, Progress | None]] = {}
        self._steps: dict[str, tuple[FormStep, ...]] = {}

    def read_form(self) -> RunForm:
        return self._load_form(*self._find_version())

    def start(self, title: str, values: Mapping[str, Any]) -> str:
        if self._store_url and not self._store_url.startswith("s3://"):
            raise PipelineError("the cluster cannot reach a store in a folder", cure="set AUDIOTUNE_STORE to s3://bucket/prefix")
        return self._server.start_run(*self._find_version(), title, values, self._account)

    def read_snapshot(self, run: str) -> RunSnapshot:
        page = self._server.run_page(run)
        try:
            seen = self._server.read_run(run)
        except KubeflowNotFoundError:
            return RunSnapshot((), "lost", "Kubeflow does not know this run any more", page)
        steps, state = self._list_steps(run, seen), str(seen.get("state", ""))
        if state in ENDED_WELL:
            return RunSnapshot(steps, "done", "", page)
        if state in ENDED_BADLY:
            return RunSnapshot(steps, "failed", self._server.failure_reason(run, seen), page)
        return RunSnapshot(steps, None, "", page)

    def stop(self, run: str) -> None:
        self._server.cancel_run(run)

    def read_reports(self, run: str) -> dict[str, str]:
        return {}  # Kubeflow's own page of the run shows them

    def _find_version(self) -> tuple[str, str]:
        return self._version or self._server.newest_version(self._pipeline)

    def _list_steps(self, run: str, seen: KubeflowRun) -> tuple[RunStep, ...]:
        """All steps of the pipeline: Kubeflow's list has only those that have begun."""
        tasks = {str(task["display_name"]): task for task in list_steps(seen)}
        if run not in self._steps:
            self._steps[run] = self._read_known_steps(seen)
        known = self._steps[run] or tuple(FormStep(name=name, title=name) for name in tasks)
        return tuple(self._describe_step(run, step, tasks.get(step.name) or tasks.get(step.title)) for step in known)

    def _describe_step(self, run: str, step: FormStep, task: dict[str, Any] | None) -> RunStep:
        state = _STATES.get(str((task or {}).get("state")), "waiting")
        progress = self._read_progress(run, str(task.get("display_name"))) if task and state == "running" else None
        share, words = progress or (1.0 if state == "done" else None, "")
        return RunStep.model_validate({"name": step.name, "title": step.title, "state": state, "share": share, "words": words})

    def _read_progress(self, run: str, task: str) -> Progress | None:
        key = f"{run} {task}"
        read_at, progress = self._progress.get(key, (float("-inf"), None))
        if time.monotonic() - read_at >= self._log_every_s:
            progress = self._server.step_progress(run, task)
            self._progress[key] = (time.monotonic(), progress)
        return progress

    def _read_known_steps(self, seen: KubeflowRun) -> tuple[FormStep, ...]:
        """The steps of the version that the run was started with; none when that version was deleted."""
        version = seen.get("pipeline_version_reference") or {}
        try:
            return self._load_form(str(version.get("pipeline_id", "")), str(version.get("pipeline_version_id", ""))).steps
        except PipelineError:
            return ()

    def _load_form(self, pipeline: str, version: str) -> RunForm:
        spec = self._server.pipeline_spec(pipeline, version)
        try:
            return RunForm.from_spec(spec)
        except (KeyError, TypeError, AttributeError) as e:
            cure = "upload it again: python -m pipelines.submit upload"
            raise PipelineError("Kubeflow shows no form for this pipeline", where=self._pipeline, cure=cure) from e
