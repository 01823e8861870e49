"""The ledger: nothing is lost, what was changed is found and named, and every reader folds the same state."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotune.errors import GovernanceError, LedgerError, SettingsError
from audiotune.governance import Consent, publish_agreement, record_consent, require_permission
from audiotune.governance.consent import record_consents
from audiotune.governance.ledger import events as ledger_events
from audiotune.governance.ledger import ledger as ledger_module
from audiotune.governance.ledger.agreement_events import AgreementSigned
from audiotune.governance.ledger.event_draft import EventDraft
from audiotune.governance.ledger.events import (
    MemberSignature,
    build_statement,
    canonicalize,
    compute_event_digest,
    event_key,
    parse_event,
)
from audiotune.governance.ledger.key_events import MemberKeyRegistered, MemberKeyRevoked
from audiotune.governance.ledger.keys import generate_key, load_key_file, parse_key
from audiotune.governance.ledger.ledger import Ledger, open_ledger
from audiotune.governance.ledger.record_events import ConsentsRecorded
from audiotune.governance.ledger.snapshots import SNAPSHOT_EVERY, read_snapshot, write_snapshot
from audiotune.governance.ledger.state import ServiceKey, dump_state, parse_state
from audiotune.governance.ledger.verification import LedgerReport, read_events, verify_events
from audiotune.store import FolderStore
from tests.fakes.described_store import PEOPLE, agreement, digest
from tests.fakes.layout_store import LayoutStore
from tests.fakes.memory_store import MemoryStore

TAKE = digest("take")


def consent(who: str, take: str = TAKE) -> Consent:
    return Consent(recording=take, contributor=who, uses=("store", "train"), basis='says "yes", müde', agreement="0" * 64)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """Six events: opened, put in force, the agreement, and three consents."""
    store = LayoutStore(tmp_path / "store")
    publish_agreement(store, agreement())
    for who in PEOPLE[:3]:
        record_consent(store, consent(who))
    return store


def check(store: FolderStore, seen: str = "") -> LedgerReport:
    return verify_events(read_events(store), seen)


def test_a_sound_ledger(store: FolderStore) -> None:
    report = check(store)
    assert report.faults == []
    assert (report.number, report.head) == (6, open_ledger(store).read_state().head)
    assert report.vouched == {
        "by the service itself": 1,
        "taken over from earlier records": 1,
        "on the word of an operator's command": 4,
    }
    assert report.notices == [
        f"event 1: the service's key {parse(store, 1).signatures.service.key} introduced itself, as the first one does"
    ]
    assert check(store, report.head).is_sound


def parse(store: FolderStore, number: int) -> ledger_events.LedgerEvent:
    return parse_event(store.get(event_key(number)), event_key(number))


def rewrite(store: FolderStore, number: int, change: Callable[[dict[str, object]], None]) -> None:
    data = json.loads(store.get(event_key(number)))
    change(data)
    store.put(event_key(number), canonicalize(data))


def edit_uses(event: dict[str, object]) -> None:
    event["body"]["records"][0]["uses"] = ["store", "train", "generate"]  # type: ignore[index]


def edit_number(event: dict[str, object]) -> None:
    event["number"] = 9


@pytest.mark.parametrize("number", [4, 5, 6])
def test_a_changed_event_is_found(store: FolderStore, number: int) -> None:
    rewrite(store, number, edit_uses)
    (fault,) = check(store).faults
    named = number if number == 6 else number + 1  # the next one does not fit what was changed; the last one has a signature
    assert f"event {named}" in fault
    with pytest.raises(LedgerError):
        require_permission(FolderStore(store.root), "generate", {TAKE: ["ana"]})


@pytest.mark.parametrize(
    "change", ["cut in the middle", "reordered", "doubled", "number", "not canonical", "stray", "cut at the end"]
)
def test_a_ledger_that_was_cut_or_reordered_is_found(store: FolderStore, change: str) -> None:
    head, third, fourth = check(store).head, store.get(event_key(3)), store.get(event_key(4))
    if change == "cut in the middle":
        store.delete(event_key(4))
    elif change == "reordered":
        store.put(event_key(3), fourth)
        store.put(event_key(4), third)
    elif change == "doubled":
        store.put(event_key(7), store.get(event_key(6)))
    elif change == "number":
        rewrite(store, 4, edit_number)
    elif change == "not canonical":
        store.put(event_key(6), json.dumps(json.loads(store.get(event_key(6))), indent=1).encode())
    elif change == "stray":
        store.put("governance/ledger/0000000007.json.bak", b"x")
    else:
        store.delete(event_key(6))
    report = check(store, head)
    assert len(report.faults) >= 1
    expected = {
        "cut in the middle": "event 4 is missing",
        "reordered": "event 3: event 4 does not follow event 2",
        "doubled": "event 7: event 6 does not follow event 6",
        "number": "event 4: event 9 does not follow event 3",
        "not canonical": "event 6: it is not in its canonical form",
        "stray": "governance/ledger/0000000007.json.bak belongs to no event",
        "cut at the end": f"the event {head[:16]}… that was once seen is not in it",
    }[change]
    assert expected in report.faults[-1] or expected in report.faults[0]
    assert check(store).is_sound == (change == "cut at the end")  # only who saw the head can tell


def test_a_forged_event_of_a_writer_of_the_store_counts_nowhere(store: FolderStore) -> None:
    """They may write objects, but have no key of the service."""
    state, theirs = open_ledger(store).read_state(), generate_key()
    body = ConsentsRecorded(records=(consent("dee"),)).model_dump(mode="json")
    forged = ledger_events.sign_event(
        theirs, number=7, previous=state.head, time="2026-01-01", kind="consents_recorded", by="dee", via="sign_in", body=body
    )
    store.put(event_key(7), forged.to_bytes())
    with pytest.raises(LedgerError, match="event 7 is not signed by the service"):
        FolderStoreLedger(store)
    assert any("which nobody introduced" in fault for fault in check(store).faults)
    stolen_id = parse(store, 6).signatures.service.key
    signatures = forged.signatures.model_copy(update={"service": forged.signatures.service.model_copy(update={"key": stolen_id})})
    store.put(event_key(7), forged.model_copy(update={"signatures": signatures}).to_bytes())
    with pytest.raises(LedgerError, match="event 7 is not signed by the service"):
        FolderStoreLedger(store)
    assert check(store).faults == ["event 7 is not signed by the service: it was written by somebody else"]


def FolderStoreLedger(store: FolderStore) -> object:
    return Ledger(FolderStore(store.root)).read_state()


def test_a_key_that_introduces_itself_is_told(store: FolderStore) -> None:
    """Another machine on the same store, or a thief: a member asks who it was."""
    Ledger(store, generate_key()).append(
        lambda state: EventDraft("consents_recorded", ConsentsRecorded(records=(consent("dee"),)))
    )
    report = check(store)
    assert report.is_sound
    assert any(notice.startswith("event 7: the service's key") and "introduced itself" in notice for notice in report.notices)


def test_a_rotated_key_is_introduced_by_the_older_one(store: FolderStore) -> None:
    older = parse_key("a key for tests and for nothing else", "here")
    rotated = Ledger(store, generate_key(), [older])
    rotated.append(lambda state: EventDraft("consents_recorded", ConsentsRecorded(records=(consent("dee"),))))
    report = check(store)
    assert (report.is_sound, report.number) == (True, 8)
    assert len(report.notices) == 1  # the first key alone
    assert FolderStoreLedger(store) == rotated.read_state()


class TestMemberKeys:
    def register(self, store: FolderStore, who: str = "ana"):  # type: ignore[no-untyped-def]
        key = generate_key()
        body = MemberKeyRegistered(key=key.public.hex(), label="phone")
        open_ledger(store).append(lambda state: EventDraft("member_key_registered", body, who, "sign_in"))
        return key

    def sign(self, store: FolderStore, key, kind: str, by: str, body):  # type: ignore[no-untyped-def]
        head = open_ledger(store).read_state().head
        value = key.sign(build_statement(kind, by, body.model_dump(mode="json", exclude_defaults=True), head))
        return MemberSignature(key=key.id, value=base64.b64encode(value).decode(), head=head)

    def test_a_member_signs(self, store: FolderStore) -> None:
        key = self.register(store)
        body = AgreementSigned(agreement=agreement().digest)
        signature = self.sign(store, key, "agreement_signed", "ana", body)
        open_ledger(store).append(lambda state: EventDraft("agreement_signed", body, "ana", "member_key", signature))
        report = check(store)
        assert report.faults == []
        assert report.vouched["signed by ana"] == 1
        assert open_ledger(store).read_state().signatures == {agreement().digest: {"ana": 8}}

    def test_a_signature_over_something_else_is_named(self, store: FolderStore) -> None:
        key = self.register(store)
        said = self.sign(store, key, "consents_recorded", "ana", ConsentsRecorded(records=(consent("ana"),)))
        other = ConsentsRecorded(records=(consent("ana", digest("other")),))
        open_ledger(store).append(lambda state: EventDraft("consents_recorded", other, "ana", "member_key", said))
        assert check(store).faults == ["event 8: it is not signed by ana, though it says so"]

    def test_a_key_of_somebody_else_is_named(self, store: FolderStore) -> None:
        key = self.register(store, "ben")
        body = ConsentsRecorded(records=(consent("ana"),))
        signature = self.sign(store, key, "consents_recorded", "ana", body)
        open_ledger(store).append(lambda state: EventDraft("consents_recorded", body, "ana", "member_key", signature))
        assert "no key of ana that counts" in check(store).faults[0]

    def test_a_lost_key_ends_by_two_members(self, store: FolderStore) -> None:
        key, ledger = self.register(store), open_ledger(store)
        for by, confirmed_by in (("ana", "ana"), ("ben", "ana"), ("ana", "nobody")):
            body = MemberKeyRevoked(key_id=key.id, confirmed_by=confirmed_by)
            with pytest.raises(GovernanceError):
                ledger.append(lambda state, by=by, body=body: EventDraft("member_key_revoked", body, by, "sign_in"))  # type: ignore[misc]
        body = MemberKeyRevoked(key_id=key.id, confirmed_by="ben")
        ledger.append(lambda state: EventDraft("member_key_revoked", body, "ana", "sign_in"))
        assert ledger.read_state().member_keys[key.id].revoked == 8
        said = ConsentsRecorded(records=(consent("ana"),))
        signature = self.sign(store, key, "consents_recorded", "ana", said)
        ledger.append(lambda state: EventDraft("consents_recorded", said, "ana", "member_key", signature))
        assert "no key of ana that counts" in check(store).faults[0]


def test_only_the_agreement_in_force_is_signed(store: FolderStore) -> None:
    body, old = AgreementSigned(agreement=agreement().digest), open_ledger(store)
    publish_agreement(store, agreement().model_copy(update={"version": 2}))
    with pytest.raises(GovernanceError, match="another version"):
        old.append(lambda state: EventDraft("agreement_signed", body, "ana", "sign_in"))
    now = AgreementSigned(agreement=agreement().model_copy(update={"version": 2}).digest)
    with pytest.raises(GovernanceError, match="no member"):
        old.append(lambda state: EventDraft("agreement_signed", now, "eve", "sign_in"))


def test_an_event_that_breaks_a_rule_changes_nothing(store: FolderStore) -> None:
    """A program without the check wrote it, with the service's key."""
    key = parse_key("a key for tests and for nothing else", "here")
    state = open_ledger(store).read_state()
    body = AgreementSigned(agreement=digest("another")).model_dump(mode="json")
    event = ledger_events.sign_event(
        key, number=7, previous=state.head, time="x", kind="agreement_signed", by="ana", via="sign_in", body=body
    )
    store.put(event_key(7), event.to_bytes())
    after = open_ledger(store).read_state()
    assert (after.number, after.signatures) == (7, {})
    assert after.rejected == [(7, "another version of the agreement is in force by now")]
    assert "event 7 changed nothing" in check(store).notices[-1]


