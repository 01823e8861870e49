"""Threads of their own for hashing passwords: one hash takes a fifth of a second of a core, and 16 MiB."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from audiotune.errors import AccessError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class SignInBusyError(AccessError):
    """An attempt to sign in that was not checked; a later one may be.

    Attributes:
        retry_after_s: seconds after which to try again.
    """

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = max(1, round(retry_after_s))
        super().__init__("too many sign-ins come at once", cure=f"try again in {self.retry_after_s} seconds")


class HashingThreads:
    """A few threads, and a bounded number of calls that wait for them."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "password")
        self._places = threading.BoundedSemaphore(threads + waiting)

    def submit(self, work: Callable[Arguments, Result], *arguments: Arguments.args, **more: Arguments.kwargs) -> Future[Result]:
        """Runs the work in one of the threads. Raises SignInBusyError when too many calls wait already."""
        if not self._places.acquire(blocking=False):
            raise SignInBusyError(2)
        future = self._threads.submit(work, *arguments, **more)
        future.add_done_callback(lambda _: self._places.release())
        return future
