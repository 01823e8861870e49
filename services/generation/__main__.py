"""Starts the generation service: `python -m services.generation --port 3000`. Asked to stop it first says "not ready"."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
_KEEP_ALIVE_S = 75  # longer than clients (5 s) and load balancers (60 s) keep a quiet connection: who closes first must not be we


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m services.generation", description="Sounds from the group's releases over HTTP."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=3000, help="port (default 3000)")
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    parser.add_argument(
        "--notice", type=float, default=3.0, metavar="SECONDS", help="how long to answer as not ready before stopping (default 3)"
    )
    args = parser.parse_args()
    if args.store:
        os.environ["AUDIOTUNE_STORE"] = args.store
    if not os.environ.get("AUDIOTUNE_STORE"):
        sys.exit("generation: no store is named. Give --store or set AUDIOTUNE_STORE")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    command = [sys.executable, "-m", "bentoml", "serve", "services.generation.host.service:GenerationService"]
    with tempfile.TemporaryDirectory(prefix="audio-tune-") as folder:
        return _run_server(
            [
                *command,
                "--host",
                args.host,
                "--port",
                str(args.port),
                "--working-dir",
                str(ROOT),
                "--timeout-keep-alive",
                str(_KEEP_ALIVE_S),
            ],
            Path(folder),
            args.notice,
        )


def _run_server(command: list[str], folder: Path, notice_s: float) -> int:
    """Runs the server; SIGTERM and SIGINT are announced, waited for, then passed on. Returns the server's exit code.

    BentoML resets who connects while it stops: load balancers need to hear "not ready" before, and the others to be refused.
    """
    from services.generation.host.drain import NOTICE, REFUSING, REFUSING_S, VARIABLE
    from services.generation.settings import GenerationSettings

    stopping, asked = folder / "stopping", threading.Event()
    environment = {**os.environ, VARIABLE: str(stopping)}
    child = subprocess.Popen(command, env=environment, start_new_session=True)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if asked.is_set():  # asked twice: at once
            child.terminate()
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while child.poll() is None and not asked.wait(0.5):
        pass
    if child.poll() is None:
        for word, seconds in ((NOTICE, notice_s), (REFUSING, REFUSING_S)):
            stopping.write_text(word)
            _wait_for_exit(child, seconds)
        child.terminate()
        if _wait_for_exit(child, GenerationSettings().drain_s + 10) is None:
            os.killpg(child.pid, signal.SIGKILL)
    code = child.wait()
    return 0 if asked.is_set() and code in (0, -signal.SIGTERM) else code


def _wait_for_exit(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


if __name__ == "__main__":
    sys.exit(main())
