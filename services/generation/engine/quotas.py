"""What a member may ask for: requests a minute, seconds of sound and bytes of kept init sounds a day (UTC), counted over all replicas on
one store; open jobs.

Each replica decides by its own counts and the last counts of the others: every two seconds in which a request came, it writes
its counts to `jobs/allowance/<day>/<replica>.json` and reads theirs. So a member who asks many replicas at once may get at most
two seconds' worth too much, and no request waits for the store. A replica that was started anew finds its predecessor's counts.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from audiotune.errors import NotInStoreError, StoreError
from audiotune.store.layout import ALLOWANCES
from audiotune.store.port import Store
from services.generation.engine.admission import Reservation, Reservations, lacks_room
from services.generation.errors import DailyBytesError, DailySoundError, OpenJobsError, RequestRateError
from services.generation.settings import GenerationSettings

_DAY_S, _MINUTE_S = 86_400, 60
_BEAT_S = 2.0
_LOG = logging.getLogger("audiotune.generation")


class MemberQuotas:
    """A token bucket a member for requests, and counters of the day for seconds of sound and for bytes that jobs keep.

    Args:
        store: where replicas share their counts; None counts this process alone.
        name: of this replica; no other replica has it.
    """

    def __init__(
        self, settings: GenerationSettings, store: Store | None = None, clock: Callable[[], float] = time.time, name: str = ""
    ) -> None:
        self._per_minute, self._per_day_s, self._clock = settings.rate_per_minute, settings.sound_s_per_day, clock
        self._kept_bytes_per_day = settings.kept_mb_per_day * 1e6
        self._jobs, self._reservations = settings.member_jobs, Reservations()
        self._store, self._name = store, name or uuid.uuid4().hex
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}  # member -> requests left, when counted
        self._asked, self._minute = Counter[str](), 0
        self._spent: dict[str, float] = {}
        self._kept: dict[str, float] = {}
        self._day = 0
        self._others_asked, self._others_spent, self._others_kept = Counter[str](), Counter[str](), Counter[str]()
        self._changed = threading.Event()

    def start(self) -> None:
        """Shares counts in the background from now on."""
        if self._store is not None:
            threading.Thread(target=self._share_regularly, name="allowance", daemon=True).start()

    def count_request(self, member: str) -> None:
        """Raises RequestRateError when the member asks too often."""
        now = self._clock()
        with self._lock:
            self._roll_over(now)
            left, at = self._left.get(member, (float(self._per_minute), now))
            left = min(self._per_minute, left + max(0.0, now - at) * self._per_minute / _MINUTE_S)
            elsewhere = self._others_asked[member]
            full = elsewhere > 0 and elsewhere + self._asked[member] >= self._per_minute
            granted = left >= 1 and not full
            self._left[member] = (left - 1 if granted else left, now)
            self._asked[member] += granted
        self._changed.set()
        if not granted:
            retry_s = _MINUTE_S - now % _MINUTE_S if full else (1 - left) * _MINUTE_S / self._per_minute
            raise RequestRateError(f"more than {self._per_minute} requests a minute", retry_s)

    def spend_sound(self, member: str, seconds: float) -> None:
        """Raises DailySoundError when the day's seconds of sound would be more than the member may have."""
        now = self._clock()
        with self._lock:
            self._roll_over(now)
            spent = self._spent.get(member, 0.0) + seconds
            if self._per_day_s and spent + self._others_spent[member] > self._per_day_s:
                what = f"more than {self._per_day_s:g} seconds of sound a day"
                raise DailySoundError(what, _DAY_S - now % _DAY_S)
            self._spent[member] = spent
        self._changed.set()

    def refund_sound(self, member: str, seconds: float) -> None:
        """For what was refused, or made before: it costs nothing."""
        with self._lock:
            self._spent[member] = max(0.0, self._spent.get(member, 0.0) - seconds)

    def keep_bytes(self, member: str, size: int) -> None:
        """Counts what a job keeps in the store. Raises DailyBytesError when the day's would be more than the member may have."""
        now = self._clock()
        with self._lock:
            self._roll_over(now)
            kept = self._kept.get(member, 0.0) + size
            if self._kept_bytes_per_day and kept + self._others_kept[member] > self._kept_bytes_per_day:
                what = f"more than {self._kept_bytes_per_day / 1e6:g} MB of init sounds of jobs a day"
                raise DailyBytesError(
                    what, _DAY_S - now % _DAY_S, cure="give a sound that was made here as init_sound, which is kept once"
                )
            self._kept[member] = kept
        self._changed.set()

    @contextmanager
    def reserve_sound(self, member: str, seconds: float) -> Iterator[None]:
        """Spends, and refunds when the block raises. Raises DailySoundError."""
        self.spend_sound(member, seconds)
        try:
            yield
        except BaseException:
            self.refund_sound(member, seconds)
            raise

    def admit_job(self, member: str, ticket: Hashable, waiting: int, ends_s: Callable[[int], float]) -> None:
        """Lets one more job in where there is room. A refused job gets a reservation: the first one for the end of the member's first
        open job, the next one for the end of the next.

        Args:
            ticket: equal for the same job asked for again.
            waiting: jobs of the member that have not ended.
            ends_s: predicted seconds until so many of them and one more have ended; asked only when there is no room.

        Raises:
            OpenJobsError: with the seconds after which the same job is let in.
        """
        now = self._clock()
        with self._lock:
            # reservations let in up to twice the bound, should all predictions fail
            reserved = waiting < 2 * self._jobs and self._reservations.redeem(member, ticket, now)
            reserved_count, _ = self._reservations.sum_reserved(member, now)
        if reserved or not lacks_room(waiting + 1, reserved_count, self._jobs):
            return
        place = waiting + reserved_count - self._jobs
        refusal = OpenJobsError(f"{waiting} of your jobs have not ended", ends_s(min(place, waiting - 1)))
        if place < waiting:
            with self._lock:
                self._reservations.add(member, Reservation(ticket, 1, 0.0, now + refusal.retry_s))
        raise refusal

    def share_counts(self) -> None:
        """Writes what was counted here to the store and reads what was counted elsewhere. Raises StoreError."""
        assert self._store is not None
        with self._lock:
            self._roll_over(self._clock())
            day, minute = self._day, self._minute
            counts = json.dumps({"minute": minute, "asked": self._asked, "spent": self._spent, "kept": self._kept}).encode()
        self._store.put(ALLOWANCES.key(str(day), f"{self._name}.json"), counts)
        asked, spent, kept = Counter[str](), Counter[str](), Counter[str]()
        for entry in self._store.list(ALLOWANCES.path):
            of, _, name = ALLOWANCES.rest_of(entry.key).partition("/")
            if of.isdigit() and int(of) < day - 1:
                self._store.delete(entry.key)
            elif of == str(day) and name != f"{self._name}.json":
                theirs = self._read_counts(entry.key)
                spent.update(theirs.get("spent", {}))
                kept.update(theirs.get("kept", {}))
                if theirs.get("minute") == minute:
                    asked.update(theirs.get("asked", {}))
        with self._lock:
            if (self._day, self._minute) == (day, minute):
                self._others_asked, self._others_spent, self._others_kept = asked, spent, kept

    def _read_counts(self, key: str) -> dict[str, Any]:
        assert self._store is not None
        try:
            found = json.loads(self._store.get(key))
        except (NotInStoreError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _roll_over(self, now: float) -> None:
        """Begins a new minute or day; the caller holds the lock."""
        if self._minute != int(now // _MINUTE_S):
            self._minute = int(now // _MINUTE_S)
            self._asked.clear()
            self._others_asked.clear()
        if self._day != int(now // _DAY_S):
            self._day, self._spent, self._kept = int(now // _DAY_S), {}, {}
            self._others_spent.clear()
            self._others_kept.clear()

    def _share_regularly(self) -> None:
        well = True
        while True:
            self._changed.wait()
            self._changed.clear()
            try:
                self.share_counts()
                well = True
            except StoreError as e:  # each replica then goes on with the counts that it read last
                if well:
                    _LOG.warning("quotas are not shared: %s", e)
                well = False
                self._changed.set()
            time.sleep(_BEAT_S)
