"""Runs a program that outlives the program that started it: neither a reloaded page nor a restarted studio ends a run.

    python -m audiotune.runs.detached_process FOLDER LIMIT_S AT_ONCE LOCK_FD -- PROGRAM ARGUMENTS...

In the folder: `log` (the program's output), `lock` (held while the run lasts; contains this process' number), and at the end
`exit.json`: {"code": 0, "cause": ""}, where cause is "", "cancelled" or "overdue". SIGTERM ends the program and everything it
started. AT_ONCE runs in folders beside each other run at the same time, while the others wait; 0 for all of them. Needs only the
standard library and `audiotune.store.atomic_files`, as it stays in memory for as long as a training takes.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from audiotune.store.atomic_files import write_atomic_file

_GRACE_S = 20.0  # in which a step may store its last checkpoint
_LOOK_S = 0.2


def start_detached(
    folder: Path, command: Sequence[str], *, limit_s: int, at_once: int, environ: Mapping[str, str], cwd: Path
) -> None:
    """Starts the command. The folder must be new."""
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the process inherits it: held without a gap
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(folder), str(limit_s), str(at_once), str(lock.fileno()), "--", *command],
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )


def is_running(folder: Path) -> bool:
    """Whether the run that was started in this folder still lasts, or waits for its turn."""
    try:
        with (folder / "lock").open() as lock:
            return not _try_lock(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def read_exit(folder: Path) -> tuple[int, str] | None:
    """Exit code and cause; None while it runs, and for one that was killed with its machine."""
    try:
        exit_ = json.loads((folder / "exit.json").read_text())
        return int(exit_["code"]), str(exit_["cause"])
    except (OSError, ValueError, KeyError):
        return None


def request_stop(folder: Path) -> None:
    """Asks the run to end; does nothing when it has ended."""
    if is_running(folder):
        until = time.monotonic() + _GRACE_S
        while not (pid := (folder / "lock").read_text().strip()) and time.monotonic() < until:
            time.sleep(0.05)  # written a moment after the start, when the process can take a signal
        if pid:
            os.kill(int(pid), signal.SIGTERM)


class _ProcessWatcher:
    """Runs the program in a process group of its own and writes how it ended."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._folder, self._command = folder, command
        self._child: subprocess.Popen[bytes] | None = None
        self.cause = ""

    def stop_program(self, cause: str) -> None:
        """Ends the program and everything it started; a process that ignores SIGTERM is killed after a grace period."""
        self.cause = self.cause or cause
        self._signal_group(signal.SIGTERM)
        _start_timer(_GRACE_S, lambda: self._signal_group(signal.SIGKILL))

    def run_program(self, limit_s: float) -> None:
        with (self._folder / "log").open("wb") as log:
            self._child = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        if self.cause:  # asked for while the program was being started
            self.stop_program(self.cause)
        _start_timer(limit_s, lambda: self.stop_program("overdue"))
        code = self._child.wait()
        self._signal_group(signal.SIGKILL)  # what the program left behind
        self.write_exit(code)

    def write_exit(self, code: int) -> None:
        write_atomic_file(self._folder / "exit.json", json.dumps({"code": code, "cause": self.cause}))

    def _signal_group(self, signum: int) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signum)


def _start_timer(after_s: float, work: Callable[[], None]) -> None:
    timer = threading.Timer(after_s, work)
    timer.daemon = True
    timer.start()


@contextlib.contextmanager
def _wait_for_turn(folder: Path, at_once: int, watcher: _ProcessWatcher) -> Iterator[None]:
    """Holds one of the `at_once` locks that all runs beside this one share; a run that is stopped waits no longer."""
    with contextlib.ExitStack() as files:
        turns = [files.enter_context((folder.parent / f".turn-{n}").open("w")) for n in range(at_once)]
        while turns and not watcher.cause and not any(map(_try_lock, turns)):
            time.sleep(_LOOK_S)
        yield


def _try_lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main(argv: list[str]) -> int:
    folder, limit_s, at_once, lock, _, *command = argv
    watcher = _ProcessWatcher(Path(folder), command)

    def on_term(signum: int, frame: FrameType | None) -> None:
        watcher.stop_program("cancelled")

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.write(int(lock), str(os.getpid()).encode())
    with _wait_for_turn(Path(folder), int(at_once), watcher):
        if watcher.cause:
            watcher.write_exit(-signal.SIGTERM)
        else:
            watcher.run_program(float(limit_s))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
