"""Reservations for refused requests: the same request is accepted when it comes again after the given time.

Without reservations the time is only a guess: under a load above capacity, requests that come meanwhile take every place that
becomes free. Pure: no thread, no clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

GRACE_S = 10.0  # how long a reservation is kept after its time
MOST = 1000  # reservations of one member; further refused requests get a time without a reservation


@dataclass(frozen=True)
class Reservation:
    """`ticket`: equal for the same request asked again. `due`: the time it was given, on the caller's clock."""

    ticket: Hashable
    entries: int
    cost_s: float
    due: float


class Reservations:
    """The reservations of all members, each member's in the order they were made."""

    def __init__(self) -> None:
        self._reserved: dict[str, list[Reservation]] = {}

    @property
    def members(self) -> set[str]:
        return set(self._reserved)

    def add(self, member: str, reservation: Reservation) -> None:
        current = self._reserved.setdefault(member, [])
        if len(current) < MOST:
            current.append(reservation)

    def redeem(self, member: str, ticket: Hashable, now: float) -> bool:
        """Whether there is a reservation for this that is due; it counts once."""
        for reservation in self._list_current(member, now):
            if reservation.ticket == ticket and reservation.due <= now:
                self._reserved[member].remove(reservation)
                return True
        return False

    def sum_reserved(self, member: str, now: float) -> tuple[int, float]:
        """(entries, predicted seconds of work) that may still come in."""
        current = self._list_current(member, now)
        return sum(reservation.entries for reservation in current), sum(reservation.cost_s for reservation in current)

    def _list_current(self, member: str, now: float) -> list[Reservation]:
        current = [reservation for reservation in self._reserved.get(member, ()) if now <= reservation.due + GRACE_S]
        if current:
            self._reserved[member] = current
        else:
            self._reserved.pop(member, None)
        return current


def lacks_room(wanted: float, reserved: float, most: float) -> bool:
    """Whether there is no room: reserved room is kept free, up to half of all room."""
    return wanted > most or (wanted + reserved > most and wanted > most / 2)
