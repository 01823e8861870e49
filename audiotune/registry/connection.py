"""One MLflow client per address, with short time limits: a registry that does not answer is reported in seconds, not minutes."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from audiotune.errors import RegistryError

_MLFLOW_VARIABLES = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    # Files are downloaded through MLflow. By default it answers with the store's own address, as the server knows it; this machine
    # may not reach that address or trust its certificate, and then waits a minute and fails.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
_CURES = {
    "UNAUTHENTICATED": "set MLFLOW_TRACKING_TOKEN to a key of this registry; on Kubeflow it comes from the Secret that the cluster's "
    "facts call mlflow_secret",
    "PERMISSION_DENIED": "set MLFLOW_TRACKING_TOKEN to a key of this registry that may write",
}


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else a SQLite file beside a folder store. Raises RegistryError without either."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri:
        return uri
    store = os.environ.get("AUDIOTUNE_STORE", "")
    if not store or (("://" in store) and not store.startswith("file://")):
        raise RegistryError("no MLflow is named", cure="set MLFLOW_TRACKING_URI to its address, as in http://localhost:5000")
    folder = Path(store.removeprefix("file://")).expanduser().resolve().parent / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}"


def has_registry() -> bool:
    """Whether something can be registered there: a file beside a folder store is only made with the first run.

    Raises RegistryError: no MLflow is named.
    """
    uri = tracking_uri()
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def get_mlflow_client() -> Any:
    """An MlflowClient for `tracking_uri()`."""
    return _open_client(tracking_uri())


def artifact_location() -> str | None:
    """Where a new experiment keeps its files; None leaves it to the server."""
    uri = tracking_uri()
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).parent / "artifacts").as_uri()


@contextlib.contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turns every exception inside into a RegistryError: "`what` failed"."""
    try:
        yield
    except RegistryError:
        raise
    except Exception as e:  # MLflow, requests, urllib3 and SQLAlchemy each raise their own
        words = " ".join(str(e).split())[:300] or type(e).__name__
        cure = _CURES.get(getattr(e, "error_code", ""), "check that MLflow runs at MLFLOW_TRACKING_URI and answers")
        raise RegistryError(f"{what} failed: {words}", where=tracking_uri(), cure=cure) from e


def find_in_mlflow(what: str, call: Callable[..., Any], *args: str, absent: tuple[str, ...] = (NOT_FOUND,)) -> Any:
    """The result of an MLflow call; None when MLflow answers with one of the error codes `absent`."""
    from mlflow.exceptions import MlflowException

    with translate_errors(what):
        try:
            return call(*args)
        except MlflowException as e:
            if e.error_code in absent:
                return None
            raise


@functools.lru_cache(maxsize=8)
def _open_client(uri: str) -> Any:
    for name, value in _MLFLOW_VARIABLES.items():
        os.environ.setdefault(name, value)
    with translate_errors("opening MLflow"):
        import mlflow

        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
