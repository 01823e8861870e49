"""Proposals are decided by their rule, the same for everybody, and nothing that is under decision happens without one."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotune.errors import DecisionError, GovernanceError
from audiotune.governance import Agreement, Member, publish_agreement
from audiotune.governance.agreement_record import DecisionRule, ProposalKind
from audiotune.governance.decisions import (
    cast_vote,
    close_decided_proposals,
    comment_on_proposal,
    open_proposal,
    read_proposals,
    record_execution,
    request_decision,
    require_decision,
)
from audiotune.governance.ledger.events import event_key, sign_event
from audiotune.governance.ledger.keys import parse_key
from audiotune.governance.ledger.ledger import Ledger, open_ledger
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.governance.proposal import Choice, Outcome, Proposal, decide_proposal
from audiotune.governance.writer import StoreGovernanceWriter
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement
from tests.fakes.layout_store import LayoutStore

FIVE = ("ana", "ben", "chi", "dee", "eli")
RULES = (
    DecisionRule(needs="majority", quorum=0.6, days=3),
    DecisionRule(needs="two_thirds", quorum=0.0, days=3),
    DecisionRule(needs="everybody", days=3),
    DecisionRule(needs="veto", days=3),
)
OPENED = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime.now(UTC) + timedelta(days=30)
CHAMPION = {"release": "audio-tune", "version": "3"}


def group(rule: DecisionRule | None = None) -> Agreement:
    members = tuple(Member(id=id, name=id.title()) for id in FIVE)
    return agreement().model_copy(update={"members": members, "decisions": {"champion": rule} if rule else {}})


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = LayoutStore(tmp_path / "store")
    publish_agreement(store, group(DecisionRule(needs="majority", quorum=0.6, days=3)))
    return store


def proposal(rule: DecisionRule, **votes: Choice) -> Proposal:
    return Proposal(id=1, kind="other", title="x", rule=rule, by="ana", opened=OPENED.isoformat(), voters=FIVE, votes=votes)


@pytest.mark.parametrize(
    ("needs", "quorum", "votes", "now", "at_the_end"),
    [
        ("majority", 0.6, "yyy", "accepted", "accepted"),
        ("majority", 0.6, "yy", "", "rejected"),  # no quorum
        ("majority", 0.6, "yyn", "", "accepted"),
        ("majority", 0.6, "ynnn", "rejected", "rejected"),
        ("majority", 0.6, "yaa", "", "accepted"),
        ("majority", 0.6, "yynn", "", "rejected"),  # a tie is no majority
        ("two_thirds", 0.0, "yyn", "", "accepted"),
        ("two_thirds", 0.0, "yynn", "rejected", "rejected"),
        ("two_thirds", 0.0, "yyyy", "accepted", "accepted"),
        ("two_thirds", 0.0, "", "", "rejected"),
        ("everybody", 0.0, "yyyyy", "accepted", "accepted"),
        ("everybody", 0.0, "yyyy", "", "rejected"),
        ("everybody", 0.0, "n", "rejected", "rejected"),
        ("everybody", 0.0, "yyyya", "rejected", "rejected"),
        ("veto", 1.0, "", "", "accepted"),
        ("veto", 1.0, "yyyn", "rejected", "rejected"),
    ],
)
def test_the_rules(needs: str, quorum: float, votes: str, now: Outcome, at_the_end: Outcome) -> None:
    words: dict[str, Choice] = {"y": "yes", "n": "no", "a": "abstain"}
    rule = DecisionRule.model_validate({"needs": needs, "quorum": quorum, "days": 3})
    one = proposal(rule, **{who: words[vote] for who, vote in zip(FIVE, votes)})
    assert decide_proposal(one, OPENED + timedelta(days=2)) == now
    assert decide_proposal(one, OPENED + timedelta(days=3)) == at_the_end


_votes = st.dictionaries(st.sampled_from(FIVE), st.sampled_from(("yes", "no", "abstain")))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(RULES), _votes, _votes)
def test_an_early_end_is_the_end_whatever_is_still_voted(
    rule: DecisionRule, votes: dict[str, Choice], more: dict[str, Choice]
) -> None:
    early = decide_proposal(proposal(rule, **votes), OPENED)
    if early:
        assert decide_proposal(proposal(rule, **{**more, **votes}), OPENED + timedelta(days=9)) == early


def test_a_proposal_from_the_first_word_to_its_execution(store: FolderStore) -> None:
    with pytest.raises(DecisionError, match="champion: release audio-tune, version 3.*none is accepted"):
        require_decision(store, "champion", CHAMPION)
    opened = open_proposal(store, "ana", "champion", " Let version 3 play ", "It is nearer.", CHAMPION)
    comment_on_proposal(store, "ben", opened.id, "I like it.")
    assert [cast_vote(store, who, opened.id, "yes").outcome for who in FIVE[:3]] == ["", "", "accepted"]
    decided = require_decision(store, "champion", CHAMPION)
    assert decided is not None
    assert (decided.title, decided.comments[0].text, decided.voters) == ("Let version 3 play", "I like it.", FIVE)
    with pytest.raises(DecisionError, match="none is accepted"):
        require_decision(store, "champion", {**CHAMPION, "version": "4"})
    assert Ledger(store).read_state() == open_ledger(store).read_state()
    assert verify_events(read_events(store)).is_sound


def accept(store: FolderStore, number: int, voters: tuple[str, ...] = FIVE) -> Proposal:
    for who in voters:
        if not read_proposals(store)[number].outcome:
            cast_vote(store, who, number, "yes")
    return read_proposals(store)[number]


def test_the_event_that_closes_a_proposal_for_a_champion_carries_it_out(store: FolderStore) -> None:
    decided = accept(store, open_proposal(store, "ana", "champion", "x", change=CHAMPION).id)
    state = open_ledger(store).read_state()
    assert (decided.executed, decided.result) == (state.number, "version 3 of audio-tune plays")
    assert state.champions == {"audio-tune": "3"}
    with pytest.raises(DecisionError, match="carried out already"):
        record_execution(store, decided.id)
    accept(store, open_proposal(store, "ana", "champion", "x", change={**CHAMPION, "version": "2"}).id)
    assert open_ledger(store).read_state().champions == Ledger(store).read_state().champions == {"audio-tune": "2"}


def test_what_people_carry_out_is_noted_once(store: FolderStore) -> None:
    decided = accept(store, open_proposal(store, "ana", "other", "Buy a filter").id)
    assert decided.executed == 0
    record_execution(store, decided.id, "bought")
    assert read_proposals(store)[decided.id].result == "bought"
    with pytest.raises(DecisionError, match="carried out already"):
        record_execution(store, decided.id)


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("champion", {"release": "audio-tune"}, "names version"),
        ("champion", {"release": "audio-tune", "version": "newest"}, "'newest' is no version"),
        ("publish_release", {}, "names release and version"),
        ("foreign_recording", {}, "names recording"),
        ("exclude", {"member": "eve"}, "no member"),
        ("owner", {"member": "eve"}, "no member"),
        ("take_in", {"member": "Fay!", "name": "Fay"}, "no member id"),
        ("take_in", {"member": "ben", "name": "Ben"}, "a member already"),
        ("agreement", {}, "carries its new text"),
    ],
)
def test_a_proposal_names_what_its_kind_needs(store: FolderStore, kind: ProposalKind, change: dict[str, str], says: str) -> None:
    with pytest.raises(GovernanceError, match=says):
        open_proposal(store, "ana", kind, "x", change=change)


def test_a_program_asks_once_and_gets_the_groups_answer(store: FolderStore) -> None:
    asked = request_decision(store, "champion", "x", "because", CHAMPION)
    assert asked is not None
    assert (asked.by, asked.outcome, asked.voters) == ("", "", FIVE)
    again = request_decision(store, "champion", "y", "", CHAMPION)
    assert again is not None
    assert (again.id, len(read_proposals(store))) == (asked.id, 1)
    accept(store, asked.id)
    answer = request_decision(store, "champion", "x", "", CHAMPION)
    assert answer is not None
    assert (answer.id, answer.outcome) == (asked.id, "accepted")
    assert request_decision(store, "foreign_recording", "x", "", {"recording": "0" * 64}) is None  # no rule, no question
    with pytest.raises(GovernanceError, match="no member"):  # in nobody's name is asked for no other kind
        open_proposal(store, "", "exclude", "x", change={"member": "ben"})


def test_a_proposal_of_a_group_without_voters_is_not_accepted() -> None:
    nobody = proposal(DecisionRule(needs="everybody")).model_copy(update={"voters": ()})
    assert decide_proposal(nobody, OPENED) == "rejected"


def test_what_the_agreement_does_not_name_needs_no_decision(store: FolderStore) -> None:
    assert require_decision(store, "publish_release", CHAMPION) is None


def test_the_newest_vote_of_a_member_counts(store: FolderStore) -> None:
    opened = open_proposal(store, "ana", "other", "Buy a filter")
    cast_vote(store, "ana", opened.id, "no")
    assert cast_vote(store, "ana", opened.id, "yes").votes == {"ana": "yes"}


def test_the_time_ends_a_proposal(store: FolderStore) -> None:
    opened = open_proposal(store, "ana", "champion", "x", change=CHAMPION)
    cast_vote(store, "ana", opened.id, "yes")
    assert close_decided_proposals(store) == []
    with pytest.raises(
        DecisionError, match="not decided yet"
    ):  # a clock that is ahead closes nothing: the event's own time counts
        close_decided_proposals(store, LATER)


def test_the_upkeep_closes_what_ended_by_its_time(store: FolderStore) -> None:
    publish_agreement(store, group(DecisionRule(needs="veto", days=0.5 / 86_400)).model_copy(update={"version": 2}))
    opened = open_proposal(store, "ana", "champion", "x", change=CHAMPION)
    time.sleep(0.6)
    StoreGovernanceWriter(store).end_due_waiting()
    assert read_proposals(store)[opened.id].outcome == "accepted"  # nobody said no
    assert open_ledger(store).read_state().champions == {"audio-tune": "3"}


def test_a_vote_after_the_end_counts_nothing(store: FolderStore) -> None:
    """Also one that a program without the check wrote, with the service's key and a later date."""
    opened = open_proposal(store, "ana", "other", "x")
    for who in FIVE[:3]:
        cast_vote(store, who, opened.id, "yes")
    with pytest.raises(DecisionError, match="has ended"):
        cast_vote(store, "eli", opened.id, "no")
    another = open_proposal(store, "ana", "other", "y")
    state, key = open_ledger(store).read_state(), parse_key("a key for tests and for nothing else", "here")
    late = sign_event(
        key,
        number=state.number + 1,
        previous=state.head,
        time=LATER.isoformat(),
        kind="vote_cast",
        by="ben",
        via="sign_in",
        body={"proposal": another.id, "choice": "yes"},
    )
    store.put(event_key(late.number), late.to_bytes())
    assert read_proposals(store)[another.id].votes == {}