def test_an_event_of_a_newer_program_closes_the_gates(store: FolderStore) -> None:
    key = parse_key("a key for tests and for nothing else", "here")
    state = open_ledger(store).read_state()
    event = ledger_events.sign_event(key, number=7, previous=state.head, time="x", kind="party", by="", via="service", body={})
    store.put(event_key(7), event.to_bytes())
    with pytest.raises(LedgerError, match="upgrade this one|Upgrade|newer program"):
        require_permission(store, "generate", {TAKE: ["ana"]})


def test_eight_writers_lose_no_event() -> None:
    store = MemoryStore()
    publish_agreement(store, agreement())

    def write(number: int) -> None:
        ledger = Ledger(store)  # a process of its own
        for i in range(6):
            body = ConsentsRecorded(records=(consent("ana", digest(f"{number} {i}")),))
            ledger.append(lambda state, body=body: EventDraft("consents_recorded", body))  # type: ignore[misc]

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = Ledger(store).read_state()
    assert set(state.consents) == {digest(f"{number} {i}") for number in range(8) for i in range(6)}
    assert verify_events(read_events(store)).is_sound


def test_a_snapshot_saves_time_and_decides_nothing(store: FolderStore) -> None:
    record_consents(store, [consent("dee", digest(str(i))) for i in range(5)])
    for i in range(SNAPSHOT_EVERY - 7):
        record_consent(store, consent("dee", digest(f"more {i}")))
    (snapshot,) = store.list("governance/snapshots/")
    assert snapshot.key == f"governance/snapshots/{SNAPSHOT_EVERY:010d}.json"
    whole = open_ledger(store).read_state()
    assert Ledger(store).read_state() == whole
    for number in range(1, SNAPSHOT_EVERY - 3):  # read from the snapshot: older events are not asked for
        store.delete(event_key(number))
    assert Ledger(store).read_state() == whole
    store.delete(event_key(SNAPSHOT_EVERY))
    with pytest.raises(LedgerError, match="event 1 is missing"):  # the snapshot fits no event, so it is passed over
        Ledger(store).read_state()


