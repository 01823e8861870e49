"""No history of records lets somebody without live consent through a gate."""

from __future__ import annotations

import hashlib
import os
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotune.domain.dataset import UsedRecording
from audiotune.domain.frozen_model import FrozenModel
from audiotune.errors import AgreementError, ConsentError, GovernanceError
from audiotune.governance import Consent, Member, publish_agreement, read_consents, read_current_agreement, record_decision
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.governance.consent import record_consents, record_standing_consents
from audiotune.governance.decisions import cast_vote, open_proposal, read_proposals
from audiotune.governance.ledger.consent_events import ConsentGiven, ConsentNarrowed
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.keys import SigningKey, key_from_bytes, load_signing_keys
from audiotune.governance.ledger.ledger import Ledger, open_ledger
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.governance.ledger.withdrawal_events import WithdrawalRecorded
from audiotune.governance.member_acts import append_member_event, sign_act
from audiotune.governance.policy import REQUIRED_USES, Gate, require_permission
from audiotune.governance.waiting import hold_recording
from audiotune.governance.waiting_record import is_unanswered
from audiotune.governance.waiting_upkeep import end_due_waiting
from audiotune.governance.withdrawal_record import Erasure
from audiotune.governance.writer import StoreGovernanceWriter
from audiotune.withdrawal.erasure import erase_withdrawn, list_due_erasures
from tests.fakes.described_store import PEOPLE, agreement, digest
from tests.fakes.memory_registry import MemoryRegistry
from tests.fakes.memory_store import MemoryStore

HISTORIES = int(os.environ.get("AUDIOTUNE_TEST_HISTORIES", "120"))
TAKES = tuple(digest(name) for name in ("one", "two", "three"))
GATES: tuple[Gate, ...] = ("ingest", "annotate_merge", "register", "generate", "publish", "earn")
USED_S = (0, 3)  # seconds of each take that a dataset uses
SOON, LATER = timedelta(hours=1), timedelta(hours=2)  # words end soon; gates are asked now and later

_take, _who = st.sampled_from(TAKES), st.sampled_from(PEOPLE)
_takes = st.lists(_take, unique=True).map(tuple)
_uses = st.lists(st.sampled_from(ALL_USES), unique=True).map(tuple)
_people = st.lists(_who, min_size=1, unique=True).map(tuple)
_earlier = st.lists(st.tuples(_take, _who, _uses), max_size=4)  # said with 0.2, before the ledger
_events = st.one_of(
    st.tuples(st.just("say"), _take, _who, _uses, st.integers(-5000, 5000)),
    st.tuples(st.just("bring"), _take, _people, st.lists(_take, unique=True).map(tuple)),
    st.tuples(st.just("hold"), _take, _people),
    st.tuples(st.just("answer"), _take, _who, _uses),
    st.tuples(st.just("tend")),
    st.tuples(st.just("decide"), _take, _people),
    st.tuples(st.just("stray"), _take, _who),
    st.tuples(st.just("leave"), _who),
    st.tuples(st.just("exclude"), _who),
    st.tuples(st.just("write"), st.booleans()),
    st.tuples(st.just("take_in"), _who),
    st.tuples(st.just("withdraw"), _who, _takes, _uses, st.booleans(), st.booleans()),
    st.tuples(st.just("give"), _who, _takes, _uses, st.sampled_from(["", "ends", "endless"]), st.booleans()),
    st.tuples(st.just("narrow"), _who, _takes, _uses, st.booleans(), st.booleans()),
    st.tuples(st.just("erase")),
    st.tuples(st.just("leave_out"), _take, _who, st.integers(0, 5), st.booleans()),
    st.tuples(st.just("expel"), _who),
    st.tuples(st.just("key"), _who),
    st.tuples(st.just("lose"), _who),
    st.tuples(st.just("confirm"), _who, _who),
    st.tuples(st.just("revoke"), _who, _who),
    st.tuples(st.just("forge"), _who, _who, _takes),
    st.tuples(st.just("rotate")),
)


