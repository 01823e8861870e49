"""The studio's start while its store's user is not there yet: it waits and says so, and gives up in the store's own words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audiotune.errors import DamagedBlobError, StoreError
from audiotune.governance import publish_agreement, read_current_agreement
from audiotune.store import FolderStore, StoreEntry
from services.studio.store_wait import wait_for_store
from tests.fakes.seeded_store import agreement


class RefusingStore(FolderStore):
    """Refuses so many questions, each time with the next of its errors or the last one."""

    def __init__(self, root: Path, times: int, *errors: StoreError) -> None:
        super().__init__(root)
        self.times, self.errors, self.asked = times, errors, 0

    def list(self, prefix: str, after: str = "") -> Iterator[StoreEntry]:
        self.asked += 1
        if self.asked <= self.times:
            raise self.errors[min(self.asked, len(self.errors)) - 1]
        return super().list(prefix, after)


class Time:
    """A clock that only sleeping moves."""

    now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


AWAY = StoreError("the store does not answer", where="s3://band")
REFUSES = StoreError("the store refuses (InvalidAccessKeyId)", where="s3://band", cure="check AWS_ACCESS_KEY_ID")


def waited(store: FolderStore, most_s: float) -> Time:
    time = Time()
    found = wait_for_store(lambda: read_current_agreement(store), most_s, clock=time.clock, sleep=time.sleep)
    assert found == read_current_agreement(FolderStore(store.root))
    return time


@pytest.mark.parametrize("agreed", [False, True])
def test_it_goes_on_as_soon_as_the_store_answers(tmp_path: Path, agreed: bool, caplog: pytest.LogCaptureFixture) -> None:
    store = RefusingStore(tmp_path, 5, AWAY, AWAY, REFUSES)
    if agreed:
        publish_agreement(FolderStore(tmp_path), agreement())
    assert waited(store, 240).now == pytest.approx(10)
    messages = [record.getMessage() for record in caplog.records]
    assert ["does not answer" in words for words in messages] == [True, False, False]
    assert "waiting for the store, 236 s at most" in messages[1]
    assert "InvalidAccessKeyId" in messages[1]
    assert messages[-1] == "the store answers"


def test_it_reminds_now_and_then_and_gives_up_in_the_stores_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = RefusingStore(tmp_path, 10**6, REFUSES)
    with pytest.raises(StoreError, match="InvalidAccessKeyId"):
        waited(store, 100)
    assert len(caplog.records) == 4
    assert store.asked == 51


@pytest.mark.parametrize(("most_s", "error"), [(0.0, REFUSES), (240.0, DamagedBlobError("not its hash", where="x"))])
def test_no_time_to_wait_and_damage_are_reported_at_once(tmp_path: Path, most_s: float, error: StoreError) -> None:
    store = RefusingStore(tmp_path, 1, error)
    with pytest.raises(type(error)):
        waited(store, most_s)
    assert store.asked == 1


def test_a_store_that_answers_is_asked_once_and_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert waited(FolderStore(tmp_path), 240).now == 0
    assert not caplog.records
