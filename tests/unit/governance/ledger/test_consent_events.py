"""What members say about their recordings: some of them or all, use by use, until a date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from audiotune.errors import ConsentError, GovernanceError
from audiotune.governance import Member, decide_policy, publish_agreement, read_standing, record_decision
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.governance.consent import build_standing_consents, record_consents, record_standing_consents
from audiotune.governance.consent_record import Consent, ExceptedPart, StandingConsent
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import dump_state, parse_state
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.policy import require_permission
from audiotune.governance.waiting import find_unasked, hold_recording
from audiotune.governance.waiting_record import is_unanswered
from tests.fakes.described_store import agreement, digest
from tests.fakes.memory_store import MemoryStore

ONE, TWO, LATER = (digest(name) for name in ("one", "two", "later"))
DAY = timedelta(days=1)
KEEP: tuple[Use, ...] = ("store",)


@pytest.fixture
def store() -> MemoryStore:
    """Dee is heard in both takes and let them be kept, nothing else; ana agrees to everything."""
    store, group = MemoryStore(), agreement(Member(id="dee", name="Dee", consents_to=KEEP))
    publish_agreement(store, group)
    for take in (ONE, TWO):
        record_standing_consents(store, group, take, ["ana", "dee"])
    return store


def give(store: MemoryStore, who: str = "dee", **body: object) -> int:
    return append_member_event(store, who, "consent_given", body)


def narrow(store: MemoryStore, who: str = "dee", **body: object) -> int:
    return append_member_event(store, who, "consent_narrowed", body)


def record_of(store: MemoryStore, take: str, who: str = "dee") -> Consent:
    return open_ledger(store).read_state().consents[take][who]


def bring(store: MemoryStore, take: str, *people: str) -> None:
    state = open_ledger(store).read_state()
    assert state.agreement is not None
    record_standing_consents(store, state.agreement, take, people)


def test_a_use_is_given_and_taken_back_for_one_recording(store: MemoryStore) -> None:
    number = give(store, recordings=[ONE], uses=["train", "release"], text=digest("the words"))
    record = record_of(store, ONE)
    assert (record.uses, record.text) == (("store", "train", "release"), digest("the words"))
    assert record.basis == f"in the ledger's event {number}"
    assert record_of(store, TWO).uses == KEEP
    require_permission(store, "finetune", {ONE: ["ana"]})
    narrow(store, recordings=[ONE], uses=["train"])
    assert record_of(store, ONE).uses == ("store", "release")
    with pytest.raises(ConsentError, match="dee has not agreed to train"):
        require_permission(store, "finetune", {ONE: ["ana"]})


def test_all_of_mine_counts_for_those_that_come_later_too(store: MemoryStore) -> None:
    give(store, uses=["train"])
    assert [record_of(store, take).uses for take in (ONE, TWO)] == [("store", "train")] * 2
    bring(store, LATER, "dee")
    assert record_of(store, LATER).uses == ("store", "train")
    assert "the ledger's event" in record_of(store, LATER).basis
    narrow(store, uses=["store", "train"])
    newest = digest("newest")
    with pytest.raises(ConsentError, match="dee has not agreed to store"):
        require_permission(store, "ingest", {newest: ["dee"]})
    give(store, uses=["store"])
    require_permission(store, "ingest", {newest: ["dee"]})


def test_a_word_of_ones_own_counts_before_what_the_agreement_says_of_one(store: MemoryStore) -> None:
    """Nobody widens it with a later version of the agreement."""
    narrow(store, "ana", uses=["publish", "earn"])
    group = agreement(Member(id="dee", name="Dee", consents_to=KEEP)).model_copy(update={"version": 2})
    publish_agreement(store, group)
    bring(store, LATER, "ana", "dee")
    assert record_of(store, LATER, "ana").uses == ("store", "train", "release", "generate")
    assert record_of(store, LATER, "dee").uses == KEEP  # who said nothing themselves


def test_the_agreement_bounds_what_can_be_given(store: MemoryStore) -> None:
    give(store, uses=list(ALL_USES))
    group = agreement(Member(id="dee", name="Dee")).model_copy(update={"version": 2, "allowed_uses": ("store", "train")})
    publish_agreement(store, group)
    with pytest.raises(ConsentError, match="the agreement does not allow to publish"):
        require_permission(store, "publish", {ONE: ["ana"]})


def test_a_word_ends_at_its_date_and_is_given_anew(store: MemoryStore) -> None:
    end = datetime.now(UTC) + DAY
    give(store, recordings=[ONE], uses=["train"], until=end.isoformat())
    require_permission(store, "finetune", {ONE: ["ana"]})
    with pytest.raises(ConsentError, match=f"dee's consent to train ended on {end:%Y-%m-%d}"):
        require_permission(store, "finetune", {ONE: ["ana"]}, now=end)
    give(store, recordings=[ONE], uses=["release"])
    assert record_of(store, ONE).until == end  # a use more says nothing about the end
    narrow(store, recordings=[ONE], until=(end + DAY).isoformat())
    assert record_of(store, ONE).until == end  # to narrow is never to widen
    narrow(store, recordings=[ONE], until=(end - DAY / 2).isoformat())
    assert record_of(store, ONE).until == end - DAY / 2
    give(store, recordings=[ONE], no_end=True)
    require_permission(store, "finetune", {ONE: ["ana"]}, now=end + 1000 * DAY)


def test_an_end_of_all_is_the_end_of_what_comes_later(store: MemoryStore) -> None:
    end = datetime.now(UTC) + DAY
    give(store, uses=["train"], until=end.isoformat())
    bring(store, LATER, "dee")
    assert record_of(store, LATER).until == end
    state = open_ledger(store).read_state()
    assert state.agreement is not None
    standing, asked = read_standing(store), {digest("newest"): ["dee"]}
    assert decide_policy("ingest", state.agreement, {}, asked, standing=standing).is_allowed
    assert not decide_policy("ingest", state.agreement, {}, asked, standing=standing, now=end).is_allowed


def test_what_has_ended_does_not_come_back_with_another_use(store: MemoryStore) -> None:
    long_ago = Consent(
        recording=ONE,
        contributor="dee",
        uses=("store", "train"),
        basis="x",
        agreement="0" * 64,
        until=datetime(2026, 1, 1, tzinfo=UTC),
    )
    record_consents(store, [long_ago], by="dee")
    give(store, recordings=[ONE], uses=["publish"])
    record = record_of(store, ONE)
    assert (record.uses, record.until) == (("publish",), None)


def test_a_part_that_is_excepted_and_what_sounds_the_same_stay(store: MemoryStore) -> None:
    parts = (ExceptedPart(start_s=1, end_s=2),)
    record_consents(store, [record_of(store, ONE).model_copy(update={"excepted": parts, "follows": (TWO,)})], by="dee")
    give(store, recordings=[ONE], uses=["train"])
    assert (record_of(store, ONE).excepted, record_of(store, ONE).follows) == (parts, (TWO,))
    with pytest.raises(ConsentError, match=f"dee has not agreed to train of recording {TWO[:12]}, which sounds the same"):
        require_permission(store, "finetune", {ONE: ["ana"]})


def test_a_decision_who_is_heard_keeps_what_a_member_said(store: MemoryStore) -> None:
    group = open_ledger(store).read_state().agreement
    assert group is not None
    record_standing_consents(store, group, LATER, ["ana"], {ONE: ["dee"]})  # dee is not named, but it sounds the same
    give(store, uses=list(ALL_USES))
    narrow(store, recordings=[LATER], uses=["publish", "earn"])
    record_decision(store, group, LATER, ["ana", "dee"], by="ana", why="dee plays there")
    record = record_of(store, LATER)
    assert (record.uses, record.follows) == (("store", "train", "release", "generate"), ())


@pytest.mark.parametrize(
    ("who", "body", "says"),
    [
        ("dee", {"recordings": [LATER], "uses": ["train"]}, "dee is not named as a player"),
        ("eve", {"uses": ["train"]}, "no member of the agreement"),
        ("gone", {"uses": ["train"]}, "gone has left the group"),
        ("dee", {"recordings": [ONE], "uses": ["train"], "until": "2026-01-01T00:00:00Z"}, "has passed already"),
        ("dee", {"recordings": [ONE]}, "neither a use nor an end"),
        ("dee", {"uses": ["train"], "until": "2099-01-01T00:00:00Z", "no_end": True}, "it has an end, or it has none"),
        ("dee", {"uses": ["sell"]}, "uses.0 does not fit"),
        ("dee", {"uses": ["train"], "until": "2099-01-01T00:00:00"}, "until does not fit"),
    ],
)
def test_what_may_not_be_said_changes_nothing(store: MemoryStore, who: str, body: dict[str, object], says: str) -> None:
    left = agreement(Member(id="dee", name="Dee"), Member(id="gone", name="Gone", left=True))
    publish_agreement(store, left.model_copy(update={"version": 2}))
    before = open_ledger(store).read_state()
    with pytest.raises(GovernanceError, match=says):
        give(store, who, **body)
    assert open_ledger(store).read_state() == before


def test_who_was_taken_out_of_a_recording_neither_opens_nor_closes_it(store: MemoryStore) -> None:
    group = open_ledger(store).read_state().agreement
    assert group is not None
    record_decision(store, group, ONE, ["ana"], by="ana", why="dee was away")
    for act in (give, narrow):
        with pytest.raises(GovernanceError, match="dee is not named as a player"):
            act(store, recordings=[ONE], uses=["store"])
    narrow(store, uses=["store"])  # all of theirs: this is none of them
    assert not record_of(store, ONE).heard
    require_permission(store, "finetune", {ONE: ["ana"]})


def test_of_several_recordings_all_are_changed_or_none(store: MemoryStore) -> None:
    with pytest.raises(GovernanceError, match="dee is not named"):
        give(store, recordings=[ONE, LATER], uses=["train"])
    assert record_of(store, ONE).uses == KEEP


def test_who_has_left_may_take_back(store: MemoryStore) -> None:
    left = agreement(Member(id="dee", name="Dee", left=True)).model_copy(update={"version": 2})
    publish_agreement(store, left)
    narrow(store, uses=["store"])
    assert [record_of(store, take).uses for take in (ONE, TWO)] == [(), ()]
    with pytest.raises(GovernanceError, match="eve"):
        narrow(store, "eve", uses=["store"])


def test_what_was_taken_back_only_its_member_gives_again(store: MemoryStore) -> None:
    """Ingest, which speaks for the standing words of all, does not open what one person closed."""
    append_member_event(store, "ana", "withdrawal_recorded", {"uses": ["train"]})
    assert record_of(store, ONE, "ana").uses == ("store", "release", "generate", "publish", "earn")
    assert read_standing(store)["ana"].uses == ("store", "release", "generate", "publish", "earn")
    bring(store, LATER, "ana")
    assert "train" not in record_of(store, LATER, "ana").uses
    give(store, "ana", recordings=[ONE], uses=["train"])
    assert "train" in record_of(store, ONE, "ana").uses
    assert "train" not in record_of(store, TWO, "ana").uses
    give(store, "ana", uses=["train"])
    newest = digest("newest")
    bring(store, newest, "ana")
    assert all("train" in record_of(store, take, "ana").uses for take in (ONE, TWO, LATER, newest))


def test_a_word_about_all_is_no_answer_for_what_waits_unless_it_is_yes(store: MemoryStore) -> None:
    """A no deletes what waits; whoever takes back the use `publish` for all of theirs has not said that."""
    group = agreement(Member(id="dee", name="Dee")).model_copy(update={"version": 2})
    publish_agreement(store, group)
    hold_recording(store, group, LATER, ["ana", "dee"], f"waiting/{LATER}/sound")
    narrow(store, uses=["store", "publish"])
    assert is_unanswered(record_of(store, LATER))
    for act, body in ((narrow, {"uses": ["store"]}), (give, {"uses": ["train"]})):
        with pytest.raises(GovernanceError, match="dee was asked whether recording .* may be kept"):
            act(store, recordings=[LATER], **body)
    give(store, uses=["store", "train"])
    assert (is_unanswered(record_of(store, LATER)), record_of(store, LATER).uses) == (False, ("store", "train"))


def test_a_standing_word_that_has_ended_asks_for_each_recording(store: MemoryStore) -> None:
    state = open_ledger(store).read_state()
    assert state.agreement is not None
    ended = {"dee": StandingConsent(uses=ALL_USES, until=datetime(2026, 1, 1, tzinfo=UTC))}
    (record,) = build_standing_consents({}, ended, state.agreement, LATER, ("dee",), {})
    assert (record.uses, is_unanswered(record)) == ((), True)
    assert find_unasked(state.agreement, {}, LATER, ["ana", "dee"], ended) == ("dee",)
    forever = {"dee": StandingConsent(uses=ALL_USES)}
    assert find_unasked(state.agreement, {}, LATER, ["ana", "dee"], forever) == ()


def test_the_state_survives_a_snapshot(store: MemoryStore) -> None:
    give(store, uses=["train"], until="2099-01-01T00:00:00Z")
    state = open_ledger(store).read_state()
    assert parse_state(dump_state(state)) == state
    with pytest.raises(ValueError, match="colour"):  # of a newer program: left aside, and the events are read instead
        parse_state(dump_state(state).replace(b'{"number"', b'{"colour":1,"number"', 1))