@pytest.mark.parametrize(
    "forgery", ["unsigned", "with an old signature", "with a key of theirs", "with a key under another's name"]
)
def test_a_forged_snapshot_counts_nowhere(store: FolderStore, forgery: str) -> None:
    """Who may write into the store drops what was withdrawn; the event that it names is a real one."""
    whole, theirs = open_ledger(store).read_state(), generate_key()
    record_consent(store, consent("ana").model_copy(update={"uses": ()}))
    withdrawn = open_ledger(store).read_state()
    forged = withdrawn.copy()
    forged.consents = whole.consents
    signer = parse(store, withdrawn.number).signatures.service.key
    key = f"governance/snapshots/{withdrawn.number:010d}.json"
    if forgery == "unsigned":
        store.put(key, dump_state(forged))
    elif forgery == "with an old signature":
        write_snapshot(store, withdrawn, open_ledger(store)._require_key(withdrawn))
        store.put(key, store.get(key).partition(b"\n")[0] + b"\n" + dump_state(forged))
    else:
        their_id = theirs.id if forgery == "with a key of theirs" else signer
        forged.service_keys[their_id] = ServiceKey(public=theirs.public.hex(), introduced_by=their_id, number=1)
        write_snapshot(store, forged, theirs)
        store.put(key, store.get(key).replace(theirs.id.encode(), their_id.encode(), 1))
    assert Ledger(store).read_state() == withdrawn


