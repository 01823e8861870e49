"""The scheduling core: what is denoised next, and with whom. Pure: no thread, no clock, no model.

Fair between members: each has a virtual time that grows by the cost of what was made for them, and the lowest goes first
(Demers, Keshav, Shenker 1989: fair queueing). Whoever shares the first one's kind may ride in its batch. A member's first entry
that was passed over PATIENCE times goes before all, so that nobody starves, whatever else arrives.

One member may fill half of what the others leave, so that there is always room for one more (Choudhury, Hahne 1998: dynamic queue
length thresholds). Who is refused is told when there will be room, and is let in then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from services.generation.engine.admission import Reservation, Reservations, lacks_room

MOST_TIMES_PASSED = 64


@dataclass(eq=False)
class QueueEntry:
    """One sound that is asked for.

    Attributes:
        member: whose request it is.
        kind: entries of one kind can be denoised as one batch.
        cost_s: predicted seconds of work.
        deadline: moment after which nobody wants it any more, on the caller's clock.
    """

    member: str
    kind: Hashable
    cost_s: float
    deadline: float = math.inf


@dataclass(frozen=True)
class QueueLimits:
    """Bounds of waiting work.

    Attributes:
        entries, member_entries: how many may wait, in all and for one member.
        cost_s: predicted seconds of work that may wait in all.
        batch: most entries of a batch.
        batch_s: predicted seconds after which a batch takes no more entries.
    """

    entries: int = 64
    member_entries: int = 32
    cost_s: float = 300.0
    batch: int = 8
    batch_s: float = 2.0


class QueueFullError(Exception):
    """The line takes no more. `retry_s`: whole seconds until it does, as predicted. `field`: which bound was met."""

    def __init__(self, retry_s: int, field: str) -> None:
        super().__init__(field)
        self.retry_s, self.field = retry_s, field


@dataclass
class _MemberLane:
    """A member's waiting entries, oldest first."""

    time_s: float
    waiting: deque[QueueEntry] = field(default_factory=deque)
    passed: int = 0

    @property
    def cost_s(self) -> float:
        return sum(entry.cost_s for entry in self.waiting)


