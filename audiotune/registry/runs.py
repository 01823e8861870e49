"""Runs: what a training tells MLflow while it goes on. Metrics are buffered: one batch costs a tenth of a hundred calls."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiotune.errors import RegistryError
from audiotune.registry.connection import artifact_location, get_mlflow_client, translate_errors

_BATCH = 100  # metrics sent at once
_EVERY_S = 20.0  # or after this long
_LONGEST_PARAM = 6000  # characters MLflow takes
_MOST_UNSENT = 5000  # unsent metrics kept while MLflow is away


class MlflowRun:
    """A run of an experiment. Logging metrics never raises: training must not die of a registry that is away."""

    def __init__(self, id: str) -> None:
        self.id = id
        self._waiting: list[tuple[str, float, int, int]] = []
        self._tried = time.monotonic()
        self._away = False  # then it is asked again only now and then: each try costs a training seconds

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a step; sent in batches. NaN is kept as MLflow keeps it."""
        now = int(time.time() * 1000)
        self._waiting += [(name, float(value), now, step) for name, value in values.items()]
        waited_s = time.monotonic() - self._tried
        if waited_s > _EVERY_S or (len(self._waiting) >= _BATCH and not self._away):
            self.flush()

    def flush(self) -> None:
        """Sends what waits; keeps it for the next time when MLflow does not answer."""
        from mlflow.entities import Metric

        while self._waiting:
            part = self._waiting[:_BATCH]
            try:
                with translate_errors("logging metrics"):
                    get_mlflow_client().log_batch(self.id, metrics=[Metric(*values) for values in part])
            except RegistryError as e:
                warnings.warn(f"{e}; {len(self._waiting)} numbers wait", stacklevel=2)
                self._waiting = self._waiting[-_MOST_UNSENT:]
                self._away = True
                break
            self._waiting = self._waiting[_BATCH:]
            self._away = False
        self._tried = time.monotonic()

    def log_file(self, path: Path, folder: str = "") -> None:
        """Raises RegistryError."""
        with translate_errors(f"keeping {path.name}"):
            get_mlflow_client().log_artifact(self.id, str(path), folder or None)

    def log_text(self, text: str, name: str) -> None:
        """Raises RegistryError."""
        with translate_errors(f"keeping {name}"):
            get_mlflow_client().log_text(self.id, text, name)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Settings of the run; values are kept as words. Raises RegistryError."""
        from mlflow.entities import Param

        rows = [Param(name, str(value)[:_LONGEST_PARAM]) for name, value in params.items()]
        with translate_errors("logging settings"):
            for start in range(0, len(rows), _BATCH):
                get_mlflow_client().log_batch(self.id, params=rows[start : start + _BATCH])

    def set_tag(self, name: str, value: str) -> None:
        with translate_errors(f"tagging {name}"):
            get_mlflow_client().set_tag(self.id, name, value)

    def end(self, status: str = "FINISHED") -> None:
        """FINISHED, FAILED or KILLED."""
        self.flush()
        with translate_errors("ending the run"):
            get_mlflow_client().set_terminated(self.id, status)


def start_run(experiment: str, name: str, params: Mapping[str, Any] | None = None, run_id: str | None = None) -> MlflowRun:
    """A new run, or the one of `run_id`, or the one Kubeflow opened (MLFLOW_RUN_ID).

    Raises:
        RegistryError: MLflow is away or refuses.
    """
    joined = run_id or os.environ.get("MLFLOW_RUN_ID")
    if joined:
        run = _resume_run(joined)
        if run is not None:
            return run
    with translate_errors(f"starting the run {name!r}"):
        made = get_mlflow_client().create_run(_ensure_experiment(experiment), run_name=name)
    run = MlflowRun(made.info.run_id)
    if params:
        run.log_params(params)
    return run


def _resume_run(run_id: str) -> MlflowRun | None:
    """An earlier run, set going again; None when this MLflow does not know it."""
    from mlflow.exceptions import MlflowException

    with translate_errors(f"joining the run {run_id}"):
        try:
            get_mlflow_client().get_run(run_id)
        except MlflowException as e:
            if e.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        get_mlflow_client().update_run(run_id, status="RUNNING")
    return MlflowRun(run_id)


def _ensure_experiment(name: str) -> str:
    found = get_mlflow_client().get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(get_mlflow_client().create_experiment(name, artifact_location=artifact_location()))
