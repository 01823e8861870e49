"""Tells each thing once: notices go into an outbox in the store, then out of it by each channel, which tries again while a server is away.

The number of the newest event that was told is kept in the store, so that a studio that starts again goes on from there. A crash between
the sending and its note sends the same notice again, under the same id. One studio of a group runs this, as there is one.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from pydantic import Field, ValidationError

from audiotune.domain.frozen_model import TolerantModel
from audiotune.errors import AlreadyInStoreError, AudioTuneError, NotInStoreError
from audiotune.governance.ledger.ledger import open_ledger, read_event
from audiotune.governance.ledger.state import GovernanceState
from audiotune.store.layout import NOTICES
from audiotune.store.port import Store
from services.studio.notices.channels import FAILURES, NoticeChannel
from services.studio.notices.notice import Notice, describe_event_notice, describe_news_notice
from services.studio.stored_news import StoredNewsReader

LOG = logging.getLogger("audiotune.studio")
_PAUSES_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)  # after each failure; the last one again and again
_GIVE_UP = timedelta(days=7)
_EVERY_S = 5.0
_PROGRESS = NOTICES.key("progress.json")


class NoticeProgress(TolerantModel):
    """Up to where members were told. `told`: ids of releases and runs, as long as they are news."""

    number: int
    told: tuple[str, ...] = ()


class OutboxEntry(TolerantModel):
    """A notice on its way to a receiver. `next`: before then it is not tried again."""

    notice: Notice
    receiver: str = ""
    tries: int = 0
    since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    next: datetime = Field(default_factory=lambda: datetime.now(UTC))


class NoticeSender:
    """Collects what is to be told, and sends it, in threads of its own.

    Args:
        every_s: seconds between two looks.
    """

    def __init__(
        self, store: Store, channels: Iterable[NoticeChannel], news: StoredNewsReader, every_s: float = _EVERY_S
    ) -> None:
        self._store, self._channels, self._news, self._every_s = store, tuple(channels), news, every_s
        self._ended = threading.Event()

    def start(self) -> None:
        """Begins, where there is a channel. What happened before the first start is not told."""
        loops: list[Callable[[], object]] = [self.collect] if self._channels else []
        loops += [lambda channel=channel: self.deliver(channel) for channel in self._channels]  # type: ignore[misc]
        for loop in loops:
            threading.Thread(target=self._repeat, args=[loop], daemon=True, name="notices").start()

    def stop(self) -> None:
        self._ended.set()

    def _repeat(self, work: Callable[[], object]) -> None:
        while not self._ended.is_set():
            try:
                work()
            except AudioTuneError as e:
                LOG.warning("notices: %s", e)
            except Exception:  # a bug must not end the loop
                LOG.exception("notices")
            self._ended.wait(self._every_s)

    def collect(self) -> int:
        """Puts what is new into the outbox, and notes that; how many notices. Raises StoreError, LedgerError."""
        state, news = open_ledger(self._store).read_state(), self._news.list_news()
        before = self._read_progress()
        after = NoticeProgress(number=state.number, told=tuple(one.id for one in news))
        if before is None or before.number > state.number:
            self._write_progress(after)
            return 0
        if after == before:
            return 0
        notices = [*self._list_event_notices(state, before.number)]
        notices += [describe_news_notice(state, one) for one in reversed(news) if one.id not in before.told]
        for notice in notices:
            self._put_into_outbox(notice)
        self._write_progress(after)
        return len(notices)

    def deliver(self, channel: NoticeChannel, now: datetime | None = None) -> int:
        """Sends what is due by one channel, the oldest first; how many went out. While its server is away, the others wait, too."""
        time, sent = now or datetime.now(UTC), 0
        keys = [entry.key for entry in self._store.list(NOTICES.folder("outbox", channel.name))]
        due = [(key, entry) for key in keys if (entry := self._read_entry(key)) and entry.next <= time]
        for key, entry in sorted(due, key=lambda one: (one[1].notice.time, one[1].notice.event)):
            try:
                channel.send(entry.notice, entry.receiver, _name_entry(entry.notice, entry.receiver))
            except FAILURES as e:
                self._note_failure(channel, key, entry, e, time)
                return sent
            self._store.delete(key)
            sent += 1
        return sent

    def _list_event_notices(self, state: GovernanceState, told: int) -> Iterable[Notice]:
        for number in range(told + 1, state.number + 1):
            notice = describe_event_notice(state, read_event(self._store, number))
            if notice and notice.to:
                yield notice

    def _put_into_outbox(self, notice: Notice) -> None:
        for channel in self._channels:
            for receiver in channel.list_receivers(notice):
                entry = OutboxEntry(notice=notice, receiver=receiver)
                key = NOTICES.key("outbox", channel.name, f"{_name_entry(notice, receiver)}.json")
                try:
                    self._store.put(key, entry.model_dump_json().encode(), only_new=True)
                except AlreadyInStoreError:  # a crash came before the note
                    continue

    def _note_failure(self, channel: NoticeChannel, key: str, entry: OutboxEntry, error: Exception, now: datetime) -> None:
        why = type(error).__name__ + "".join(f" {code}" for code in error.args[:1] if isinstance(code, int))
        if now - entry.since > _GIVE_UP:
            LOG.error("notices: %s: given up after %d tries: %s", channel.name, entry.tries + 1, why)
            self._store.delete(key)
            return
        pause = timedelta(seconds=_PAUSES_S[min(entry.tries, len(_PAUSES_S) - 1)])
        LOG.warning("notices: %s: not sent (%s), again in %d s", channel.name, why, pause.total_seconds())
        later = entry.model_copy(update={"tries": entry.tries + 1, "next": now + pause})
        self._store.put(key, later.model_dump_json().encode())

    def _read_entry(self, key: str) -> OutboxEntry | None:
        try:
            return OutboxEntry.model_validate_json(self._store.get(key))
        except (NotInStoreError, ValidationError):  # a damaged one is nobody's notice any more
            return None

    def _read_progress(self) -> NoticeProgress | None:
        try:
            return NoticeProgress.model_validate_json(self._store.get(_PROGRESS))
        except (NotInStoreError, ValidationError):
            return None

    def _write_progress(self, progress: NoticeProgress) -> None:
        self._store.put(_PROGRESS, progress.model_dump_json().encode())


def _name_entry(notice: Notice, receiver: str) -> str:
    return hashlib.sha256(f"{notice.id}\n{receiver}".encode()).hexdigest()[:32]
