"""Slows down the guessing of passwords: attempts are spaced in time, by name and by address. Nobody is locked out for good.

The first few attempts are checked at once; each further wrong one makes the next wait longer, up to a bound. Where members sign in
from a browser that signed in before (services.studio.sign_in.known_devices), that browser is counted by itself: a stranger's attempts
never make it wait. This follows OWASP's "Slow Down Online Guessing Attacks with Device Cookies".
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

LONGEST_WAIT_S = 16.0  # an attempt that would have to wait longer is refused, with the time after which to come back
FORGET_S = 600.0  # a count is forgotten so long after its last attempt
MOST_COUNTS = 10_000  # of each kind: one for each name, address, or name at an address


@dataclass(frozen=True)
class _Count:
    """Attempts that were not right. `last_s`: when the last of them is or was checked, in seconds of the clock."""

    wrong: int
    last_s: float


class SpacedCounts:
    """Counts of one kind. The one that was used least recently is dropped first, so invented keys empty no count in use.

    Args:
        free: wrong attempts that are followed by no wait.
        longest_gap_s: longest time between two checks for one key.
    """

    def __init__(self, free: int, longest_gap_s: float, most: int = MOST_COUNTS) -> None:
        self._free, self._longest_gap_s, self._most = free, longest_gap_s, most
        self._counts: OrderedDict[Hashable, _Count] = OrderedDict()

    def find_next_s(self, key: Hashable, now: float) -> float:
        """When the next attempt with this key may be checked, in seconds of the clock."""
        count = self._counts.get(key)
        if count is None:
            return now
        if now - count.last_s > FORGET_S:
            del self._counts[key]
            return now
        over = min(count.wrong - self._free, 30)
        return now if over < 0 else max(now, count.last_s + min(2.0**over, self._longest_gap_s))

    def add(self, key: Hashable, at_s: float) -> None:
        count = self._counts.pop(key, _Count(0, at_s))
        self._counts[key] = _Count(count.wrong + 1, max(at_s, count.last_s))
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)

    def take_back(self, key: Hashable) -> None:
        """Takes one attempt back, which turned out not to be a guess."""
        count = self._counts.get(key)
        if count is not None:
            self._counts[key] = _Count(count.wrong - 1, count.last_s)

    def forget(self, key: Hashable) -> None:
        self._counts.pop(key, None)


@dataclass(frozen=True)
class SignInAttempt:
    """Who tries to sign in, as whom.

    Attributes:
        name: the account's name as it was typed.
        address: the network address that the attempt comes from; "" where there is none.
        device: identifies a browser that signed in to this account before; "" for any other.
    """

    name: str
    address: str = ""
    device: str = ""

    @property
    def origin(self) -> str:
        return f"device {self.device}" if self.device else f"address {group_address(self.address)}"


class AttemptPace:
    """When each attempt may be checked. Counts are by name and address together, by name, and by address."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._lock = now, threading.Lock()
        self._pairs = SpacedCounts(free=5, longest_gap_s=16.0)
        self._names = SpacedCounts(free=20, longest_gap_s=4.0)
        self._addresses = SpacedCounts(free=50, longest_gap_s=1.0)

    def reserve(self, attempt: SignInAttempt, longest_wait_s: float = LONGEST_WAIT_S) -> float:
        """Seconds after which the attempt may be checked.

        Counts it as wrong at once, as many may come together, unless it has to wait longer than `longest_wait_s`: then it must not be
        checked at all.
        """
        with self._lock:
            now, counted = self._now(), self._list_counts(attempt)
            at_s = max(counts.find_next_s(key, now) for counts, key in counted)
            if at_s - now <= longest_wait_s:
                for counts, key in counted:
                    counts.add(key, at_s)
            return at_s - now

    def forgive(self, attempt: SignInAttempt) -> None:
        """The attempt was right: what was counted for its name is forgotten; the address keeps its other wrong ones."""
        with self._lock:
            self._addresses.take_back(group_address(attempt.address))
            self._pairs.forget((attempt.name, attempt.origin))
            if not attempt.device:
                self._names.forget(attempt.name)

    def take_back(self, attempt: SignInAttempt) -> None:
        """The attempt could not be checked, so it does not count."""
        with self._lock:
            for counts, key in self._list_counts(attempt):
                counts.take_back(key)

    def _list_counts(self, attempt: SignInAttempt) -> list[tuple[SpacedCounts, Hashable]]:
        pair: tuple[SpacedCounts, Hashable] = (self._pairs, (attempt.name, attempt.origin))
        if attempt.device:
            return [pair]
        return [pair, (self._names, attempt.name), (self._addresses, group_address(attempt.address))]


def group_address(address: str) -> str:
    """The address, or for IPv6 its network of 64 bits: one household has that many addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
