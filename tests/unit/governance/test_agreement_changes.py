"""An agreement changes as it says itself: by its own rules, in words, with everybody who joins and leaves, the same on every machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audiotune.errors import AgreementError, DecisionError, GovernanceError
from audiotune.governance import Agreement, Member, publish_agreement, read_current_agreement
from audiotune.governance.agreement_changes import describe_changes, keep_former_members, list_deciding_kinds
from audiotune.governance.agreement_record import DecisionRule
from audiotune.governance.decisions import (
    cast_vote,
    close_decided_proposals,
    draft_agreement_proposal,
    open_proposal,
    read_proposals,
)
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.ledger import Ledger, open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.proposal import Proposal
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement
from tests.fakes.layout_store import LayoutStore

FIVE = ("ana", "ben", "chi", "dee", "eli")
EVERYBODY, MAJORITY = DecisionRule(needs="everybody"), DecisionRule()


def group(version: int = 1, **fields: Any) -> Agreement:
    members = tuple(Member(id=id, name=id.title()) for id in FIVE)
    return agreement().model_copy(update={"version": version, "members": members, **fields})


GROUP = group()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


def state_of(store: FolderStore) -> GovernanceState:
    """As a program reads it that was there all the time; one that starts now must read the same."""
    state = open_ledger(store).read_state()
    assert Ledger(store).read_state() == state
    return state


def in_force(store: FolderStore) -> Agreement:
    found = read_current_agreement(store)
    assert found is not None
    return found


def propose(store: FolderStore, text: Agreement, by: str = "ana") -> int:
    body = draft_agreement_proposal(open_ledger(store).read_state(), text)
    return append_member_event(store, by, "proposal_opened", dump_body(body))


def vote(store: FolderStore, proposal: int, *voters: str) -> Proposal:
    for who in voters or FIVE:
        if not read_proposals(store)[proposal].outcome:
            cast_vote(store, who, proposal, "yes")
    return read_proposals(store)[proposal]


def leave(store: FolderStore, who: str) -> None:
    append_member_event(store, who, "member_left", {})


FAY = Member(id="fay", name="Fay")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"group": "The Patch"}, "the group is called The Patch instead of"),
        ({"members": (*GROUP.members, FAY)}, "Fay (fay) joins"),
        ({"members": GROUP.members[:-1]}, "Eli (eli) leaves"),
        ({"members": (GROUP.members[0].model_copy(update={"left": True}), *GROUP.members[1:])}, "Ana (ana) leaves"),
        ({"members": (Member(id="ana", name="Anna"), *GROUP.members[1:])}, "ana is called Anna instead of Ana"),
        (
            {"members": (Member(id="ana", name="Ana", consents_to=("train",)), *GROUP.members[1:])},
            "Ana says yes beforehand to: now also train on them",
        ),
        (
            {"recordings_licence": "CC-BY-4.0"},
            "licence of members' recordings: anybody may use it, and names us (CC-BY-4.0) instead",
        ),
        ({"weights_licence": "CC0-1.0"}, "licence of releases: anybody may do anything with it (CC0-1.0) instead of"),
        ({"accepted_licences": ("CC0-1.0", "Custom")}, "recordings from outside: now also Custom"),
        ({"allowed_uses": ("store",)}, "the group may: no longer train on them, give releases out, make new sounds"),
        ({"base_model_notices": {"a/b": "Powered by A"}}, "notice for releases on a/b: Powered by A"),
        (
            {"decisions": {"champion": MAJORITY}},
            "to let a release play needs a decision: more yes than no, 50% must vote, within 7 days",
        ),
        ({"withdrawal_grace_days": 7}, "withdrawal grace days: 7 instead of 0"),
    ],
)
def test_a_change_is_told_in_words(change: dict[str, Any], says: str) -> None:
    lines = describe_changes(GROUP, GROUP.model_copy(update={**change, "version": 2}))
    assert [line for line in lines if says in line], lines


def test_no_field_changes_in_silence() -> None:
    """Also one that is added later: whoever votes reads it."""
    other: dict[str, Any] = {
        "group": "x",
        "members": (*GROUP.members, FAY),
        "recordings_licence": "x",
        "weights_licence": "x",
        "accepted_licences": ("x",),
        "allowed_uses": ("earn",),
        "decisions": {"other": MAJORITY},
        "base_model_notices": {"x": "y"},
    }
    for name in Agreement.model_fields.keys() - {"version"}:
        changed = GROUP.model_copy(update={name: other.get(name, 42)})
        assert describe_changes(GROUP, changed), name
        asking = GROUP.model_copy(update={"decisions": {"agreement": MAJORITY}})
        assert list_deciding_kinds(asking, asking.model_copy(update={name: other.get(name, 42)})), name
    assert describe_changes(GROUP, GROUP.model_copy(update={"version": 2})) == []
    assert describe_changes(None, GROUP) == [f"the first agreement of {GROUP.group}"]


@pytest.mark.parametrize(
    ("rules", "change", "kinds"),
    [
        ({}, {"group": "x"}, []),
        ({"agreement": MAJORITY}, {"group": "x"}, ["agreement"]),
        ({"agreement": MAJORITY}, {"members": (*GROUP.members, FAY)}, ["agreement"]),
        ({"take_in": MAJORITY}, {"members": (*GROUP.members, FAY)}, ["take_in"]),
        ({"exclude": MAJORITY}, {"members": GROUP.members[1:]}, ["exclude"]),
        ({"exclude": MAJORITY, "agreement": MAJORITY}, {"members": GROUP.members[1:], "group": "x"}, ["exclude", "agreement"]),
        ({"take_in": MAJORITY}, {"group": "x"}, []),
    ],
)
def test_the_agreement_says_itself_how_it_changes(rules: dict[str, Any], change: dict[str, Any], kinds: list[str]) -> None:
    old = group(decisions=rules)
    assert list_deciding_kinds(old, old.model_copy(update=change)) == kinds


def test_with_a_rule_a_change_takes_force_by_the_accepted_proposal(store: FolderStore) -> None:
    publish_agreement(store, group(decisions={"agreement": EVERYBODY}))
    new = group(2, decisions={"agreement": EVERYBODY}, weights_licence="CC0-1.0")
    for by in ("ana", ""):
        with pytest.raises(DecisionError, match=r"under a decision of the group \(change the agreement\)"):
            publish_agreement(store, new, by=by)
    proposal = propose(store, new)
    assert read_proposals(store)[proposal].change == {"agreement": new.digest}
    vote(store, proposal, *FIVE[:4])
    assert in_force(store).version == 1
    done = vote(store, proposal, "eli")
    assert (done.executed, done.result) == (state_of(store).number, "version 2 of the agreement is in force")
    assert in_force(store) == new


def test_an_operator_overrides_the_rule_and_the_ledger_says_so(store: FolderStore) -> None:
    publish_agreement(store, group(decisions={"agreement": EVERYBODY}))
    with pytest.raises(DecisionError):  # no member does
        publish_agreement(store, group(2), by="ana", override="I want to")
    body = {"agreement": group(2).model_dump(mode="json"), "override": "I want to"}
    with pytest.raises(DecisionError):  # also not an owner, by the way of acts
        append_member_event(store, "ana", "agreement_published", body)
    publish_agreement(store, group(2), override="the court said so")
    assert in_force(store).version == 2
    assert b"the court said so" in b"".join(store.get(entry.key) for entry in store.list("governance/ledger/"))


def test_of_two_changes_at_once_the_second_is_told(store: FolderStore) -> None:
    publish_agreement(store, group())
    seen = in_force(store).digest
    publish_agreement(store, group(2, group="The Four"), by="ana", via="sign_in", instead_of=seen)
    with pytest.raises(AgreementError, match="another version of the agreement took force meanwhile"):
        publish_agreement(store, group(3, group="The Six"), by="ben", via="sign_in", instead_of=seen)
    assert in_force(store).group == "The Four"


def test_of_two_accepted_texts_the_second_does_not_undo_the_first(store: FolderStore) -> None:
    rules = {"decisions": {"agreement": MAJORITY}}
    publish_agreement(store, group(**rules))
    first, second = propose(store, group(2, group="A", **rules)), propose(store, group(2, weights_licence="CC0-1.0", **rules))
    vote(store, first)
    late = vote(store, second)
    assert (late.outcome, late.executed) == ("accepted", 0)
    assert late.result == "not carried out: another version of the agreement took force meanwhile"
    assert (in_force(store).group, in_force(store).weights_licence) == ("A", GROUP.weights_licence)
    state_of(store)


def test_a_text_with_another_digest_than_the_group_votes_on_is_refused(store: FolderStore) -> None:
    publish_agreement(store, group(decisions={"agreement": MAJORITY}))
    body = draft_agreement_proposal(open_ledger(store).read_state(), group(2, group="x"))
    with pytest.raises(AgreementError, match="another digest"):
        append_member_event(store, "ana", "proposal_opened", dump_body(body) | {"change": {"agreement": "0" * 64}})
    other = body.model_copy(update={"kind": "other", "rule": DecisionRule()})  # an easier rule, which decides other things
    with pytest.raises(DecisionError, match="decided by other rules"):
        append_member_event(store, "ana", "proposal_opened", dump_body(other))


def test_a_change_under_two_rules_is_two_proposals(store: FolderStore) -> None:
    publish_agreement(store, group(decisions={"agreement": MAJORITY, "exclude": EVERYBODY}))
    new = group(2, decisions={"agreement": MAJORITY, "exclude": EVERYBODY}, members=GROUP.members[1:], weights_licence="x")
    with pytest.raises(DecisionError, match="several rules: exclude somebody; change the agreement"):
        propose(store, new)


def test_who_is_missing_in_a_later_version_has_left(store: FolderStore) -> None:
    publish_agreement(store, group())
    fewer = group(2, members=GROUP.members[:2])
    publish_agreement(store, fewer)
    assert [(m.id, m.left) for m in in_force(store).members] == [(id, id not in ("ana", "ben")) for id in FIVE]
    append_member_event(
        store, "ana", "agreement_published", {"agreement": group(3, members=GROUP.members[:2]).model_dump(mode="json")}
    )
    assert [m.left for m in in_force(store).members] == [False, False, True, True, True]
    number, fewer = state_of(store).number, group(3, members=GROUP.members[:2])
    publish_agreement(store, fewer)  # the same file once more changes nothing
    assert state_of(store).number == number
    assert keep_former_members(None, fewer) is fewer


def test_a_member_leaves_without_anybodys_vote(store: FolderStore) -> None:
    publish_agreement(store, group(decisions={"agreement": EVERYBODY, "exclude": EVERYBODY}))
    open_one = open_proposal(store, "ana", "other", "x").id
    cast_vote(store, "ben", open_one, "no")
    leave(store, "ben")
    assert [m.id for m in in_force(store).active_members] == ["ana", "chi", "dee", "eli"]
    assert in_force(store).version == 2
    assert read_proposals(store)[open_one].voters == ("ana", "chi", "dee", "eli")
    assert read_proposals(store)[open_one].votes == {}
    with pytest.raises(GovernanceError, match="has left"):
        leave(store, "ben")
    with pytest.raises(GovernanceError, match="no member"):
        leave(store, "eve")
    state_of(store)


def test_who_left_does_not_come_back_by_an_older_text(store: FolderStore) -> None:
    """A file that somebody edited before, and a proposal that was open when they left."""
    rules = {"decisions": {"champion": MAJORITY}}
    publish_agreement(store, group(**rules))
    proposal = propose(store, group(2, group="B", **rules))
    leave(store, "ben")
    vote(store, proposal, "ana", "chi", "dee", "eli")
    assert (in_force(store).group, in_force(store).version) == ("B", 3)
    publish_agreement(store, group(4, group="C", **rules))
    assert in_force(store).group == "C"
    publish_agreement(store, group(5, group="D", **rules))  # the same file, edited once more
    assert [m.id for m in in_force(store).members if m.left] == ["ben"]
    seen = in_force(store)
    back = seen.model_copy(update={"version": 6, "members": GROUP.members})
    publish_agreement(store, back, by="ana", via="sign_in", instead_of=seen.digest)  # who saw that he left may take him in
    assert in_force(store).find_member("ben") == Member(id="ben", name="Ben")
    state_of(store)


def test_the_group_takes_somebody_in_and_excludes_somebody(store: FolderStore) -> None:
    publish_agreement(store, group(decisions={"take_in": MAJORITY, "exclude": EVERYBODY}))
    with pytest.raises(DecisionError, match="take somebody in"):
        publish_agreement(store, group(2, members=(*GROUP.members, FAY), decisions=in_force(store).decisions))
    vote(store, open_proposal(store, "ana", "take_in", "Fay joins", change={"member": "fay", "name": "Fay"}).id)
    assert in_force(store).find_member("fay") == FAY
    out = open_proposal(store, "ana", "exclude", "Eli leaves", change={"member": "eli"})
    assert "eli" not in out.voters  # everybody else
    done = vote(store, out.id, "ana", "ben", "chi", "dee", "fay")
    assert (done.outcome, done.result) == ("accepted", "Eli is no member any more")
    assert "eli" not in [m.id for m in in_force(store).active_members]
    vote(store, open_proposal(store, "ana", "take_in", "Eli again", change={"member": "eli", "name": "E"}).id, *FIVE[:4], "fay")
    assert in_force(store).find_member("eli") == Member(id="eli", name="Eli")
    state_of(store)


def test_an_exclusion_is_decided_by_the_rule_for_the_agreement_where_it_has_none_of_its_own(store: FolderStore) -> None:
    publish_agreement(store, group(decisions={"agreement": EVERYBODY}))
    assert open_proposal(store, "ana", "exclude", "x", change={"member": "eli"}).rule == EVERYBODY


def test_who_signed_is_known_and_a_departure_leaves_the_others_signatures(store: FolderStore) -> None:
    publish_agreement(store, group())
    for who in ("ana", "ben"):
        append_member_event(store, who, "agreement_signed", {"agreement": in_force(store).digest})
    leave(store, "ben")
    assert set(state_of(store).signatures[in_force(store).digest]) == {"ana"}
    publish_agreement(store, group(5, group="new"))
    assert in_force(store).digest not in state_of(store).signatures
    with pytest.raises(AgreementError, match="another version"):
        append_member_event(store, "ana", "agreement_signed", {"agreement": group().digest})


def test_everybody_leaves(store: FolderStore) -> None:
    publish_agreement(store, group(decisions={"agreement": EVERYBODY}))
    waiting = propose(store, group(2, decisions={}))
    for who in FIVE:
        leave(store, who)
    assert in_force(store).active_members == ()
    assert read_proposals(store)[waiting].voters == ()
    assert [one.outcome for one in close_decided_proposals(store)] == ["rejected"]
    with pytest.raises(AgreementError, match="everybody in it has left"):
        publish_agreement(store, in_force(store).model_copy(update={"version": 9}))
    state_of(store)
