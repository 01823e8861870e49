"""Writes in a thread while the training goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


class BackgroundWriter(Generic[_Result]):
    """One write at a time: the next one waits for the one before, so that only one snapshot is in memory.

    A failure is raised by the next call of any method. At the end of the block the last write is awaited; its failure is raised
    there, unless another exception leaves the block: then it is printed.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=subject)
        self._pending: Future[_Result] | None = None

    def __enter__(self) -> BackgroundWriter[_Result]:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.wait_for_write()
        except Exception as failure:
            if e is None:
                raise
            print(f"{self._subject} failed, too: {failure}", file=sys.stderr, flush=True)
        finally:
            self._pool.shutdown()

    def start_write(self, write: Callable[[], _Result]) -> None:
        """Starts a write. The caller has taken the result of the one before (`take_result`, `wait_for_write`)."""
        assert self._pending is None
        self._pending = self._pool.submit(write)

    def take_result(self) -> _Result | None:
        """The result of a write that ended since the last call; None while it goes on, or without one."""
        return self.wait_for_write() if self._pending is not None and self._pending.done() else None

    def wait_for_write(self) -> _Result | None:
        """The result of the write that goes on, when it has ended; None without one."""
        pending, self._pending = self._pending, None
        return None if pending is None else pending.result()
