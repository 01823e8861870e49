"""The order of consent records is the order in which they arrived, with records of 0.2 before all numbered ones."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audiotune.errors import ConsentError
from audiotune.governance import Consent, publish_agreement, read_consents, record_consent, record_decision
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.governance.consent import list_consent_keys, record_standing_consents
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement, digest
from tests.fakes.layout_store import LayoutStore

TAKE = digest("take")
NOW = datetime.now(UTC)
LONG_AGO, YESTERDAY, MUCH_LATER = NOW - timedelta(days=400), NOW - timedelta(days=1), NOW + timedelta(days=9000)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = LayoutStore(tmp_path / "store")
    publish_agreement(store, agreement())
    return store


def say(store: FolderStore, *uses: Use, time: datetime = NOW) -> None:
    record_consent(store, Consent(recording=TAKE, contributor="ana", uses=uses, basis="x", agreement="0" * 64, time=time))


def say_as_0_2(store: FolderStore, *uses: Use, time: datetime) -> None:
    """As programs of 0.2 wrote it: named by its own time."""
    consent = Consent(recording=TAKE, contributor="ana", uses=uses, basis="x", agreement="0" * 64, time=time)
    store.put(f"governance/consents/{TAKE}/ana/{time:%Y%m%dT%H%M%S%f}.json", consent.to_bytes(), only_new=True)


def counting(store: FolderStore) -> tuple[Use, ...]:
    return read_consents(store, [TAKE])[TAKE, "ana"].uses


def test_a_date_in_the_future_outranks_nothing(store: FolderStore) -> None:
    say(store, *ALL_USES, time=MUCH_LATER)
    say(store, time=YESTERDAY)
    assert counting(store) == ()
    say(store, "store", time=LONG_AGO)
    assert counting(store) == ("store",)


def test_records_of_0_2_come_first(store: FolderStore) -> None:
    say_as_0_2(store, "store", time=LONG_AGO)
    say_as_0_2(store, "store", "train", time=YESTERDAY)
    assert counting(store) == ("store", "train")
    say(store, "generate", time=LONG_AGO)
    assert counting(store) == ("generate",)
    assert list(list_consent_keys(store, TAKE)["ana"].numbered) == [3]


def test_records_of_0_2_with_a_date_in_the_future_only_withdraw(store: FolderStore) -> None:
    say_as_0_2(store, *ALL_USES, time=MUCH_LATER)
    assert counting(store) == ()
    say_as_0_2(store, "store", "train", time=YESTERDAY)
    assert counting(store) == ("store", "train")
    say_as_0_2(store, "store", time=MUCH_LATER + timedelta(days=1))
    assert counting(store) == ("store",)


def test_a_record_that_an_old_program_writes_later_only_withdraws(store: FolderStore) -> None:
    say_as_0_2(store, *ALL_USES, time=LONG_AGO)
    say(store, "store", "train")
    say_as_0_2(store, *ALL_USES, time=MUCH_LATER)
    assert counting(store) == ("store", "train")
    say_as_0_2(store, "store", time=YESTERDAY)
    assert counting(store) == ("store",)
    say(store, *ALL_USES)  # it knows all of these
    assert counting(store) == ALL_USES


def test_an_old_program_reads_what_a_new_one_writes(store: FolderStore) -> None:
    say(store, "store")
    written = store.get(f"governance/consents/{TAKE}/ana/00000001.json")
    assert not {b"heard", b"follows"} & set(written.replace(b'"', b" ").split())


def test_eight_writers_lose_no_record(store: FolderStore) -> None:
    def write() -> None:
        for _ in range(10):
            say(store, "store")

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(list_consent_keys(store, TAKE)["ana"].numbered) == list(range(1, 81))


class InBetween(LayoutStore):
    """Ana withdraws between the first look at her records and the first write."""

    withdraws = False

    def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
        if self.withdraws:
            self.withdraws = False
            say(self)
        super().put(key, data, only_new=only_new)


def test_a_withdrawal_at_the_same_moment_wins(tmp_path: Path) -> None:
    store = InBetween(tmp_path / "store")
    publish_agreement(store, agreement())
    store.withdraws = True
    assert record_standing_consents(store, agreement(), TAKE, ["ana"]) == []
    assert counting(store) == ()
    take = Consent(recording=TAKE, contributor="ana", uses=("store",), basis="x", agreement="0" * 64, follows=("1" * 64,))
    record_consent(store, take)
    store.withdraws = True
    with pytest.raises(ConsentError, match="ana recorded something just now"):
        record_decision(store, agreement(), TAKE, ["ana"], by="ben", why="it is another take")
    assert counting(store) == ()
