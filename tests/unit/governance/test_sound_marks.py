"""A sound made with a release that somebody took back is marked, without reading anything anew while nothing was said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from audiotune.domain.release import Release
from audiotune.governance import Consent, publish_agreement, record_consent
from audiotune.governance.sound_marks import WithdrawnMakers
from audiotune.store.port import StoreEntry
from tests.fakes.described_store import agreement
from tests.fakes.fake_models import a_release
from tests.fakes.memory_store import MemoryStore

TAKE = "f" * 64


class CountingStore(MemoryStore):
    """Counts questions."""

    asked = 0

    def get(self, key: str) -> bytes:
        self.asked += 1
        return super().get(key)

    def list(self, prefix: str, after: str = "") -> Iterator[StoreEntry]:
        self.asked += 1
        return super().list(prefix, after)


def say(store: MemoryStore, *uses: str, recording: str = TAKE) -> None:
    record_consent(
        store,
        Consent.model_validate({"recording": recording, "contributor": "ana", "uses": uses, "basis": "x", "agreement": "0" * 64}),
    )


@pytest.fixture
def store() -> CountingStore:
    made = CountingStore()
    publish_agreement(made, agreement())
    say(made, "store", "train", "release", "generate")
    a_release("1").save(made)
    return made


def test_a_withdrawal_marks_and_a_new_yes_takes_the_mark_away(store: CountingStore) -> None:
    makers, maker = WithdrawnMakers(store), ("patch-bay", "1")
    assert makers.find_reasons([maker]) == {}
    say(store, "store", "train", "release")
    assert makers.find_reasons([maker, ("patch-bay", "2")]) == {maker: "ana has not agreed to generate"}
    say(store, "generate")
    assert makers.find_reasons([maker]) == {}


def test_while_nobody_says_anything_a_page_costs_one_question(store: CountingStore) -> None:
    makers = WithdrawnMakers(store)
    say(store)
    makers.find_reasons([("patch-bay", "1")])
    before = store.asked
    assert makers.find_reasons([("patch-bay", "1")] * 24) != {}
    assert store.asked - before == 1
    say(store, recording="a" * 64)
    before = store.asked
    makers.find_reasons([("patch-bay", "1")])
    assert store.asked - before <= 4, "the card is not read again"


def test_what_has_no_card_is_looked_up_elsewhere(store: CountingStore) -> None:
    looked_up: list[tuple[str, str]] = []

    def find(name: str, version: str) -> Release | None:
        looked_up.append((name, version))
        return a_release(version, name) if version == "7" else None

    makers = WithdrawnMakers(store, find)
    say(store)
    assert set(makers.find_reasons([("patch-bay", "1"), ("patch-bay", "7"), ("patch-bay", "8")])) == {
        ("patch-bay", "1"),
        ("patch-bay", "7"),
    }
    assert sorted(looked_up) == [("patch-bay", "7"), ("patch-bay", "8")]
