"""An MLflow server on this machine, small enough for a laptop: one worker, SQLite, a folder of files, behind a key of its own.

The key is in MLFLOW_TRACKING_TOKEN of this process and its children, where MLflow's clients look for it, and in the server's folder for
people.
"""

from __future__ import annotations

import contextlib
import os
import secrets
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
from audiotune.registry.mlflow_app import READ_KEY, WRITE_KEY

KEY_FILE = "key"  # in the server's folder
TOKEN = "MLFLOW_TRACKING_TOKEN"
_START_LIMIT_S = 300
_PACKAGE = Path(__file__).resolve().parent


@contextlib.contextmanager
def run_mlflow_server(folder: Path, port: int = 0, read_key: str = "") -> Iterator[str]:
    """Runs a server on a port, or a free one, and yields its address; ends all its processes afterwards.

    Its database, files and log are in `folder`. It takes the key in MLFLOW_TRACKING_TOKEN, which is made and set where there is none:
    all servers of one process have the same.

    Args:
        read_key: a second key, which may only read releases; empty for none.

    Raises RegistryError: the port is taken, or the server does not get ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = os.environ.setdefault(TOKEN, secrets.token_urlsafe(30))
    _write_key(folder / KEY_FILE, key)
    port = _choose_port(port)
    url, log = f"http://127.0.0.1:{port}", folder / "server.log"
    environment = {name: value for name, value in os.environ.items() if name not in (TOKEN, "MLFLOW_TRACKING_URI")}
    paths = (str(_PACKAGE.parents[1]), str(_PACKAGE / "plugin"), os.environ.get("PYTHONPATH", ""))
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), WRITE_KEY: key, READ_KEY: read_key}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
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
        *("--app-name", "audio-tune"),
    ]


def _write_key(path: Path, key: str) -> None:
    """Readable for this user alone from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{key}\n")


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
