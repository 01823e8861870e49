"""The scheduling core: what is denoised next, and in which batch. Pure: no thread, no clock, no model.

Fair between members: each member has a virtual time that grows by the cost of what was made for them, and the lowest goes first
(Demers, Keshav, Shenker 1989: fair queueing). Entries of the same kind as the first one fill its batch. A member whose first entry
was passed over MOST_TIMES_PASSED times goes before all others, so that no member starves, whatever else arrives.

One member may fill half of what the others leave free, so that one more request always fits (Choudhury, Hahne 1998: dynamic queue
length thresholds). A refused request is given a time after which it fits, and a reservation for that time (admission.py).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from services.generation.engine.admission import Reservation, Reservations, lacks_room

MOST_TIMES_PASSED = 64


@dataclass(eq=False)
class QueueEntry:
    """One sound that is asked for.

    Attributes:
        member: whose request it is.
        kind: entries of one kind can be denoised as one batch.
        cost_s: predicted seconds of work.
        deadline: moment after which it is not wanted any more, on the caller's clock.
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
    """The queue is full. `retry_s`: whole seconds until it is not, as predicted. `field`: which bound was met."""

    def __init__(self, retry_s: int, field: str) -> None:
        super().__init__(field)
        self.retry_s, self.field = retry_s, field


