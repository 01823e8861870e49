"""What a member may ask for on this replica: requests a minute, seconds of sound a day (UTC)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from services.generation.problems import Problem
from services.generation.settings import Settings

_DAY_S = 86_400


class Allowance:
    """A token bucket a member for requests, and a counter of the day for seconds of sound."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._per_minute, self._per_day_s, self._clock = settings.rate_per_minute, settings.sound_s_per_day, clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}  # member -> requests left, when counted
        self._spent: dict[str, float] = {}
        self._day = 0

    def ask(self, member: str) -> None:
        """Raises Problem 429 when the member asks too often."""
        now = self._clock()
        with self._lock:
            left, at = self._left.get(member, (float(self._per_minute), now))
            left = min(self._per_minute, left + max(0.0, now - at) * self._per_minute / 60)
            self._left[member] = (max(0.0, left - 1) if left >= 1 else left, now)
        if left < 1:
            raise _too_much(f"more than {self._per_minute} requests a minute", "rate", (1 - left) * 60 / self._per_minute)

    def spend(self, member: str, seconds: float) -> None:
        """Raises Problem 429 when the day's seconds of sound would be more than the member may have."""
        now = self._clock()
        with self._lock:
            if self._day != int(now // _DAY_S):
                self._day, self._spent = int(now // _DAY_S), {}
            spent = self._spent.get(member, 0.0) + seconds
            if self._per_day_s and spent > self._per_day_s:
                raise _too_much(f"more than {self._per_day_s:g} seconds of sound a day", "daily-sound", _DAY_S - now % _DAY_S)
            self._spent[member] = spent


def _too_much(what: str, code: str, retry_s: float) -> Problem:
    retry = max(1, -int(-retry_s // 1))
    return Problem(429, f"{what}. Try again in {retry} s", code=code, headers={"Retry-After": str(retry)})