def test_a_snapshot_is_of_its_event_though_others_follow(store: FolderStore) -> None:
    """Another key signs the next event while the snapshot is written."""
    state = open_ledger(store).read_state()
    write_snapshot(store, state, open_ledger(store)._require_key(state))
    Ledger(store, generate_key()).append(
        lambda state: EventDraft("consents_recorded", ConsentsRecorded(records=(consent("dee"),)))
    )
    assert read_snapshot(store) == state
    assert Ledger(store).read_state().number == 8


@pytest.mark.parametrize("left", [0, 1, 200])
def test_an_event_that_was_half_written_closes_the_ledger_and_is_named(store: FolderStore, left: int) -> None:
    """The store writes whole objects; a disk that lost its end is found, and nothing is appended behind it."""
    number = open_ledger(store).read_state().number
    key, other = event_key(number), generate_key()
    store.put(key, store.get(key)[:left])
    for work in (lambda: Ledger(store).read_state(), lambda: Ledger(store, other).append(lambda state: None)):
        with pytest.raises(LedgerError, match="cannot be read") as found:
            work()
        assert key in str(found.value)
        assert "Restore the object's earlier content" in str(found.value)
    assert any(f"event {number}" in fault for fault in verify_events(read_events(store)).faults)
    assert not store.exists(event_key(number + 1))


