"""Runs of MLflow that a training logs to. Metrics are buffered: one batch takes a tenth of the time of a hundred calls."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiotune.errors import RegistryError
from audiotune.registry.connection import artifact_location, find_in_mlflow, get_mlflow_client, tracking_uri, translate_errors

_BATCH = 100  # metrics sent at once
_EVERY_S = 20.0  # or after this long
_LONGEST_PARAM = 6000  # characters MLflow takes
_MOST_UNSENT = 5000  # unsent metrics kept while MLflow does not answer


class MlflowRun:
    """A run of an experiment. Logging metrics never raises: a training must not fail because the registry does not answer."""

    def __init__(self, id: str) -> None:
        self.id = id
        self._unsent: list[tuple[str, float, int, int]] = []
        self._tried = time.monotonic()
        self._unreachable = False  # then it is tried again only every `_EVERY_S`: each try costs a training seconds

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a step; sent in batches. NaN is kept as MLflow keeps it."""
        now = int(time.time() * 1000)
        self._unsent += [(name, float(value), now, step) for name, value in values.items()]
        waited_s = time.monotonic() - self._tried
        if waited_s > _EVERY_S or (len(self._unsent) >= _BATCH and not self._unreachable):
            self.flush()

    def flush(self) -> None:
        """Sends the buffered metrics; keeps them for the next time when MLflow does not answer."""
        from mlflow.entities import Metric

        while self._unsent:
            part = self._unsent[:_BATCH]
            try:
                with translate_errors("logging metrics"):
                    get_mlflow_client().log_batch(self.id, metrics=[Metric(*values) for values in part])
            except RegistryError as e:
                warnings.warn(f"{e}; {len(self._unsent)} numbers wait", stacklevel=2)
                self._unsent = self._unsent[-_MOST_UNSENT:]
                self._unreachable = True
                break
            self._unsent = self._unsent[_BATCH:]
            self._unreachable = False
        self._tried = time.monotonic()

    def log_file(self, path: Path, folder: str = "") -> None:
        """Raises RegistryError."""
        with translate_errors(f"keeping {path.name}"):
            get_mlflow_client().log_artifact(self.id, str(path), folder or None)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Settings of the run; values are kept as words. Raises RegistryError."""
        from mlflow.entities import Param

        rows = [Param(name, str(value)[:_LONGEST_PARAM]) for name, value in params.items()]
        with translate_errors("logging settings"):
            for start in range(0, len(rows), _BATCH):
                get_mlflow_client().log_batch(self.id, params=rows[start : start + _BATCH])

    def end(self, status: str = "FINISHED") -> None:
        """FINISHED, FAILED or KILLED."""
        self.flush()
        with translate_errors("ending the run"):
            get_mlflow_client().set_terminated(self.id, status)


def start_run(experiment: str, name: str, params: Mapping[str, Any] | None = None, run_id: str | None = None) -> MlflowRun:
    """A new run, or the one of `run_id`, or the one that Kubeflow opened (MLFLOW_RUN_ID). Raises RegistryError."""
    run_id = run_id or os.environ.get("MLFLOW_RUN_ID")
    run = _resume_run(run_id) if run_id else None
    if run is not None:
        return run
    with translate_errors(f"starting the run {name!r}"):
        created = get_mlflow_client().create_run(_ensure_experiment(experiment), run_name=name)
    run = MlflowRun(created.info.run_id)
    if params:
        run.log_params(params)
    return run


def find_run_duration(run_id: str) -> float | None:
    """Seconds from a run's start to its last end; None for a run that goes on or that this MLflow does not know."""
    found = find_in_mlflow(f"looking up the run {run_id}", get_mlflow_client().get_run, run_id) if run_id else None
    if found is None or not found.info.end_time:
        return None
    return float(found.info.end_time - found.info.start_time) / 1000


def delete_run_files(run_id: str) -> bool:
    """Deletes all files of a run. Its numbers stay. False where MLflow does not know it, or it has no files."""
    found = find_in_mlflow(f"looking up the run {run_id}", get_mlflow_client().get_run, run_id) if run_id else None
    if found is None:
        return False
    with translate_errors(f"deleting the files of run {run_id}"):
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        files = get_mlflow_client().list_artifacts(run_id)
        repository = get_artifact_repository(found.info.artifact_uri, tracking_uri=tracking_uri())
        for file in files:
            repository.delete_artifacts(file.path)
    return bool(files)


def _resume_run(run_id: str) -> MlflowRun | None:
    """An earlier run, with the status RUNNING again; None when this MLflow does not know it."""
    doing = f"joining the run {run_id}"
    if find_in_mlflow(doing, get_mlflow_client().get_run, run_id) is None:
        return None
    with translate_errors(doing):
        get_mlflow_client().update_run(run_id, status="RUNNING")
    return MlflowRun(run_id)


def _ensure_experiment(name: str) -> str:
    found = get_mlflow_client().get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(get_mlflow_client().create_experiment(name, artifact_location=artifact_location()))