def test_who_may_not_vote(store: FolderStore) -> None:
    opened = open_proposal(store, "ana", "other", "x")
    newcomer = Member(id="fay", name="Fay")
    members = (*(m.model_copy(update={"left": m.id == "ben"}) for m in group().members), newcomer)
    publish_agreement(store, group().model_copy(update={"version": 2, "members": members}))
    for who, why in (("eve", "no member"), ("ben", "has left"), ("fay", "was no member when")):
        with pytest.raises(GovernanceError, match=why):
            cast_vote(store, who, opened.id, "yes")
    with pytest.raises(DecisionError, match="no proposal 999"):
        cast_vote(store, "ana", 999, "yes")


def test_a_proposal_keeps_the_rule_that_it_was_opened_with(store: FolderStore) -> None:
    opened = open_proposal(store, "ana", "champion", "x", change=CHAMPION)
    publish_agreement(store, group(DecisionRule(needs="everybody")).model_copy(update={"version": 2}))
    assert [cast_vote(store, who, opened.id, "yes").outcome for who in FIVE[:3]][-1] == "accepted"


def test_an_agreement_without_decisions_keeps_its_digest() -> None:
    assert group().digest == agreement().model_copy(update={"members": group().members}).digest
    assert group(DecisionRule()).digest != group().digest
