"""Runs a program that outlives who started it: no page reload and no restart of the studio ends a training.

    python -m services.studio.detached_process FOLDER LIMIT_S LOCK_FD -- PROGRAM ARGUMENTS...

In the folder: `log` (what the program says), `lock` (held as long as it runs, with this process' number in it), and at the end
`exit.json`: {"code": 0, "cause": ""}, where cause is "", "cancelled" or "overdue". SIGTERM ends the program and all it started.
Standard library and `audiotune.store.atomic_files` only: it stays in memory for as long as a training takes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from audiotune.store.atomic_files import write_atomic_file

_GRACE_S = 20.0  # a step that is told to end may put its last checkpoint away


def start_detached(folder: Path, command: Sequence[str], limit_s: int, environ: Mapping[str, str], cwd: Path) -> None:
    """Starts it. The folder must be new."""
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # handed on to the process: held without a gap
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(folder), str(limit_s), str(lock.fileno()), "--", *command],
            cwd=cwd, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, pass_fds=[lock.fileno()],
        )  # fmt: skip


def is_running(folder: Path) -> bool:
    """Whether the process that was started in this folder is still there."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def read_exit(folder: Path) -> tuple[int, str] | None:
    """Exit code and cause; None while it runs, and for one that was killed with its machine."""
    try:
        found = json.loads((folder / "exit.json").read_text())
        return int(found["code"]), str(found["cause"])
    except (OSError, ValueError, KeyError):
        return None


def request_stop(folder: Path) -> None:
    """Asks it to end; nothing happens when it has."""
    if is_running(folder):
        until = time.monotonic() + _GRACE_S
        while not (pid := (folder / "lock").read_text().strip()) and time.monotonic() < until:
            time.sleep(0.05)  # written a moment after the start, when it can hear a signal
        if pid:
            os.kill(int(pid), signal.SIGTERM)


class _ProcessWatcher:
    """Waits for the program and writes how it ended."""

    def __init__(self, folder: Path, child: subprocess.Popen[bytes]) -> None:
        self._folder, self._child, self._cause = folder, child, ""

    def stop_program(self, cause: str) -> None:
        """Ends the program with all it started, kindly at first."""
        self._cause = self._cause or cause
        self._send_signal(signal.SIGTERM)
        late = threading.Timer(_GRACE_S, self._send_signal, [signal.SIGKILL])
        late.daemon = True
        late.start()

    def wait_for_exit(self) -> None:
        code = self._child.wait()
        self._send_signal(signal.SIGKILL)  # what it left behind
        write_atomic_file(self._folder / "exit.json", json.dumps({"code": code, "cause": self._cause}))

    def _send_signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signum)


def main(argv: list[str]) -> int:
    folder, limit_s, lock, _, *command = argv
    with (Path(folder) / "log").open("wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    watch = _ProcessWatcher(Path(folder), child)

    def on_term(signum: int, frame: FrameType | None) -> None:
        watch.stop_program("cancelled")

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.write(int(lock), str(os.getpid()).encode())
    timer = threading.Timer(float(limit_s), watch.stop_program, ["overdue"])
    timer.daemon = True
    timer.start()
    watch.wait_for_exit()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
