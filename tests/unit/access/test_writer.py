"""Writing of accounts, identities and tokens: who proves what, and which proofs are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from audiotune.access import accounts, identities, tokens
from audiotune.access.tickets import FRESH_S, LIFE_S, TicketSigner
from audiotune.access.writer import StoreAccessWriter
from audiotune.domain.manifest import Manifest
from audiotune.errors import AccessError, ForbiddenError
from audiotune.governance import publish_agreement, read_consents
from audiotune.governance.consent import record_standing_consents
from audiotune.governance.ledger.events import event_key, parse_event
from audiotune.governance.ledger.fold import KINDS
from audiotune.governance.ledger.keys import generate_key
from audiotune.store import FolderStore
from tests.fakes.clock import Clock
from tests.fakes.seeded_store import agreement, seed

PASSWORD = "patch cables"
RECORDING = "ab" * 32


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    publish_agreement(made, agreement())
    accounts.create_account(made, "ana", PASSWORD, "owner", work=1)
    accounts.create_account(made, "ben", PASSWORD, work=1)
    return made


@pytest.fixture
def access(store: FolderStore, clock: Clock) -> StoreAccessWriter:
    return StoreAccessWriter(store, now=clock)


def sign_in(access: StoreAccessWriter, member: str, password: str = PASSWORD) -> str:
    found = access.verify_password(member, password)
    assert found is not None
    return found.ticket


def test_only_a_right_password_gives_a_ticket(access: StoreAccessWriter) -> None:
    assert access.verify_password("ana", "a guess at it") is None
    assert access.verify_password("zoe", PASSWORD) is None
    assert access.issue_token(sign_in(access, "ana"), ["generate"], 1)


@pytest.mark.parametrize("change", ["member", "time", "signature", "kind", "nothing"])
def test_a_ticket_that_somebody_wrote_is_refused(access: StoreAccessWriter, change: str) -> None:
    member, made, kind, signature = sign_in(access, "ben").split(".")
    forged = {
        "member": f"ana.{made}.{kind}.{signature}",
        "time": f"{member}.{int(made) + 9}.{kind}.{signature}",
        "signature": f"{member}.{made}.{kind}.{'0' * 64}",
        "kind": f"{member}.{made}.provider.{signature}",
        "nothing": "",
    }[change]
    with pytest.raises(AccessError, match="signed in here"):
        access.issue_token(forged, ["generate"], 1)


def test_without_an_account_no_ticket_counts_whatever_was_signed() -> None:
    signer = TicketSigner(b"a key")
    ticket = signer.sign("ben", "")  # of a member who had no password
    assert signer.check(ticket, lambda _: "").member == "ben"
    with pytest.raises(AccessError, match="no longer signed in"):
        signer.check(ticket, lambda _: None)


def test_another_process_does_not_know_the_ticket_unless_it_has_the_key(store: FolderStore) -> None:
    ticket = sign_in(StoreAccessWriter(store, key="one key of ours"), "ana")
    assert StoreAccessWriter(store, key="one key of ours").issue_password(ticket, "ben")
    for key in ("another key", ""):
        with pytest.raises(AccessError):
            StoreAccessWriter(store, key=key).issue_password(ticket, "ben")


def test_a_ticket_ends_by_time_and_by_a_new_password(access: StoreAccessWriter, clock: Clock) -> None:
    here, elsewhere = sign_in(access, "ben"), sign_in(access, "ben")
    with pytest.raises(AccessError, match="not right"):
        access.change_password(here, "a guess at it", "ring modulator")
    changed = access.change_password(here, PASSWORD, "ring modulator")
    for old in (here, elsewhere):
        with pytest.raises(AccessError, match="no longer signed in"):
            access.issue_token(old, ["generate"], 1)
    assert access.issue_token(changed.ticket, ["generate"], 1)
    clock.now += LIFE_S + 1
    with pytest.raises(AccessError, match="no longer signed in"):
        access.issue_token(changed.ticket, ["generate"], 1)


def test_only_owners_who_signed_in_just_now_act_on_others(access: StoreAccessWriter, store: FolderStore, clock: Clock) -> None:
    owner = sign_in(access, "ana")
    for ticket, words in ((sign_in(access, "ben"), "only owners"), (f"{owner[:-1]}x", "signed in here")):
        with pytest.raises(AccessError, match=words):
            access.issue_password(ticket, "ana")
        with pytest.raises(AccessError, match=words):
            access.add_identity(ticket, "ana", "ben@band.example")
        with pytest.raises(AccessError, match=words):
            access.remove_identity(ticket, "ana@band.example")
    assert accounts.verify_password(store, "ben", access.issue_password(owner, "ben"))
    clock.now += FRESH_S + 1
    with pytest.raises(AccessError, match="last 15 minutes"):
        access.issue_password(owner, "ben")
    assert access.issue_token(owner, ["generate"], 1)


def test_a_ticket_of_a_provider_ends_when_the_provider_calls_the_member_otherwise(
    access: StoreAccessWriter, store: FolderStore, clock: Clock
) -> None:
    identities.add_identity(store, "ana", "ana@band.example")
    ticket = access.vouch_for("ana")
    assert tokens.check_token(store, access.issue_token(ticket, ["generate"], 1), "generate").member == "ana"
    access.add_identity(ticket, "ben", "ben@band.example")  # an owner's act
    clock.now += FRESH_S + 1
    with pytest.raises(AccessError, match="last 15 minutes"):
        access.remove_identity(ticket, "ben@band.example")
    assert access.issue_token(ticket, ["generate"], 1)
    identities.remove_identity(store, "ana@band.example")
    with pytest.raises(AccessError, match="no longer signed in"):
        access.issue_token(ticket, ["generate"], 1)


def test_members_tokens_are_their_own_and_generate(access: StoreAccessWriter, store: FolderStore) -> None:
    ana, ben = sign_in(access, "ana"), sign_in(access, "ben")
    with pytest.raises(ForbiddenError, match="generate and read"):
        access.issue_token(ana, ["admin"], 1)
    id = access.issue_token(ana, ["generate"], 1, "sampler").split("_")[1]
    with pytest.raises(AccessError, match="one of your tokens"):
        access.revoke_token(ben, id)
    access.revoke_token(ana, id)
    assert [token.revoked is not None for token in tokens.list_tokens(store)] == [True]


def test_who_left_or_is_no_member_gets_no_token(access: StoreAccessWriter, store: FolderStore) -> None:
    accounts.create_account(store, "mallory", PASSWORD, work=1)
    ben, mallory = sign_in(access, "ben"), sign_in(access, "mallory")
    group = agreement()
    members = tuple(m.model_copy(update={"left": m.id == "ben"}) for m in group.members)
    publish_agreement(store, group.model_copy(update={"version": group.version + 1, "members": members}))
    with pytest.raises(ForbiddenError, match="left the group"):
        access.issue_token(ben, ["generate"], 1)
    with pytest.raises(AccessError, match="no member of the agreement"):
        access.issue_token(mallory, ["generate"], 1)


def test_a_member_takes_back_their_own_consent_only(access: StoreAccessWriter, store: FolderStore) -> None:
    record_standing_consents(store, agreement(), RECORDING, ["ana", "ben"])
    access.record_consent(sign_in(access, "ben"), RECORDING, ())
    newest = read_consents(store, [RECORDING])
    assert (newest[RECORDING, "ben"].uses, newest[RECORDING, "ben"].basis) == ((), "studio, signed in as ben")
    assert newest[RECORDING, "ana"].uses == agreement().members[0].consents_to


def test_nobody_closes_the_gates_for_a_recording_that_does_not_name_them(tmp_path: Path, clock: Clock) -> None:
    group = seed(tmp_path / "seeded", segments_each=1, segment_s=0.3)
    access = StoreAccessWriter(group.store, now=clock)
    own, others = group.recordings[0].id, group.recordings[1].id  # ana and ben; chi
    for recording in (others, "cd" * 32):
        with pytest.raises(ForbiddenError, match="not named as a player"):
            access.record_consent(access.vouch_for("ana"), recording, ())
    assert access.record_consent(access.vouch_for("ana"), own, ("store",)).uses == ("store",)
    unrecorded = group.recordings[0].model_copy(update={"id": "ef" * 32})
    Manifest("recordings", [unrecorded], {}).save(group.store)
    assert access.record_consent(access.vouch_for("ana"), unrecorded.id, ("store",)).uses == ("store",)  # the manifest names her


def test_only_an_owner_of_the_group_decides_who_is_heard(access: StoreAccessWriter, store: FolderStore) -> None:
    record_standing_consents(store, agreement(), RECORDING, ["ana", "ben"])
    accounts.create_account(store, "keeper", PASSWORD, "owner", work=1)  # an owner whom the agreement does not name
    for member, words in (("ben", "only owners"), ("keeper", "no member of the agreement")):
        with pytest.raises(AccessError, match=words):
            access.record_decision(sign_in(access, member), RECORDING, ["ana"], "a mix-up of takes")
    access.record_decision(sign_in(access, "ana"), RECORDING, ["ana"], "a mix-up of takes")
    assert read_consents(store, [RECORDING])[RECORDING, "ben"].heard is False


def test_an_act_of_a_member_is_said_by_who_signed_in(access: StoreAccessWriter, store: FolderStore, clock: Clock) -> None:
    ben, opened = sign_in(access, "ben"), {"kind": "other", "title": "Buy filters", "rule": {}}
    number = access.record_event(ben, "proposal_opened", opened)
    event = parse_event(store.get(event_key(number)), "")
    assert (event.kind, event.by, event.via) == ("proposal_opened", "ben", "sign_in")
    with pytest.raises(ForbiddenError, match="no act of a member"):
        access.record_event(ben, "consents_recorded", {})
    with pytest.raises(AccessError, match="only owners"):
        access.record_event(ben, "agreement_published", {"agreement": agreement().model_dump(mode="json")})
    with pytest.raises(AccessError, match="not signed in"):
        access.record_event("ben", "proposal_opened", opened)
    key = {"key": generate_key().public.hex()}
    clock.now += FRESH_S + 1
    with pytest.raises(AccessError, match="last 15 minutes"):  # a key speaks for the member ever after
        access.record_event(ben, "member_key_registered", key)
    assert access.record_event(ben, "vote_cast", {"proposal": number, "choice": "yes"})
    assert access.record_event(sign_in(access, "ben"), "member_key_registered", key)


def test_what_cannot_be_undone_asks_for_a_sign_in_just_now(access: StoreAccessWriter, clock: Clock) -> None:
    ben = sign_in(access, "ben")
    clock.now += FRESH_S + 1
    for kind, body in (("withdrawal_recorded", {"erase": "recordings"}), ("member_left", {})):
        with pytest.raises(AccessError, match="last 15 minutes"):
            access.record_event(ben, kind, body)
    assert access.record_event(ben, "withdrawal_recorded", {})  # closes every gate at once, and can be given again
    assert access.record_event(sign_in(access, "ben"), "withdrawal_recorded", {"erase": "recordings"})


def test_an_act_of_an_owner_asks_for_an_owner_who_signed_in_just_now(
    access: StoreAccessWriter, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners_only = dataclasses.replace(KINDS["vote_cast"], said_by="owner", apply=lambda state, event, body: None)
    monkeypatch.setitem(KINDS, "vote_cast", owners_only)  # type: ignore[arg-type]
    act = ("vote_cast", {"proposal": 1, "choice": "yes"})
    with pytest.raises(AccessError, match="only owners"):
        access.record_event(sign_in(access, "ben"), *act)
    owner = sign_in(access, "ana")
    assert access.record_event(owner, *act)
    clock.now += FRESH_S + 1
    with pytest.raises(AccessError, match="last 15 minutes"):
        access.record_event(owner, *act)
