"""The real governance service as a process of its own, for as long as a block lasts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

STUDIO_KEY, INGEST_KEY, ERASURE_KEY = "studio-0123456789abcdef", "ingest-0123456789abcdef", "erasure-0123456789abcdef"
PREFIX = "AUDIOTUNE_GOVERNANCE_"


@dataclass(frozen=True)
class GovernanceProcess:
    """Its address and its log."""

    url: str
    log: Path

    def environment(self, key: str) -> dict[str, str]:
        """What makes a program write by this service."""
        return {f"{PREFIX}URL": self.url, f"{PREFIX}KEY": key}


@contextmanager
def run_governance(store: str, folder: Path, more: Mapping[str, str] | None = None) -> Iterator[GovernanceProcess]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = {f"{PREFIX}STUDIO_KEY": STUDIO_KEY, f"{PREFIX}INGEST_KEY": INGEST_KEY, f"{PREFIX}ERASURE_KEY": ERASURE_KEY}
    command = [sys.executable, "-m", "services.governance", "--store", store, "--port", str(port)]
    running = GovernanceProcess(f"http://127.0.0.1:{port}", folder / "governance.log")
    with running.log.open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **keys, **(more or {})}, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(process, running)
            yield running
        finally:
            process.terminate()
            assert process.wait(15) in (0, -signal.SIGTERM), running.log.read_text()[-500:]


def _wait_until_ready(process: subprocess.Popen[bytes], running: GovernanceProcess) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, running.log.read_text()[-500:]
        try:
            if httpx.get(f"{running.url}/ready", timeout=2).text == "OK":
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(f"not ready after a minute: {running.log.read_text()[-500:]}")
