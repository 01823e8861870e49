"""What a withdrawal changes in the state: at once, for recordings that come later, and until only the member's own word gives it again."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from audiotune.errors import ConsentError, GovernanceError
from audiotune.governance import Consent, Member, decide_policy, publish_agreement, read_consents, record_decision
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.governance.consent import record_consents, record_standing_consents
from audiotune.governance.ledger.event_draft import EventDraft
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import dump_state, parse_state
from audiotune.governance.ledger.withdrawal_events import WithdrawalRecorded
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.policy import Gate, require_permission
from audiotune.governance.withdrawal_record import Withdrawal
from tests.fakes.described_store import agreement, digest
from tests.fakes.layout_store import LayoutStore
from tests.fakes.memory_store import MemoryStore

ONE, TWO, LATER = (digest(name) for name in ("one", "two", "later"))


@pytest.fixture
def store() -> MemoryStore:
    """Ana and ben play on both takes."""
    store, group = MemoryStore(), agreement()
    publish_agreement(store, group)
    for take in (ONE, TWO):
        record_standing_consents(store, group, take, ["ana", "ben"])
    return store


def withdraw(store: MemoryStore, who: str = "ben", **body: object) -> Withdrawal:
    draft = EventDraft("withdrawal_recorded", WithdrawalRecorded.model_validate(body), who, "sign_in")
    event = open_ledger(store).append(lambda state: draft)
    assert event is not None
    return open_ledger(store).read_state().withdrawals[event.number]


def uses_of(store: MemoryStore, take: str, who: str = "ben") -> tuple[Use, ...]:
    return open_ledger(store).read_state().consents[take][who].uses


def test_one_recording_is_taken_back_and_nothing_else(store: MemoryStore) -> None:
    made = withdraw(store, recordings=[ONE], why="it is out of tune")
    assert (made.member, made.recordings, made.is_all, made.why, made.ends) == (
        "ben",
        (ONE,),
        False,
        "it is out of tune",
        made.time,
    )
    assert (uses_of(store, ONE), uses_of(store, TWO), uses_of(store, ONE, "ana")) == ((), ALL_USES, ALL_USES)
    with pytest.raises(ConsentError, match="ben has not agreed to generate"):
        require_permission(store, "generate", {ONE: ["ana"]})
    require_permission(store, "generate", {TWO: ["ana"]})


def test_some_uses_are_taken_back(store: MemoryStore) -> None:
    assert withdraw(store, recordings=[ONE], uses=["generate", "release"]).uses == ("generate", "release")
    assert uses_of(store, ONE) == tuple(use for use in ALL_USES if use not in ("generate", "release"))


def test_all_of_theirs_means_later_ones_too(store: MemoryStore) -> None:
    assert withdraw(store, uses=["train"]).recordings == tuple(sorted((ONE, TWO)))
    record_standing_consents(store, agreement(), LATER, ["ana", "ben"])
    expected = tuple(use for use in ALL_USES if use != "train")
    assert (uses_of(store, ONE), uses_of(store, LATER), uses_of(store, LATER, "ana")) == (expected, expected, ALL_USES)


def test_only_the_members_own_word_gives_it_again(store: MemoryStore) -> None:
    withdraw(store)
    record_decision(store, agreement(), ONE, ["ana"], by="ana", why="a mistake")
    record_decision(store, agreement(), ONE, ["ana", "ben"], by="ana", why="no mistake")
    given = Consent(recording=ONE, contributor="ben", uses=ALL_USES, basis="x", agreement="0" * 64)
    record_consents(store, [given], by="ana", via="sign_in")
    assert uses_of(store, ONE) == ()
    record_consents(store, [given], by="ben", via="sign_in")
    assert (uses_of(store, ONE), uses_of(store, TWO)) == (ALL_USES, ())


def test_days_of_grace_end_the_uses_later(store: MemoryStore) -> None:
    publish_agreement(store, agreement().model_copy(update={"version": 2, "withdrawal_grace_days": 30}))
    made = withdraw(store, recordings=[ONE], uses=["train"])
    assert made.ends - made.time == timedelta(days=30)
    record = open_ledger(store).read_state().consents[ONE]["ben"]
    assert (record.uses, record.ends) == (ALL_USES, {"train": made.ends})
    again = withdraw(store, recordings=[ONE])  # the earlier end stays
    record = open_ledger(store).read_state().consents[ONE]["ben"]
    assert record.ends == {"train": made.ends, **dict.fromkeys((use for use in ALL_USES if use != "train"), again.ends)}


@pytest.mark.parametrize(
    ("who", "body", "words"),
    [
        ("chi", {"recordings": [ONE]}, "chi has no consent for recording"),
        ("ben", {"recordings": [LATER]}, "ben has no consent for recording"),
        ("zoe", {}, "'zoe' is no member and is heard in nothing"),
        ("ben", {"uses": ["train"], "erase": "recordings"}, "what is erased has no use left"),
    ],
)
def test_what_is_refused(store: MemoryStore, who: str, body: dict[str, object], words: str) -> None:
    before = open_ledger(store).read_state()
    with pytest.raises(GovernanceError, match=words):
        withdraw(store, who, **body)
    assert open_ledger(store).read_state() == before


def test_who_has_left_can_still_take_back(store: MemoryStore) -> None:
    members = tuple(Member(id=who, name=who, left=who == "ben") for who in ("ana", "ben", "chi"))
    publish_agreement(store, agreement().model_copy(update={"version": 2, "members": members}))
    assert withdraw(store, erase="everything_derived").erase == "everything_derived"


def test_two_members_take_back_at_once(store: MemoryStore) -> None:
    first, second = withdraw(store, "ana"), withdraw(store, "ben", recordings=[TWO])
    assert (first.number + 1, uses_of(store, TWO, "ana"), uses_of(store, TWO)) == (second.number, (), ())


def test_a_snapshot_keeps_withdrawals(store: MemoryStore) -> None:
    withdraw(store)
    state = open_ledger(store).read_state()
    assert parse_state(dump_state(state)) == state


def test_an_agreement_without_grace_keeps_its_digest() -> None:
    assert agreement().digest == agreement().model_copy(update={"withdrawal_grace_days": 0}).digest
    assert agreement().digest != agreement().model_copy(update={"withdrawal_grace_days": 1}).digest


def test_gates_ask_for_the_end_of_grace(store: MemoryStore) -> None:
    publish_agreement(store, agreement().model_copy(update={"version": 2, "withdrawal_grace_days": 30}))
    made = withdraw(store, recordings=[ONE], uses=["generate"])
    group, consents = open_ledger(store).read_state().agreement, read_consents(store, [ONE])
    assert group is not None
    asked = {ONE: ["ana"]}
    assert decide_policy("generate", group, consents, asked, now=made.ends - timedelta(seconds=1)).is_allowed
    decision = decide_policy("generate", group, consents, asked, now=made.ends)
    assert decision.reasons == (f"ben's consent to generate ended on {made.ends:%Y-%m-%d}",)
    assert decide_policy("annotate_merge", group, consents, asked, now=made.ends).is_allowed


def test_the_record_of_a_withdrawal_is_the_members_act(store: MemoryStore) -> None:
    number = append_member_event(store, "ben", "withdrawal_recorded", {"recordings": [ONE], "why": "x"})
    assert open_ledger(store).read_state().withdrawals[number].why == "x"


def test_every_gate_of_another_program_knows_within_a_second(tmp_path: Path) -> None:
    """Programs share the store alone: each has read the ledger before, and reads the new event at its next question."""
    store, group = LayoutStore(tmp_path / "store"), agreement()
    publish_agreement(store, group)
    record_standing_consents(store, group, ONE, ["ana", "ben"])
    other = LayoutStore(store.root)
    gates: list[Gate] = [gate for gate in get_args(Gate) if gate not in ("ingest", "publish", "earn")]
    for gate in gates:
        require_permission(other, gate, {ONE: ["ana"]})
    append_member_event(store, "ben", "withdrawal_recorded", {"recordings": [ONE]})
    began = time.monotonic()
    for gate in gates:
        with pytest.raises(ConsentError, match="ben has not agreed"):
            require_permission(other, gate, {ONE: ["ana"]})
    assert time.monotonic() - began < 1