class Group:
    """A group's store, and beside it what each member last said and who was ever named, kept the simplest way."""

    def __init__(self, earlier: list[tuple[str, str, tuple[Use, ...]]] = []) -> None:  # noqa: B006
        self.store, self.hours, self.numbers = MemoryStore(), 0, count()
        self.said: dict[tuple[str, str], tuple[Use, ...]] = {}
        self.named: dict[str, set[str]] = {take: set() for take in TAKES}
        self.dropped: dict[str, set[str]] = {take: set() for take in TAKES}
        self.left: set[str] = set()
        self.standing: dict[str, tuple[Use, ...]] = dict.fromkeys(PEOPLE, ALL_USES)  # for recordings that come
        self.left_out: dict[tuple[str, str], set[int]] = {}  # (take, who) -> seconds of the take
        self.keys: dict[str, SigningKey] = {}  # of members: the newest
        self.lost: set[str] = set()  # ids of keys whose member said so
        self.revoked: set[str] = set()
        self.service_key = load_signing_keys()[0]
        self.erased: set[int] = set()  # numbers of withdrawals
        self.ending: set[tuple[str, str]] = set()  # (take, who) whose words end soon; ("", who): their standing word
        if earlier:
            self.store.put("governance/agreements/000001.json", agreement().model_dump_json().encode())
        for take, who, uses in earlier:
            self.say_as_0_2(take, who, uses)
        publish_agreement(self.store, agreement())

    def play(self, event: tuple[object, ...]) -> None:
        name, *rest = event
        getattr(self, f"do_{name}")(*rest)
        state = open_ledger(self.store).read_state()
        assert state.agreement is not None
        assert state.agreement_digest == state.agreement.digest

    def do_say(self, take: str, who: str, uses: tuple[Use, ...], hours: int) -> None:
        time = datetime.now(UTC) + timedelta(hours=hours)  # whatever the clock says
        said = Consent(recording=take, contributor=who, uses=uses, basis="x", agreement="0" * 64, time=time)
        record_consents(self.store, [said], by=who)
        self.remember(take, who, uses)

    def say_as_0_2(self, take: str, who: str, uses: tuple[Use, ...]) -> None:
        self.hours += 1  # their clocks must go forward
        time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.hours)
        consent = Consent(recording=take, contributor=who, uses=uses, basis="x", agreement="0" * 64, time=time)
        self.store.put(f"governance/consents/{take}/{who}/{time:%Y%m%dT%H%M%S%f}.json", consent.to_bytes())
        self.remember(take, who, uses)

    def remember(self, take: str, who: str, uses: tuple[Use, ...]) -> None:
        self.said[take, who] = uses
        self.ending.discard((take, who))
        self.named[take].add(who)
        self.dropped[take].discard(who)

    def do_bring(self, take: str, people: tuple[str, ...], like: tuple[str, ...]) -> None:
        group = read_current_agreement(self.store)
        assert group is not None
        try:
            require_permission(self.store, "ingest", {take: people})  # else the file does not come in
        except ConsentError:
            return
        assert all("store" in self.said.get((take, who), self.standing[who]) for who in people if who not in self.dropped[take])
        record_standing_consents(self.store, group, take, people, dict.fromkeys(like, ()))
        self.named[take] |= set(people)
        for who in people:
            self.take_standing(take, who)

    def do_hold(self, take: str, people: tuple[str, ...]) -> None:
        """It comes in to be asked about: who agreed to nothing beforehand has agreed to nothing."""
        group = read_current_agreement(self.store)
        assert group is not None
        key = f"waiting/{take}/{next(self.numbers)}/sound.wav"
        self.store.put(key, b"bytes")
        hold_recording(self.store, group, take, people, key)
        self.named[take] |= set(people)
        for who in people:
            if "store" in self.standing[who]:
                self.take_standing(take, who)
            else:
                self.said.setdefault((take, who), ())

    def do_answer(self, take: str, who: str, uses: tuple[Use, ...]) -> None:
        waits = open_ledger(self.store).read_state().waiting.get(take)
        try:
            append_member_event(self.store, who, "recording_answered", {"recording": take, "uses": list(uses)})
        except GovernanceError:
            return
        assert who not in self.left
        assert waits is None or waits.outcome in ("", "taken_in")
        self.remember(take, who, uses)

    def do_tend(self) -> None:
        """What was refused is deleted, and what waits is not."""
        report = end_due_waiting(self.store)
        for waits in open_ledger(self.store).read_state().waiting.values():
            assert self.store.exists(waits.sound) == (not waits.outcome)
            assert bool(waits.erased) == bool(waits.outcome)
        for take, outcome, people in report.ended:
            refused = [who for who in people if who in self.named[take] and outcome == "refused"]
            assert not [who for who in refused if "store" in self.said[take, who] and (take, who) not in self.ending]
            assert outcome != "left" or set(people) <= self.left

    def is_asked(self, take: str, who: str) -> bool:
        record = read_consents(self.store, [take]).get((take, who))
        return record is not None and record.heard and is_unanswered(record)

    def take_standing(self, take: str, who: str) -> None:
        if (take, who) not in self.said:
            self.said[take, who] = self.standing[who]
            self.ending |= {(take, who)} if ("", who) in self.ending else set()

    def do_give(self, who: str, takes: tuple[str, ...], uses: tuple[Use, ...], end: str, signs: bool) -> None:
        until = datetime.now(UTC) + SOON if end == "ends" else None
        if not uses and not end:
            return
        body = ConsentGiven(recordings=takes, uses=uses, until=until, no_end=end == "endless")
        asked = [] if "store" in uses else [take for take in TAKES if self.is_asked(take, who)]
        if self.act("consent_given", who, takes, body, asked, signs, left=who in self.left):
            for take in self.list_words(who, takes, asked):
                self.change_word(take, who, {*self.find_word(take, who), *uses})
                self.ending -= {(take, who)} if end == "endless" else set()
                self.ending |= {(take, who)} if end == "ends" else set()

    def do_narrow(self, who: str, takes: tuple[str, ...], uses: tuple[Use, ...], ends: bool, signs: bool) -> None:
        if not uses and not ends:
            return
        body = ConsentNarrowed(recordings=takes, uses=uses, until=datetime.now(UTC) + SOON if ends else None)
        asked = [take for take in TAKES if self.is_asked(take, who)]
        if self.act("consent_narrowed", who, takes, body, asked, signs):
            for take in self.list_words(who, takes, asked):
                self.change_word(take, who, set(self.find_word(take, who)) - set(uses))
                self.ending |= {(take, who)} if ends else set()

    def act(
        self,
        kind: str,
        who: str,
        takes: tuple[str, ...],
        body: FrozenModel,
        asked: list[str],
        signs: bool,
        left: bool = False,
    ) -> bool:
        """Whether the ledger takes it in: exactly where the member is heard in all of these takes, need not answer first, and signs with
        a key that counts, if with any."""
        strange = any(take not in self.list_heard(who) or take in asked for take in takes)
        key = self.keys.get(who) if signs else None
        ended = key is not None and key.id in self.revoked
        try:
            self.record(kind, who, dump_body(body), key)
        except GovernanceError:
            assert strange or left or ended
            return False
        assert not any((strange, left, ended))
        return True

    def record(self, kind: str, who: str, body: dict[str, Any], key: SigningKey | None = None) -> int:
        signature = sign_act(self.store, key, kind, who, body) if key else None
        return append_member_event(self.store, who, kind, body, signature=signature)

    def do_key(self, who: str) -> None:
        key = key_from_bytes(hashlib.sha256(f"{who} {next(self.numbers)}".encode()).digest())
        if self.passes("member_key_registered", who, {"key": key.public.hex()}) != (who not in self.left):
            raise AssertionError("whoever is in the group, and nobody else, registers a key")
        if who not in self.left:
            self.keys[who] = key

    def do_lose(self, who: str) -> None:
        if (key := self.keys.get(who)) is not None:
            may = who not in self.left and key.id not in self.lost
            assert self.passes("member_key_lost", who, {"key_id": key.id}) == may
            self.lost |= {key.id} if may else set()

    def do_confirm(self, who: str, of: str) -> None:
        """It takes two: nobody ends a key alone, whoever it belongs to."""
        if (key := self.keys.get(of)) is not None:
            may = who != of and who not in self.left and key.id in self.lost - self.revoked
            assert self.passes("key_loss_confirmed", who, {"key_id": key.id}) == may
            self.revoked |= {key.id} if may else set()

    def do_revoke(self, who: str, by: str) -> None:
        """A key that counts is lost, somebody confirms it, and its member's next words are signed with it all the same."""
        if who not in self.keys:
            self.do_key(who)
        self.do_lose(who)
        self.do_confirm(by, who)
        self.do_narrow(who, (), ("earn",), False, True)

    def do_forge(self, who: str, of: str, takes: tuple[str, ...]) -> None:
        """A word in somebody's name, signed with the key of another."""
        if of in self.keys and who != of:
            body = dump_body(WithdrawalRecorded(recordings=takes))
            with pytest.raises(GovernanceError):
                self.record("withdrawal_recorded", who, body, self.keys[of])

    def do_rotate(self) -> None:
        """The service gets another key, which the older one introduces; another program goes on with the older one."""
        new = key_from_bytes(hashlib.sha256(f"service {next(self.numbers)}".encode()).digest())
        Ledger(self.store, new, [self.service_key]).append(lambda state: None)

    def do_leave_out(self, take: str, who: str, second: int, clear: bool) -> None:
        body = {"recording": take, "parts": [{"start_s": second, "end_s": second + 1}], "clear": clear}
        may = take in self.list_heard(who) and not self.is_asked(take, who)
        assert self.passes("parts_excepted", who, body) == may
        if may:
            self.left_out[take, who] = {second, *(() if clear else self.left_out.get((take, who), ()))}

    def do_expel(self, who: str) -> None:
        """By a decision of the others."""
        voters = [one for one in PEOPLE if one not in self.left]
        if who in voters and len(voters) > 1:
            by = next(one for one in voters if one != who)
            number = open_proposal(self.store, by, "exclude", "x", change={"member": who}).id
            for voter in voters:
                if voter != who and not read_proposals(self.store)[number].outcome:
                    cast_vote(self.store, voter, number, "yes")
            self.left.add(who)

    def do_erase(self) -> None:
        """What was asked for is erased; a second time nothing is left to do."""
        for number in list_due_erasures(self.store):
            done = erase_withdrawn(self.store, MemoryRegistry(), StoreGovernanceWriter(self.store), number)
            assert (done is None) == (number in self.erased)
            self.erased.add(number)

    def passes(self, kind: str, who: str, body: dict[str, Any]) -> bool:
        try:
            self.record(kind, who, body)
        except GovernanceError:
            return False
        return True

    def list_words(self, who: str, takes: tuple[str, ...], asked: list[str]) -> list[str]:
        """The takes that a word is about, without those it does not answer; "" stands for their standing word."""
        return list(takes) or [*(take for take in self.list_heard(who) if take not in asked), ""]

    def list_heard(self, who: str) -> list[str]:
        """Where there is a record of theirs, also of a take that only sounds the same."""
        records = read_consents(self.store, TAKES)
        return [take for take in TAKES if (take, who) in records and records[take, who].heard]

    def find_word(self, take: str, who: str) -> tuple[Use, ...]:
        return self.said.get((take, who), ("store",)) if take else self.standing[who]

    def change_word(self, take: str, who: str, uses: set[Use]) -> None:
        kept = tuple(use for use in ALL_USES if use in uses)
        if take:
            self.said[take, who] = kept
        else:
            self.standing[who] = kept

    def do_withdraw(self, who: str, takes: tuple[str, ...], uses: tuple[Use, ...], erases: bool, signs: bool) -> None:
        erase: Erasure = "everything_derived" if erases and not uses else "none"
        body, key = WithdrawalRecorded(recordings=takes, uses=uses, erase=erase), self.keys.get(who) if signs else None
        try:
            self.record("withdrawal_recorded", who, dump_body(body), key)
        except GovernanceError:
            strange = any((take, who) not in self.said or who in self.dropped[take] for take in takes)
            assert strange or (key is not None and key.id in self.revoked)
            return
        assert key is None or key.id not in self.revoked
        if not takes:
            self.standing[who] = tuple(use for use in self.standing[who] if uses and use not in uses)
        for take in takes or TAKES:
            if (take, who) in self.said:
                self.said[take, who] = tuple(use for use in self.said[take, who] if uses and use not in uses)

    def do_decide(self, take: str, people: tuple[str, ...]) -> None:
        group = read_current_agreement(self.store)
        assert group is not None
        try:
            record_decision(self.store, group, take, people, by="ana", why="x")
        except ConsentError:
            return
        self.dropped[take] |= self.named[take] - set(people)
        for who in people:
            if who in self.dropped[take]:
                self.said[take, who] = ()
            self.dropped[take].discard(who)
            self.named[take].add(who)
            self.take_standing(take, who)

    def do_stray(self, take: str, who: str) -> None:
        self.store.put(f"governance/consents/{take}/{who}/00000099.json.bak", b"{")
        self.store.put("governance/agreements/000099.json~", b"{")

    def do_leave(self, who: str) -> None:
        """By their own word."""
        if who not in self.left:
            append_member_event(self.store, who, "member_left", {})
            self.left.add(who)

    def do_exclude(self, who: str) -> None:
        """By a later version, as an owner writes it."""
        self.publish(self.left | {who})

    def do_write(self, forgets: bool) -> None:
        """A version that says nothing of who left, or that names nobody but ana: it brings nobody back, and who is missing has left."""
        self.publish(set(PEOPLE[1:]) if forgets else set(), named=1 if forgets else len(PEOPLE))

    def do_take_in(self, who: str) -> None:
        """By a decision of those who are in the group."""
        voters = [one for one in PEOPLE if one not in self.left]
        if who in self.left and voters:
            change = {"member": who, "name": who}
            number = open_proposal(self.store, voters[0], "take_in", "x", change=change).id
            for voter in voters:
                if not read_proposals(self.store)[number].outcome:
                    cast_vote(self.store, voter, number, "yes")
            self.left.discard(who)

    def publish(self, left: set[str], named: int = len(PEOPLE)) -> None:
        state = open_ledger(self.store).read_state()
        assert state.agreement is not None
        members = [Member(id=id, name=id, consents_to=ALL_USES, left=id in left) for id in PEOPLE[:named]]
        version = state.agreement.version + 1
        after = {id for id in PEOPLE if (id in self.left if id in state.member_changes else id in left)}
        try:
            publish_agreement(self.store, agreement().model_copy(update={"version": version, "members": tuple(members)}))
        except AgreementError:
            assert after == set(PEOPLE)  # a version without anybody is none
            return
        self.left = after

    def agrees(self, use: Use, take: str, *, later: bool = False) -> bool:
        people = self.named[take] - self.dropped[take]
        ended = {who for who in people if (take, who) in self.ending} if later else set()
        if any(second in self.left_out.get((take, who), ()) for who in people for second in USED_S):
            return False
        return not people & (self.left | ended) and all(use in self.said[take, who] for who in people)


