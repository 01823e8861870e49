"""The order of consent records is the order in which they arrived; those of 0.2 and older come before all events of the ledger."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audiotune.errors import GovernanceError
from audiotune.governance import (
    Consent,
    publish_agreement,
    read_consents,
    read_current_agreement,
    record_consent,
    record_decision,
)
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.governance.consent import record_standing_consents
from audiotune.governance.ledger.events import parse_event
from audiotune.governance.ledger.import_earlier import draft_earlier_records
from audiotune.governance.ledger.ledger import Ledger
from audiotune.governance.ledger.verification import read_events, verify_events
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


@pytest.fixture
def earlier(tmp_path: Path) -> FolderStore:
    """A store of 0.2: no ledger yet."""
    store = FolderStore(tmp_path / "earlier")
    store.put("governance/agreements/000001.json", agreement().model_dump_json().encode())
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


def say_numbered(store: FolderStore, number: int, *uses: Use) -> None:
    """As programs between 0.2 and the ledger wrote it."""
    consent = Consent(recording=TAKE, contributor="ana", uses=uses, basis="x", agreement="0" * 64)
    store.put(f"governance/consents/{TAKE}/ana/{number:08d}.json", consent.to_bytes(), only_new=True)


def open_ledger_of(store: FolderStore) -> None:
    """The first event, about something else, takes over what was there."""
    record_consent(store, Consent(recording=digest("b"), contributor="ben", uses=(), basis="x", agreement="0" * 64))


@pytest.mark.parametrize("opened", [False, True])
def test_records_of_0_2_count_until_somebody_says_otherwise(earlier: FolderStore, opened: bool) -> None:
    say_as_0_2(earlier, "store", time=LONG_AGO)
    say_as_0_2(earlier, "store", "train", time=YESTERDAY)
    if opened:
        open_ledger_of(earlier)
    assert counting(earlier) == ("store", "train")
    assert read_current_agreement(earlier) == agreement()
    say(earlier, "generate", time=LONG_AGO)
    assert counting(earlier) == ("generate",)


@pytest.mark.parametrize("opened", [False, True])
def test_records_of_0_2_with_a_date_in_the_future_only_withdraw(earlier: FolderStore, opened: bool) -> None:
    say_as_0_2(earlier, *ALL_USES, time=MUCH_LATER)
    assert counting(earlier) == ()
    say_as_0_2(earlier, "store", "train", time=YESTERDAY)
    assert counting(earlier) == ("store", "train")
    say_as_0_2(earlier, "store", time=MUCH_LATER + timedelta(days=1))
    if opened:
        open_ledger_of(earlier)
    assert counting(earlier) == ("store",)


@pytest.mark.parametrize("opened", [False, True])
def test_a_record_that_an_old_program_writes_behind_a_numbered_one_only_withdraws(earlier: FolderStore, opened: bool) -> None:
    say_as_0_2(earlier, *ALL_USES, time=LONG_AGO)
    say_numbered(earlier, 2, "store", "train")
    say_as_0_2(earlier, *ALL_USES, time=MUCH_LATER)
    assert counting(earlier) == ("store", "train")
    say_as_0_2(earlier, "store", time=YESTERDAY)
    if opened:
        open_ledger_of(earlier)
    assert counting(earlier) == ("store",)


def test_an_earlier_record_behind_the_ledger_changes_nothing(earlier: FolderStore) -> None:
    say(earlier)
    say_as_0_2(earlier, *ALL_USES, time=MUCH_LATER)
    say_numbered(earlier, 9, *ALL_USES)
    assert counting(earlier) == ()
    assert counting(FolderStore(earlier.root)) == ()


def test_earlier_records_are_marked_as_taken_over(earlier: FolderStore) -> None:
    say_as_0_2(earlier, "store", time=LONG_AGO)
    say(earlier, "generate")
    events = [parse_event(data, key) for key, data in read_events(earlier)]
    assert [(event.kind, event.via) for event in events] == [
        ("ledger_opened", "service"),
        ("agreement_published", "import"),
        ("consents_recorded", "import"),
        ("earlier_records_taken", "import"),
        ("consents_recorded", "command"),
    ]


def test_a_slower_program_that_opens_the_ledger_puts_nothing_behind_later_words(earlier: FolderStore) -> None:
    """It crashed in the middle, or was paused, while another one finished and ana withdrew."""
    say_as_0_2(earlier, *ALL_USES, time=LONG_AGO)
    drafts = list(draft_earlier_records(earlier))
    say(earlier)
    slow = Ledger(FolderStore(earlier.root))
    for draft in drafts:
        slow._append_draft(lambda state, draft=draft: None if state.in_force else draft)  # type: ignore[misc]
    assert counting(earlier) == ()
    with pytest.raises(GovernanceError, match="taken over already"):
        slow._append_draft(lambda state: drafts[1])


def test_eight_writers_lose_no_record(store: FolderStore) -> None:
    def write() -> None:
        for _ in range(10):
            say(store, "store")

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify_events(read_events(store))
    assert report.is_sound
    assert report.number == 3 + 80  # opened, put in force, the agreement


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
    assert record_decision(store, agreement(), TAKE, ["ana"], by="ben", why="it is another take") == []
    assert counting(store) == ()