class Schedule:
    """Waiting entries of all members."""

    def __init__(self, limits: QueueLimits) -> None:
        self.limits = limits
        self._lanes: dict[str, _MemberLane] = {}
        self._clock_s = 0.0  # virtual time of the last first one: nobody saves up by being away
        self._reservations = Reservations()

    def __len__(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes.values())

    @property
    def cost_s(self) -> float:
        """Predicted seconds of all that waits."""
        return sum(lane.cost_s for lane in self._lanes.values())

    def add_entries(
        self,
        entries: Sequence[QueueEntry],
        running_s: float = 0.0,
        *,
        now: float = 0.0,
        ticket: Hashable = None,
        bounded: bool = True,
    ) -> None:
        """All entries of one member's request, or none.

        Args:
            running_s: what is left of the work being done.
            now: on the clock of deadlines.
            ticket: equal for the same request asked again; who has one is let in when it comes back as late as it was told.
            bounded: whether the bounds count.

        Raises:
            FullError: it would go over a bound.
        """
        if bounded:
            self._check_admission(entries, running_s, now, ticket)
        for entry in entries:
            lane = self._lanes.setdefault(entry.member, _MemberLane(self._clock_s))
            if not lane.waiting:
                lane.time_s, lane.passed = max(lane.time_s, self._clock_s), 0
            lane.waiting.append(entry)

    def _check_admission(self, entries: Sequence[QueueEntry], running_s: float, now: float, ticket: Hashable) -> None:
        member, count, cost_s = entries[0].member, len(entries), sum(entry.cost_s for entry in entries)
        promised = ticket is not None and self._reservations.redeem(member, ticket, now)
        if promised or not len(self):
            return  # what finds an empty line is let in: it could never come in otherwise
        own, own_s, most, most_s = self._count_room(member)
        owed, owed_s = self._reservations.sum_reserved(member, now)
        if not (lacks_room(own + count, owed, most) or lacks_room(own_s + cost_s, owed_s, most_s)):
            return
        own, own_s = own + owed, own_s + owed_s
        one_s = own_s / own if own else self.cost_s / len(self)
        over_s = max((own + count - most) * one_s, own_s + cost_s - most_s)
        retry_s = max(1, math.ceil(running_s + self._predict_drain_s(member, over_s, own_s, now)))
        if ticket is not None:
            self._reservations.add(member, Reservation(ticket, count, cost_s, now + retry_s))
        few = "member_entries" if most == self.limits.member_entries else "entries"
        raise QueueFullError(retry_s, few if own + count > most else "cost_s")

    def _predict_drain_s(self, member: str, over_s: float, own_s: float, now: float) -> float:
        """Predicted seconds until `over_s` less is in the member's line, while the others have their turns, too."""
        wait_s, all_s = over_s, own_s
        for name in (self._lanes.keys() | self._reservations.members) - {member}:
            owed, owed_s = self._reservations.sum_reserved(name, now)
            line_s = owed_s + (self._lanes[name].cost_s if name in self._lanes else 0.0)
            wait_s += over_s if owed else min(line_s, over_s)  # who was refused asks for more than waits now
            all_s += line_s
        return min(wait_s, all_s)

    def _count_room(self, member: str) -> tuple[int, float, int, float]:
        """(entries and seconds that wait for the member, how many of both may)."""
        lane = self._lanes.get(member)
        own, own_s = (len(lane.waiting), lane.cost_s) if lane else (0, 0.0)
        left, left_s = self.limits.entries - (len(self) - own), self.limits.cost_s - (self.cost_s - own_s)
        return own, own_s, min(self.limits.member_entries, math.ceil(left / 2)), left_s / 2

    def free_part(self, member: str) -> float:
        """The part of what one member may fill that is free: 1 where nothing waits, 0 or less where the line is full."""
        own, own_s, most, most_s = self._count_room(member)
        return min(1 - own / most if most > 0 else 0.0, 1 - own_s / most_s if most_s > 0 else 0.0)

    def take_batch(self) -> list[QueueEntry]:
        """The next batch, the entry whose turn it is first; empty when nothing waits."""
        lanes = [lane for lane in self._lanes.values() if lane.waiting]
        if not lanes:
            return []
        chosen = min(lanes, key=lambda lane: (-max(0, lane.passed - MOST_TIMES_PASSED + 1), lane.time_s))
        self._clock_s = max(self._clock_s, chosen.time_s)
        batch = self._fill_batch(chosen, lanes, self.limits.batch_s)
        for lane in lanes:
            lane.passed = 0 if lane is chosen else lane.passed + 1
        self._lanes = {member: lane for member, lane in self._lanes.items() if lane.waiting or lane.time_s > self._clock_s}
        return batch

    def _fill_batch(self, chosen: _MemberLane, lanes: Iterable[_MemberLane], most_s: float) -> list[QueueEntry]:
        first = chosen.waiting.popleft()
        chosen.time_s += first.cost_s
        batch, cost_s = [first], first.cost_s
        for lane in sorted(lanes, key=lambda lane: lane.time_s):
            for entry in [entry for entry in lane.waiting if entry.kind == first.kind]:
                if len(batch) >= self.limits.batch or cost_s + entry.cost_s > most_s:
                    return batch
                lane.waiting.remove(entry)
                lane.time_s += entry.cost_s
                batch.append(entry)
                cost_s += entry.cost_s
        return batch

    def take_small_batch(self, most_s: float, running: Iterable[str]) -> list[QueueEntry]:
        """A batch of members who are not being served, if it costs at most `most_s`: for between two steps of longer work.

        Given what is left of that work, nobody waits longer than his own sound takes, and a step. Empty when there is none, or when
        the first of those members was served more than the ones at work.
        """
        busy = set(running)
        lanes = [lane for member, lane in self._lanes.items() if member not in busy and lane.waiting]
        if not lanes:
            return []
        chosen = min(lanes, key=lambda lane: lane.time_s)
        if chosen.waiting[0].cost_s > most_s or chosen.time_s > max(self._clock_s, *(self._virtual_time_s(m) for m in busy)):
            return []
        chosen.passed = 0
        return self._fill_batch(chosen, lanes, most_s)

    def _virtual_time_s(self, member: str) -> float:
        lane = self._lanes.get(member)
        return lane.time_s if lane else self._clock_s

    def remove(self, entries: Iterable[QueueEntry]) -> None:
        """Takes entries out; those that are not here are passed over."""
        gone = {id(entry) for entry in entries}
        for lane in self._lanes.values():
            lane.waiting = deque(entry for entry in lane.waiting if id(entry) not in gone)

    def remove_expired(self, now: float) -> list[QueueEntry]:
        """Takes out and returns what nobody wants any more."""
        late = [entry for lane in self._lanes.values() for entry in lane.waiting if entry.deadline <= now]
        self.remove(late)
        return late

    def predict_wait_s(self, entry: QueueEntry, running_s: float = 0.0) -> float | None:
        """Predicted seconds until a waiting entry is done, or None when it is not here."""
        lane = self._lanes.get(entry.member)
        if lane is None or entry not in lane.waiting:
            return None
        ahead_s = _sum_cost_s(lane.waiting, lane.waiting.index(entry) + 1)
        others = (other for other in self._lanes.values() if other is not lane)
        return running_s + ahead_s + sum(min(other.cost_s, ahead_s) for other in others)

    def count_ahead(self, entry: QueueEntry) -> int:
        """How many sounds will probably be made before this one."""
        lane = self._lanes.get(entry.member)
        if lane is None or entry not in lane.waiting:
            return 0
        place = lane.waiting.index(entry)
        return place + sum(min(len(other.waiting), place + 1) for other in self._lanes.values() if other is not lane)


def _sum_cost_s(entries: Iterable[QueueEntry], count: int) -> float:
    return sum(entry.cost_s for entry, _ in zip(entries, range(count)))