@settings(max_examples=HISTORIES, deadline=None)
@given(_earlier, st.lists(_events, max_size=16), _people)
def test_nobody_without_live_consent_passes(
    earlier: list[tuple[str, str, tuple[Use, ...]]], events: list[tuple[object, ...]], claimed: tuple[str, ...]
) -> None:
    group, used = Group(earlier), UsedRecording(claimed)
    used.parts = tuple((float(second), second + 1.0) for second in USED_S)
    for event in events:
        group.play(event)
        for take in TAKES:
            for gate, later in product(GATES, (False, True)):
                try:
                    require_permission(group.store, gate, {take: used}, now=datetime.now(UTC) + later * LATER)
                except (ConsentError, AgreementError):
                    continue
                assert group.agrees(REQUIRED_USES[gate], take, later=later), (event, gate, later)
    state, report = open_ledger(group.store).read_state(), verify_events(read_events(group.store))
    assert (report.faults, report.head) == ([], state.head)
    assert Ledger(group.store).read_state() == state  # whoever reads it anew
    assert state.rejected == []  # what breaks a rule does not get in
    assert {id for id, key in state.member_keys.items() if key.revoked} == group.revoked


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_who, _uses, st.integers(-5000, 5000)), min_size=1, max_size=10))
def test_what_was_said_last_is_what_counts(said: list[tuple[str, tuple[Use, ...], int]]) -> None:
    """The other side: whoever agrees, and said so last, is not kept out."""
    group = Group()
    for who, uses, hours in said:
        group.do_say(TAKES[0], who, uses, hours)
    people = sorted(group.named[TAKES[0]])
    for gate in GATES:
        try:
            require_permission(group.store, gate, {TAKES[0]: people})
            passed = True
        except ConsentError:
            passed = False
        assert passed == group.agrees(REQUIRED_USES[gate], TAKES[0])


def test_the_folder_store_agrees(tmp_path: Path) -> None:
    """The histories run in memory; the same rules hold on a disk."""
    from tests.fakes.layout_store import LayoutStore

    group = Group()
    group.store = LayoutStore(Path(tempfile.mkdtemp(dir=tmp_path)))  # type: ignore[assignment]
    publish_agreement(group.store, agreement())
    group.do_say(TAKES[0], "ana", ALL_USES, 4000)
    group.do_say(TAKES[0], "ana", (), -4000)
    try:
        require_permission(group.store, "generate", {TAKES[0]: ["ana"]})
    except ConsentError:
        return
    raise AssertionError("a withdrawal was outranked by a date")
