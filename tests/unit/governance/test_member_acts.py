"""Members' acts become events by one way: only acts of members, in their form, and with a signature that fits or none."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from audiotune.errors import DecisionError, ForbiddenError, GovernanceError
from audiotune.governance import publish_agreement
from audiotune.governance.ledger.events import MemberSignature, build_statement
from audiotune.governance.ledger.fold import KINDS
from audiotune.governance.ledger.keys import SigningKey, generate_key
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.governance.member_acts import MOST_BYTES, append_member_event, parse_act
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement
from tests.fakes.layout_store import LayoutStore

PROPOSAL: dict[str, Any] = {"kind": "other", "title": "Buy filters", "rule": {}}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = LayoutStore(tmp_path / "store")
    publish_agreement(made, agreement())
    return made


def sign(key: SigningKey, kind: str, by: str, body: dict[str, Any], head: str) -> MemberSignature:
    return MemberSignature(
        key=key.id, value=base64.b64encode(key.sign(build_statement(kind, by, body, head))).decode(), head=head
    )


def register(store: FolderStore, who: str) -> SigningKey:
    key = generate_key()
    append_member_event(store, who, "member_key_registered", {"key": key.public.hex()})
    return key


def test_an_act_becomes_an_event_and_a_vote_closes_what_it_decides(store: FolderStore) -> None:
    number = append_member_event(store, "ana", "proposal_opened", PROPOSAL)
    for who in ("ana", "ben"):
        append_member_event(store, who, "vote_cast", {"proposal": number, "choice": "yes"})
    state = open_ledger(store).read_state()
    assert (state.proposals[number].by, state.proposals[number].outcome) == ("ana", "accepted")
    with pytest.raises(DecisionError, match="has ended"):
        append_member_event(store, "ana", "vote_cast", {"proposal": number, "choice": "no"})


@pytest.mark.parametrize("kind", [*(name for name, kind in KINDS.items() if kind.said_by == "service"), "invented", ""])
def test_what_the_service_says_is_no_act_of_a_member(store: FolderStore, kind: str) -> None:
    before = open_ledger(store).read_state().number
    with pytest.raises(ForbiddenError, match="no act of a member"):
        append_member_event(store, "ana", kind, {})
    assert open_ledger(store).read_state().number == before


@pytest.mark.parametrize(
    "body",
    [{}, {"proposal": 0, "choice": "yes"}, {"proposal": 1, "choice": "yes", "by": "ben"}, {"proposal": 1, "choice": "maybe"}],
)
def test_a_body_that_does_not_fit_is_refused(store: FolderStore, body: dict[str, Any]) -> None:
    with pytest.raises(GovernanceError, match="does not fit"):
        append_member_event(store, "ana", "vote_cast", body)


def test_an_act_has_a_largest_size() -> None:
    names = {f"name {i}": "x" * (MOST_BYTES // 10) for i in range(11)}
    with pytest.raises(GovernanceError, match="too long"):
        parse_act("proposal_opened", {**PROPOSAL, "change": names})
    assert parse_act("proposal_opened", {**PROPOSAL, "change": {"name": "x" * (MOST_BYTES // 2)}})


def test_who_is_outside_the_group_says_nothing(store: FolderStore) -> None:
    for kind, body in (("proposal_opened", PROPOSAL), ("member_key_registered", {"key": generate_key().public.hex()})):
        with pytest.raises(GovernanceError, match="no member"):
            append_member_event(store, "mallory", kind, body)


def test_a_signed_act_is_vouched_for_by_the_member(store: FolderStore) -> None:
    key, head = register(store, "ana"), open_ledger(store).read_state().head
    append_member_event(store, "ben", "proposal_opened", PROPOSAL)  # the head that ana saw need not be the newest
    signature = sign(key, "proposal_opened", "ana", PROPOSAL, head)
    append_member_event(store, "ana", "proposal_opened", PROPOSAL, via="member_key", signature=signature)
    report = verify_events(read_events(store))
    assert report.faults == []
    assert report.vouched["signed by ana"] == 1


@pytest.mark.parametrize("wrong", ["body", "kind", "by", "head", "key of another", "lost", "unknown key", "bits", "no base64"])
def test_a_signature_that_does_not_fit_never_gets_into_the_ledger(store: FolderStore, wrong: str) -> None:
    key, other = register(store, "ana"), register(store, "ben")
    head = open_ledger(store).read_state().head
    signature = sign(key, "proposal_opened", "ana", PROPOSAL, head)
    if wrong == "body":
        signature = sign(key, "proposal_opened", "ana", {**PROPOSAL, "title": "Sell filters"}, head)
    elif wrong == "kind":
        signature = sign(key, "vote_cast", "ana", PROPOSAL, head)
    elif wrong == "by":
        signature = sign(key, "proposal_opened", "ben", PROPOSAL, head)
    elif wrong == "head":
        signature = sign(key, "proposal_opened", "ana", PROPOSAL, "5" * 64)
    elif wrong == "key of another":
        signature = sign(other, "proposal_opened", "ana", PROPOSAL, head)
    elif wrong == "unknown key":
        signature = sign(generate_key(), "proposal_opened", "ana", PROPOSAL, head)
    elif wrong == "bits":
        signature = signature.model_copy(update={"value": base64.b64encode(bytes(64)).decode()})
    elif wrong == "no base64":
        signature = signature.model_copy(update={"value": "not base64"})
    elif wrong == "lost":
        append_member_event(store, "ana", "member_key_lost", {"key_id": key.id})
        append_member_event(store, "ben", "key_loss_confirmed", {"key_id": key.id})
    number = open_ledger(store).read_state().number
    with pytest.raises(GovernanceError):
        append_member_event(store, "ana", "proposal_opened", PROPOSAL, via="member_key", signature=signature)
    assert open_ledger(store).read_state().number == number
    assert verify_events(read_events(store)).is_sound


def test_a_lost_key_ends_when_another_member_confirms_it_and_not_before(store: FolderStore) -> None:
    key, body = register(store, "ana"), dict[str, str]()
    body["key_id"] = key.id
    with pytest.raises(GovernanceError, match="nobody waits"):  # nobody ends the key of another one unasked
        append_member_event(store, "ben", "key_loss_confirmed", body)
    with pytest.raises(GovernanceError, match="ben has no key"):
        append_member_event(store, "ben", "member_key_lost", body)
    append_member_event(store, "ana", "member_key_lost", body)
    with pytest.raises(GovernanceError, match="said already"):
        append_member_event(store, "ana", "member_key_lost", body)
    with pytest.raises(GovernanceError, match="another member"):
        append_member_event(store, "ana", "key_loss_confirmed", body)
    with pytest.raises(GovernanceError, match="no member"):
        append_member_event(store, "mallory", "key_loss_confirmed", body)
    head = open_ledger(store).read_state().head
    append_member_event(store, "ana", "proposal_opened", PROPOSAL, signature=sign(key, "proposal_opened", "ana", PROPOSAL, head))
    number = append_member_event(store, "ben", "key_loss_confirmed", body)
    assert open_ledger(store).read_state().member_keys[key.id].revoked == number
    with pytest.raises(GovernanceError, match="no key of ana that counts"):
        append_member_event(
            store, "ana", "proposal_opened", PROPOSAL, signature=sign(key, "proposal_opened", "ana", PROPOSAL, head)
        )
    with pytest.raises(GovernanceError, match="ana has no key"):
        append_member_event(store, "ana", "member_key_lost", body)
    report = verify_events(read_events(store))
    assert report.faults == []
    assert report.vouched["signed by ana"] == 1
