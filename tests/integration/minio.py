"""A real MinIO for tests: found, or built once with Go into the user's cache folder.

Looked for in AUDIOTUNE_MINIO, on PATH and in the cache. The build takes about two minutes and only happens when Go is there;
without either, tests that need a server are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_BUILD_LIMIT_S = 800  # on two busy cores without a cache of Go
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"  # the last commit of the archived project, 2026-02-12
_SOURCES = Path(__file__).resolve().parents[2] / "deploy" / "object-store"
USER, PASSWORD = "audiotune-test", "not-a-secret-8f2c"


class NoServerError(Exception):
    """No server can be had here; the words say why."""


@dataclass(frozen=True)
class Minio:
    """A running server; `endpoint` like http://127.0.0.1:9123."""

    endpoint: str
    user: str = USER
    password: str = PASSWORD

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.user,
            "AWS_SECRET_ACCESS_KEY": self.password,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def running_elsewhere() -> Minio | None:
    """The server that AUDIOTUNE_TEST_S3 names, with the administrator's keys from the usual variables; None when it is not set."""
    endpoint = os.environ.get("AUDIOTUNE_TEST_S3")
    return Minio(endpoint, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]) if endpoint else None


def binary() -> Path:
    """The server's program. Raises NoServerError."""
    named = os.environ.get("AUDIOTUNE_MINIO") or shutil.which("minio")
    if named and Path(named).is_file():
        return Path(named)
    patched, plain = _cache() / "patched" / "minio", _cache() / "minio"
    return next((path for path in (patched, plain) if path.is_file()), None) or _build(patched)


def is_patched() -> bool:
    """Whether the program is built with deploy/object-store/headers.patch, as in our image."""
    return "audio-tune-" in subprocess.run([str(binary()), "--version"], capture_output=True, text=True, check=True).stdout


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "audiotune" / "bin"


def _build(target: Path) -> Path:
    if not shutil.which("go"):
        raise NoServerError("no minio on PATH or in AUDIOTUNE_MINIO, and no Go to build one")
    target.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    command = ["sh", str(_SOURCES / "build.sh"), VERSION, str(target.parent)]
    try:
        built = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_BUILD_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as e:
        raise NoServerError(f"building minio took longer than {_BUILD_LIMIT_S} s") from e
    if built.returncode or not target.is_file():
        raise NoServerError(f"building minio failed: {built.stderr.strip()[-300:]}")
    return target


@contextmanager
def server(folder: Path, port: int = 0) -> Iterator[Minio]:
    """Runs a server over a folder until the block ends; port 0 takes a free one. Raises NoServerError."""
    program, port = binary(), port or _free_port()
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": USER,
        "MINIO_ROOT_PASSWORD": PASSWORD,
        "MINIO_CI_CD": "1",
        "HOME": str(folder),
    }
    address = f"127.0.0.1:{port}"
    command = [str(program), "server", "--quiet", "--address", address, "--console-address", "127.0.0.1:0", str(folder / "data")]
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, f"http://{address}", folder / "log")
            yield Minio(f"http://{address}")
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def server_or_skip(folder: Path) -> Iterator[Minio]:
    """For fixtures: the server, or a skipped test that says why there is none."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(server(folder))
        except NoServerError as e:
            pytest.skip(str(e))
        yield running


def _wait(process: subprocess.Popen[bytes], endpoint: str, log: Path, limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise NoServerError(f"minio ended: {log.read_text()[-300:]}")
        try:
            with urllib.request.urlopen(f"{endpoint}/minio/health/ready", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise NoServerError(f"minio was not ready after {limit_s:.0f} s")


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
