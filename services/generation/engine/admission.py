"""What refused requests were promised: who waits as long as it was told, and asks the same again, gets in.

Without that a time to come back is a guess: under a load above what can be done, those who come meanwhile take every place that
becomes free. Pure: no thread, no clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

GRACE_S = 10.0  # how long after its moment a promise is kept
MOST = 1000  # promises of one member; who was refused more often is told a time, and takes the chance


@dataclass(frozen=True)
class Reservation:
    """`ticket`: what the request is known by. `due`: the moment told, on the caller's clock."""

    ticket: Hashable
    entries: int
    cost_s: float
    due: float


class Reservations:
    """Of all members, each in the order they were given."""

    def __init__(self) -> None:
        self._reserved: dict[str, list[Reservation]] = {}

    @property
    def members(self) -> set[str]:
        return set(self._reserved)

    def add(self, member: str, promise: Reservation) -> None:
        given = self._reserved.setdefault(member, [])
        if len(given) < MOST:
            given.append(promise)

    def redeem(self, member: str, ticket: Hashable, now: float) -> bool:
        """Whether this was promised for now; a promise is kept once."""
        for promise in self._list_current(member, now):
            if promise.ticket == ticket and promise.due <= now:
                self._reserved[member].remove(promise)
                return True
        return False

    def sum_reserved(self, member: str, now: float) -> tuple[int, float]:
        """(entries, predicted seconds of work) that may still come in."""
        given = self._list_current(member, now)
        return sum(promise.entries for promise in given), sum(promise.cost_s for promise in given)

    def _list_current(self, member: str, now: float) -> list[Reservation]:
        given = [promise for promise in self._reserved.get(member, ()) if now <= promise.due + GRACE_S]
        if given:
            self._reserved[member] = given
        else:
            self._reserved.pop(member, None)
        return given


def lacks_room(wanted: float, owed: float, most: float) -> bool:
    """Whether there is no room: what was promised is kept free, unless half of the room is."""
    return wanted > most or (wanted + owed > most and wanted > most / 2)
