"""An MLflow server on this machine, small enough for a laptop: one worker, SQLite, a folder of files."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

from audiotune.errors import RegistryError
from audiotune.outside.proxies import build_opener

_START_LIMIT_S = 300


@contextlib.contextmanager
def run_mlflow_server(folder: Path, port: int = 0) -> Iterator[str]:
    """Runs a server on a port, or a free one, and yields its address; ends all its processes afterwards.

    Its database, files and log are in `folder`. Raises RegistryError: the port is taken, or the server does not get ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _choose_port(port)
    url, log = f"http://127.0.0.1:{port}", folder / "server.log"
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with log.open("w") as out:
        child = subprocess.Popen(
            _build_command(folder.resolve(), port), stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            _wait_until_ready(child, url, log)
            yield url
        finally:
            _stop_server(child)


def _build_command(folder: Path, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", (folder / "artifacts").as_uri(), "--serve-artifacts"),
    ]


def _choose_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise RegistryError(f"port {port} is taken", cure="end the program that holds it, or give another port") from None
        return int(probe.getsockname()[1])


def _wait_until_ready(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < until:
        if child.poll() is not None:
            raise RegistryError(f"the MLflow server ended with code {child.returncode}", cure=f"read {log}")
        if _is_healthy(url):
            return
        time.sleep(0.5)
    raise RegistryError(f"the MLflow server is not ready after {_START_LIMIT_S} s", cure=f"read {log}")


def _is_healthy(url: str) -> bool:
    try:
        with build_opener(url).open(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _stop_server(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