@dataclass
class _MemberQueue:
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
        self._queues: dict[str, _MemberQueue] = {}
        self._clock_s = 0.0  # virtual time of the last chosen member: a member who asks for nothing saves up no time
        self._reservations = Reservations()

    def __len__(self) -> int:
        return sum(len(queue.waiting) for queue in self._queues.values())

    @property
    def cost_s(self) -> float:
        """Predicted seconds of all that waits."""
        return sum(queue.cost_s for queue in self._queues.values())

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
            ticket: equal for the same request asked again; it is let in when it comes back at the time that it was given.
            bounded: whether the bounds count.

        Raises:
            QueueFullError: it would go over a bound.
        """
        if bounded:
            self._check_admission(entries, running_s, now, ticket)
        for entry in entries:
            queue = self._queues.setdefault(entry.member, _MemberQueue(self._clock_s))
            if not queue.waiting:
                queue.time_s, queue.passed = max(queue.time_s, self._clock_s), 0
            queue.waiting.append(entry)

    def _check_admission(self, entries: Sequence[QueueEntry], running_s: float, now: float, ticket: Hashable) -> None:
        member, count, cost_s = entries[0].member, len(entries), sum(entry.cost_s for entry in entries)
        reserved = ticket is not None and self._reservations.redeem(member, ticket, now)
        if reserved or not len(self):
            return  # an empty queue lets every request in: a large one could never come in otherwise
        own, own_s, most, most_s = self._count_room(member)
        reserved_count, reserved_s = self._reservations.sum_reserved(member, now)
        if not (lacks_room(own + count, reserved_count, most) or lacks_room(own_s + cost_s, reserved_s, most_s)):
            return
        own, own_s = own + reserved_count, own_s + reserved_s
        one_s = own_s / own if own else self.cost_s / len(self)
        over_s = max((own + count - most) * one_s, own_s + cost_s - most_s)
        retry_s = max(1, math.ceil(running_s + self._predict_drain_s(member, over_s, own_s, now)))
        if ticket is not None:
            self._reservations.add(member, Reservation(ticket, count, cost_s, now + retry_s))
        few = "member_entries" if most == self.limits.member_entries else "entries"
        raise QueueFullError(retry_s, few if own + count > most else "cost_s")

    def _predict_drain_s(self, member: str, over_s: float, own_s: float, now: float) -> float:
        """Predicted seconds until `over_s` less is in the member's queue, while the other members are served, too."""
        wait_s, all_s = over_s, own_s
        for name in (self._queues.keys() | self._reservations.members) - {member}:
            reserved_count, reserved_s = self._reservations.sum_reserved(name, now)
            queue_s = reserved_s + (self._queues[name].cost_s if name in self._queues else 0.0)
            # members who were refused will ask for more than waits now
            wait_s += over_s if reserved_count else min(queue_s, over_s)
            all_s += queue_s
        return min(wait_s, all_s)

    def _count_room(self, member: str) -> tuple[int, float, int, float]:
        """(entries and seconds that wait for the member, how many of both may)."""
        queue = self._queues.get(member)
        own, own_s = (len(queue.waiting), queue.cost_s) if queue else (0, 0.0)
        left, left_s = self.limits.entries - (len(self) - own), self.limits.cost_s - (self.cost_s - own_s)
        return own, own_s, min(self.limits.member_entries, math.ceil(left / 2)), left_s / 2

    def free_part(self, member: str) -> float:
        """The part of what one member may fill that is free: 1 where nothing waits, 0 or less where the queue is full."""
        own, own_s, most, most_s = self._count_room(member)
        return min(1 - own / most if most > 0 else 0.0, 1 - own_s / most_s if most_s > 0 else 0.0)

    def take_batch(self) -> list[QueueEntry]:
        """The next batch, its most urgent entry first; empty when nothing waits."""
        queues = [queue for queue in self._queues.values() if queue.waiting]
        if not queues:
            return []
        chosen = min(queues, key=lambda queue: (-max(0, queue.passed - MOST_TIMES_PASSED + 1), queue.time_s))
        self._clock_s = max(self._clock_s, chosen.time_s)
        batch = self._fill_batch(chosen, queues, self.limits.batch_s)
        for queue in queues:
            queue.passed = 0 if queue is chosen else queue.passed + 1
        self._queues = {member: queue for member, queue in self._queues.items() if queue.waiting or queue.time_s > self._clock_s}
        return batch

    def _fill_batch(self, chosen: _MemberQueue, queues: Iterable[_MemberQueue], most_s: float) -> list[QueueEntry]:
        first = chosen.waiting.popleft()
        chosen.time_s += first.cost_s
        batch, cost_s = [first], first.cost_s
        for queue in sorted(queues, key=lambda queue: queue.time_s):
            for entry in [entry for entry in queue.waiting if entry.kind == first.kind]:
                if len(batch) >= self.limits.batch or cost_s + entry.cost_s > most_s:
                    return batch
                queue.waiting.remove(entry)
                queue.time_s += entry.cost_s
                batch.append(entry)
                cost_s += entry.cost_s
        return batch

    def take_small_batch(self, most_s: float, running: Iterable[str]) -> list[QueueEntry]:
        """A batch of members who are not being served, to be made between two steps of longer work, if it costs at most `most_s`.

        With what is left of that work as `most_s`, a sound waits no longer than it takes itself, and one step. Empty when there is no
        such batch, or when the first of those members was served more than the members at work.
        """
        busy = set(running)
        queues = [queue for member, queue in self._queues.items() if member not in busy and queue.waiting]
        if not queues:
            return []
        chosen = min(queues, key=lambda queue: queue.time_s)
        if chosen.waiting[0].cost_s > most_s or chosen.time_s > max(self._clock_s, *(self._virtual_time_s(m) for m in busy)):
            return []
        chosen.passed = 0
        return self._fill_batch(chosen, queues, most_s)

    def _virtual_time_s(self, member: str) -> float:
        queue = self._queues.get(member)
        return queue.time_s if queue else self._clock_s

    def remove(self, entries: Iterable[QueueEntry]) -> None:
        """Takes entries out; unknown ones are ignored."""
        gone = {id(entry) for entry in entries}
        for queue in self._queues.values():
            queue.waiting = deque(entry for entry in queue.waiting if id(entry) not in gone)

    def remove_expired(self, now: float) -> list[QueueEntry]:
        """Takes out and returns the entries whose deadline has passed."""
        late = [entry for queue in self._queues.values() for entry in queue.waiting if entry.deadline <= now]
        self.remove(late)
        return late

    def list_entries(self) -> list[QueueEntry]:
        """All that waits."""
        return [entry for queue in self._queues.values() for entry in queue.waiting]

    def predict_wait(self, entry: QueueEntry, running_s: float = 0.0) -> tuple[int, float] | None:
        """(entries that will probably be made before it, predicted seconds until it is done), or None when it does not wait here."""
        queue = self._queues.get(entry.member)
        if queue is None or entry not in queue.waiting:
            return None
        place = queue.waiting.index(entry)
        own_s = sum(earlier.cost_s for earlier in islice(queue.waiting, place + 1))
        others = [other for other in self._queues.values() if other is not queue]
        ahead = place + sum(min(len(other.waiting), place + 1) for other in others)
        return ahead, running_s + own_s + sum(min(other.cost_s, own_s) for other in others)