def test_nobody_reads_over_a_lost_event(store: FolderStore) -> None:
    """A withdrawal behind the gap would be lost with it: who starts anew reads nothing, and says which event is missing."""
    record_consent(store, consent("ana").model_copy(update={"uses": ()}))
    store.delete(event_key(5))
    for act in (lambda ledger: ledger.read_state(), lambda ledger: ledger.append(lambda state: None)):
        with pytest.raises(LedgerError, match="event 5 is missing"):
            act(Ledger(FolderStore(store.root)))
    assert not store.exists(event_key(5))


@pytest.mark.parametrize("act", ["read", "append"])
def test_a_running_reader_notices_an_event_that_was_deleted_before_it_came_to_it(
    store: FolderStore, monkeypatch: Any, act: str
) -> None:
    """A reader that waits for event 7 would never see the withdrawal in event 8, and a writer would fill the gap."""
    running, writer = Ledger(FolderStore(store.root)), Ledger(store)
    before = running.read_state()
    for take in ("another", "a third"):
        body = ConsentsRecorded(records=(consent("ana", digest(take)),))
        writer.append(lambda state, body=body: EventDraft("consents_recorded", body))
    lost = store.get(event_key(7))
    store.delete(event_key(7))
    assert running.read_state() == before, "between two looks nobody can know"
    if act == "read":
        monkeypatch.setattr(ledger_module, "LOOK_EVERY_S", 0.0)
    for _ in range(2):
        with pytest.raises(LedgerError, match="event 7 is missing"):
            running.read_state() if act == "read" else running.append(
                lambda state: EventDraft("consents_recorded", ConsentsRecorded(records=(consent("dee"),)))
            )
        assert not store.exists(event_key(7))
    store.put(event_key(7), lost)
    assert running.read_state().number == 8


def test_an_event_that_arrives_during_a_look_is_not_missing(store: FolderStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(ledger_module, "LOOK_EVERY_S", 0.0)
    running, find = Ledger(FolderStore(store.root)), Ledger._find_newest

    def find_and_append(self: Ledger, known: Any) -> str:
        found = find(self, known)
        if known is not None:
            Ledger(store).append(lambda state: EventDraft("consents_recorded", ConsentsRecorded(records=(consent("dee"),))))
        return found

    running.read_state()
    running._find_newest = find_and_append.__get__(running)  # type: ignore[method-assign]
    assert running.read_state().number == 7


def test_a_state_is_read_as_it_was_written(store: FolderStore) -> None:
    TestMemberKeys().register(store)
    state = open_ledger(store).read_state()
    assert parse_state(dump_state(state)) == state


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PEOPLE), st.integers(0, 5), st.integers(1, 3)), max_size=25), st.integers(0, 25))
def test_every_reader_folds_the_same_state(said: list[tuple[str, int, int]], middle: int) -> None:
    store = MemoryStore()
    publish_agreement(store, agreement())
    early = Ledger(store)
    for number, (who, take, _) in enumerate(said):
        if number == middle:
            early.read_state()
        record_consent(store, consent(who, digest(str(take))))
    assert early.read_state() == Ledger(store).read_state() == open_ledger(store).read_state()


def test_the_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    made = load_key_file(tmp_path / "config" / "key")
    assert (tmp_path / "config" / "key").stat().st_mode & 0o777 == 0o600
    assert load_key_file(tmp_path / "config" / "key") == made
    assert made.private.hex() not in repr(made)


@pytest.mark.parametrize("text", ["", "x", "a" * 31, " " * 40])
def test_a_text_that_is_no_key(text: str) -> None:
    with pytest.raises(SettingsError, match="no key of the ledger"):
        parse_key(text, "AUDIOTUNE_GOVERNANCE_LEDGER_KEY")


@pytest.mark.parametrize(
    ("data", "canonical"),
    [
        (b'{"a":"x.y","b":1}', True), (b'{"b":1,"a":2}', False), (b'{"a":1.0}', False), (b'{"a":1.5}', True),
        ('{"ä":1}'.encode(), True), (b'{"a":"\\u00e4"}', False), (b'{"a": 1}', False), (b'{"a":1e5}', False), (b"", False),
        (b'{"a":"\\"1.5\\""}', True),
    ],
)  # fmt: skip
def test_the_canonical_form(data: bytes, canonical: bool) -> None:
    assert ledger_events.is_canonical(data) == canonical
    assert not canonical or canonicalize(json.loads(data)) == data


def test_digests_chain(store: FolderStore) -> None:
    assert parse(store, 5).previous == compute_event_digest(store.get(event_key(4)))
