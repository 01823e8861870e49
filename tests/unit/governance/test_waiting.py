"""Recordings that wait for somebody's word: who is asked, what waits for whom, what ends the waiting, and that nothing is left."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Recording
from audiotune.errors import AgreementError, ConsentError, StoreError
from audiotune.governance import Agreement, Consent, Member, publish_agreement, read_consents, record_consent, record_decision
from audiotune.governance.consent import record_standing_consents
from audiotune.governance.ledger.fold import KINDS
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.policy import Gate, decide_policy
from audiotune.governance.waiting import find_unasked, hold_recording, list_agreed, list_waiting, may_hear
from audiotune.governance.waiting_record import WaitingRecording
from audiotune.governance.waiting_upkeep import end_due_waiting
from audiotune.store.port import Store
from tests.fakes.described_store import agreement, digest, recording
from tests.fakes.memory_store import Killed, MemoryStore

TAKE, OTHER = digest("take"), digest("another take")
ASKS = (Member(id="dov", name="Dov"), Member(id="eli", name="Eli"))  # both ask for each recording
GROUP = agreement(*ASKS)
LATER = timedelta(days=15)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.written = datetime.now(UTC)
    publish_agreement(made, GROUP)
    return made


def bring(store: Store, people: Iterable[str] = ("ana", "dov"), take: str = TAKE, by: str = "ana", id: str = "one") -> str:
    """As ingest and the studio do: the bytes, what was said about them, then the event. Returns the key of the bytes."""
    key = f"waiting/{take}/{id}/sound.wav"
    store.put(key, b"bytes")
    store.put(f"waiting/{take}/{id}/facts.json", b"{}")
    hold_recording(store, in_force(store), take, people, key, by)
    return key


def in_force(store: Store) -> Agreement:
    group = state_of(store).agreement
    assert group is not None
    return group


def answer(store: Store, who: str, *uses: str, take: str = TAKE) -> None:
    append_member_event(store, who, "recording_answered", {"recording": take, "uses": list(uses)})


def state_of(store: Store) -> GovernanceState:
    return open_ledger(store).read_state()


def waits(store: Store, take: str = TAKE) -> WaitingRecording:
    return state_of(store).waiting[take]


def waiting_for(store: Store, who: str) -> list[str]:
    return [one.recording for one in list_waiting(state_of(store), who)]


def left_over(store: Store) -> list[str]:
    return [entry.key for entry in store.list("waiting/")]


def change_group(store: Store, *members: Member) -> None:
    """A next version of the agreement, with other members of these ids."""
    group = in_force(store)
    by_id = {member.id: member for member in (*group.members, *members)}
    publish_agreement(store, group.model_copy(update={"version": group.version + 1, "members": tuple(by_id.values())}))


def test_who_asks_for_each_recording_is_asked(store: MemoryStore) -> None:
    assert find_unasked(GROUP, {}, TAKE, ["ana", "dov"]) == ("dov",)
    assert find_unasked(GROUP, {}, TAKE, ["ana", "ben"]) == ()
    bring(store)
    (one,) = list_waiting(state_of(store), "dov")
    assert (one.recording, one.why, one.uploaded_by, one.others) == (TAKE, "brought_in", ("ana",), ())
    assert one.until
    assert timedelta(days=13.9) < one.until - datetime.now(UTC) < timedelta(days=14.1)
    assert waiting_for(store, "ana") == waiting_for(store, "eli") == waiting_for(store, "nobody") == []


@pytest.mark.parametrize("people", [["ana", "zoe"], ["dov", "zoe"], ["left", "dov"]])
def test_nobody_is_asked_where_something_else_forbids_it(people: list[str]) -> None:
    group = agreement(*ASKS, Member(id="left", name="Left", left=True))
    assert find_unasked(group, {}, TAKE, people) == ()


def test_the_days_are_those_of_the_agreement(store: MemoryStore) -> None:
    change_group(store, Member(id="new", name="New"))
    quick = in_force(store).model_copy(update={"version": 9, "answer_within_days": 0.5})
    publish_agreement(store, quick)
    bring(store)
    (one,) = list_waiting(state_of(store), "dov")
    assert one.until
    assert one.until - datetime.now(UTC) < timedelta(hours=12)
    later = {"decisions", "withdrawal_grace_days", "answer_within_days"}  # earlier agreements keep their digests
    assert GROUP.digest == hashlib.sha256(GROUP.model_dump_json(exclude=later).encode()).hexdigest()
    assert quick.digest != quick.model_copy(update={"answer_within_days": 14}).digest


@pytest.mark.parametrize("gate", get_args(Gate))
def test_what_waits_passes_no_gate(store: MemoryStore, gate: Gate) -> None:
    bring(store)
    reasons = decide_policy(gate, GROUP, read_consents(store, [TAKE]), {TAKE: ["ana"]}).reasons
    assert any("dov has not agreed" in reason for reason in reasons)


def test_a_joint_recording_needs_everybody_in_it(store: MemoryStore) -> None:
    bring(store, ("ana", "dov", "eli"))
    answer(store, "dov", "store", "train")
    assert waiting_for(store, "dov") == []
    assert waiting_for(store, "eli") == [TAKE]
    assert not list(list_agreed(state_of(store)))
    assert decide_policy("ingest", GROUP, read_consents(store, [TAKE]), {TAKE: []}).reasons == ("eli has not agreed to store",)
    answer(store, "eli", "store")
    assert [one.recording for one in list_agreed(state_of(store))] == [TAKE]
    consents = read_consents(store, [TAKE])
    assert decide_policy("ingest", GROUP, consents, {TAKE: ()}).is_allowed
    assert decide_policy("annotate_merge", GROUP, consents, {TAKE: ()}).reasons == ("eli has not agreed to train",)


@pytest.mark.parametrize("closed", ["until", "withdrawn"])
def test_each_of_several_can_close_the_gates(store: MemoryStore, closed: str) -> None:
    """One waits, one's consent ends, one takes it back: the others' yes opens nothing."""
    for who in ("ana", "ben"):
        record_consent(store, Consent(recording=TAKE, contributor=who, uses=("store", "train"), basis="x", agreement="0" * 64))
    ends = {"until": {"until": datetime.now(UTC) - timedelta(seconds=1)}, "withdrawn": {"uses": ()}}[closed]
    chi = {"recording": TAKE, "contributor": "chi", "uses": ("store", "train"), "basis": "x", "agreement": "0" * 64}
    record_consent(store, Consent.model_validate(chi))
    assert decide_policy("annotate_merge", GROUP, read_consents(store, [TAKE]), {TAKE: ()}).is_allowed
    record_consent(store, Consent.model_validate(chi | ends))
    assert not decide_policy("annotate_merge", GROUP, read_consents(store, [TAKE]), {TAKE: ()}).is_allowed


def test_a_no_deletes_it_in_all_versions(store: MemoryStore) -> None:
    bring(store)
    answer(store, "dov")
    report = end_due_waiting(store)
    assert report.ended == [(TAKE, "refused", ("dov",))]
    assert left_over(store) == []
    assert (waits(store).outcome, waits(store).ended_by, waits(store).erased) == ("refused", ("dov",), state_of(store).number)
    assert report.erased == {TAKE: 2}
    assert waiting_for(store, "dov") == []


def test_no_answer_deletes_it_when_the_time_is_over(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_agreement(store, in_force(store).model_copy(update={"version": 5, "answer_within_days": 1e-9}))
    bring(store)
    assert end_due_waiting(store).ended == [(TAKE, "expired", ("dov",))]
    assert left_over(store) == []


def test_the_ledgers_clock_decides_when_the_time_is_over(store: MemoryStore) -> None:
    """A program whose clock runs ahead deletes nothing."""
    bring(store)
    with pytest.raises(ConsentError, match="there is time for an answer"):
        end_due_waiting(store, datetime.now(UTC) + LATER)
    assert len(left_over(store)) == 2
    assert end_due_waiting(store).ended == []


@pytest.mark.parametrize("who", ["dov", "ana"])
def test_nobody_who_left_can_answer_so_it_is_deleted(store: MemoryStore, who: str) -> None:
    bring(store)
    change_group(store, Member(id=who, name=who, left=True))
    assert end_due_waiting(store).ended == [(TAKE, "left", (who,))]
    assert left_over(store) == []


def test_an_uploader_who_is_not_heard_may_leave(store: MemoryStore) -> None:
    bring(store, ["dov"], by="ana")
    assert may_hear(state_of(store), TAKE, "ana")
    change_group(store, Member(id="ana", name="Ana", left=True))
    assert end_due_waiting(store).ended == []
    assert waiting_for(store, "dov") == [TAKE]
    assert not may_hear(state_of(store), TAKE, "ana")


def test_only_the_people_in_it_and_who_brought_it_hear_it(store: MemoryStore) -> None:
    bring(store, ["dov", "chi"], by="ana")
    heard = {who: may_hear(state_of(store), TAKE, who) for who in ("ana", "ben", "chi", "dov", "eli", "")}
    assert heard == {"ana": True, "ben": False, "chi": True, "dov": True, "eli": False, "": False}


def test_an_answer_after_the_deletion_is_told(store: MemoryStore) -> None:
    bring(store, ("ana", "dov", "eli"))
    answer(store, "dov")
    end_due_waiting(store)
    with pytest.raises(ConsentError, match="was deleted on 20.*: dov said no"):
        answer(store, "eli", "store")


def test_an_answer_is_given_once(store: MemoryStore) -> None:
    bring(store, ("ana", "dov", "eli"))
    answer(store, "dov", "store")
    with pytest.raises(ConsentError, match="dov has answered .*My recordings"):
        answer(store, "dov")
    with pytest.raises(ConsentError, match="ben is not named"):
        answer(store, "ben", "store")
    assert waiting_for(store, "eli") == [TAKE]


def test_the_same_bytes_are_asked_about_once(store: MemoryStore) -> None:
    key = bring(store)
    until = waits(store).until
    number = state_of(store).number
    assert hold_recording(store, GROUP, TAKE, ["ana", "dov"]) == ("dov",)
    assert state_of(store).number == number  # nothing new, no event
    bring(store, ["dov"], by="ben", id="two")
    assert (waits(store).sound, waits(store).until, waits(store).uploaded_by) == (key, until, ("ana", "ben"))
    assert waiting_for(store, "dov") == [TAKE]
    answer(store, "dov", "store")
    hold_recording(store, GROUP, TAKE, ["dov"], uploaded_by="chi")
    assert waiting_for(store, "dov") == []  # who has answered is not asked again
    hold_recording(store, GROUP, TAKE, ["eli"])
    assert waiting_for(store, "eli") == [TAKE]  # people only grow
    assert not list(list_agreed(state_of(store)))


def test_after_a_no_the_same_bytes_are_not_asked_about_again(store: MemoryStore) -> None:
    bring(store)
    answer(store, "dov")
    end_due_waiting(store)
    assert find_unasked(GROUP, read_consents(store, [TAKE]), TAKE, ["ana", "dov"]) == ()
    assert not decide_policy("ingest", GROUP, read_consents(store, [TAKE]), {TAKE: ["ana"]}).is_allowed


def test_after_a_silence_the_same_bytes_are_asked_about_again_and_nobody_is_forgotten(store: MemoryStore) -> None:
    group = in_force(store).model_copy(update={"version": 5, "answer_within_days": 1e-9})
    publish_agreement(store, group)
    bring(store)
    end_due_waiting(store)
    assert waiting_for(store, "dov") == []
    assert find_unasked(group, read_consents(store, [TAKE]), TAKE, ["ana"]) == ("dov",)  # not named the second time
    publish_agreement(store, group.model_copy(update={"version": 6, "answer_within_days": 3}))
    bring(store, ["ana"], id="again")
    assert waiting_for(store, "dov") == [TAKE]
    end_due_waiting(store)
    assert len(left_over(store)) == 2


def test_who_is_named_later_closes_the_gates_and_nothing_is_deleted(store: MemoryStore) -> None:
    """A recording that is in the library already has no time limit, and is not deleted by a no."""
    record_standing_consents(store, GROUP, TAKE, ["ana"])
    assert decide_policy("generate", GROUP, read_consents(store, [TAKE]), {TAKE: ()}).is_allowed
    assert hold_recording(store, GROUP, TAKE, ["ana", "dov"]) == ("dov",)
    assert not decide_policy("generate", GROUP, read_consents(store, [TAKE]), {TAKE: ()}).is_allowed
    (one,) = list_waiting(state_of(store), "dov")
    assert (one.why, one.until) == ("named_later", None)
    answer(store, "dov", "store", "train", "release", "generate")
    assert decide_policy("generate", GROUP, read_consents(store, [TAKE]), {TAKE: ()}).is_allowed
    assert state_of(store).waiting == {}


def test_what_sounds_alike_waits_for_who_is_heard_there(store: MemoryStore) -> None:
    record_standing_consents(store, GROUP, TAKE, ["ben"])
    record_standing_consents(store, GROUP, OTHER, ["ana"], {TAKE: ["ben"]})
    (one,) = list_waiting(state_of(store), "ben")
    assert (one.recording, one.why) == (OTHER, "sounds_alike")
    answer(store, "ben", "store", "train", take=OTHER)
    assert waiting_for(store, "ben") == []
    record = read_consents(store, [OTHER])[OTHER, "ben"]
    assert record.follows == (TAKE,)  # what was taken back there is taken back here


def test_who_was_named_for_a_refused_file_is_asked_when_it_comes_in(store: MemoryStore) -> None:
    record_standing_consents(store, GROUP, TAKE, ["ben", "dov", "zoe"])  # as ingest does for a file that it refuses
    assert waiting_for(store, "dov") == []  # there is nothing to hear
    assert find_unasked(GROUP, read_consents(store, [TAKE]), TAKE, ["ana"]) == ("dov",)
    bring(store, ["ana"])
    assert waiting_for(store, "dov") == [TAKE]
    answer(store, "dov", "store")
    assert set(state_of(store).consents[TAKE]) == {"ana", "ben", "dov"}


def test_taking_it_back_is_an_answer(store: MemoryStore) -> None:
    bring(store)
    append_member_event(store, "dov", "withdrawal_recorded", {"recordings": [TAKE]})
    assert waiting_for(store, "dov") == []
    assert end_due_waiting(store).ended == [(TAKE, "refused", ("dov",))]


def test_who_agreed_beforehand_and_takes_it_back_ends_the_waiting(store: MemoryStore) -> None:
    bring(store)
    append_member_event(store, "ana", "withdrawal_recorded", {})
    assert end_due_waiting(store).ended == [(TAKE, "refused", ("ana",))]


def test_consent_given_in_another_way_is_an_answer(store: MemoryStore) -> None:
    bring(store)
    record_consent(store, Consent(recording=TAKE, contributor="dov", uses=("store",), basis="command", agreement="0" * 64))
    assert waiting_for(store, "dov") == []
    assert [one.recording for one in list_agreed(state_of(store))] == [TAKE]


def test_an_owner_decides_that_somebody_is_not_heard(store: MemoryStore) -> None:
    bring(store)
    record_decision(store, GROUP, TAKE, ["ana"], by="ben", why="dov was not there")
    assert waiting_for(store, "dov") == []
    assert [one.recording for one in list_agreed(state_of(store))] == [TAKE]
    record_decision(store, GROUP, OTHER, ["eli"], by="ben", why="it is eli")
    assert [one.why for one in list_waiting(state_of(store), "eli")] == ["named_later"]


def test_what_came_in_is_ended_and_the_copy_deleted(store: MemoryStore) -> None:
    bring(store)
    answer(store, "dov", "store")
    assert end_due_waiting(store).ended == []  # agreed, and not taken in yet: the bytes stay
    assert len(left_over(store)) == 2
    taken: Manifest[Recording] = Manifest("recordings", [recording("take", id=TAKE)], {"source": "tests"})
    taken.save(store)
    assert end_due_waiting(store).ended == [(TAKE, "taken_in", ())]
    assert left_over(store) == []


def test_two_answer_at_once(store: MemoryStore) -> None:
    bring(store, ("ana", "dov", "eli"))
    start = threading.Barrier(2)

    def say_yes(who: str) -> None:
        start.wait()
        answer(store, who, "store")

    threads = [threading.Thread(target=say_yes, args=(who,)) for who in ("dov", "eli")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.recording for one in list_agreed(state_of(store))] == [TAKE]


def test_a_yes_and_a_no_at_once_are_a_no(store: MemoryStore) -> None:
    bring(store, ("ana", "dov", "eli"))
    answer(store, "dov", "store")
    answer(store, "eli")
    assert end_due_waiting(store).ended == [(TAKE, "refused", ("eli",))]


def test_two_upkeeps_at_once_delete_and_record_once(store: MemoryStore) -> None:
    bring(store)
    answer(store, "dov")
    start = threading.Barrier(4)
    failures: list[Exception] = []

    def tend() -> None:
        start.wait()
        try:
            end_due_waiting(store)
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=tend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert left_over(store) == []
    assert state_of(store).rejected == []
    assert end_due_waiting(store).ended == []
    assert waits(store).erased == state_of(store).number


@pytest.mark.parametrize("writes", [0, 1])
def test_a_crash_in_the_middle_is_finished_the_next_time(store: MemoryStore, writes: int) -> None:
    bring(store)
    answer(store, "dov")
    store.writes_left = writes
    with pytest.raises(Killed):
        end_due_waiting(store)
    store.writes_left = None
    end_due_waiting(store)
    assert left_over(store) == []
    assert waits(store).erased == state_of(store).number


def test_a_store_that_is_away_deletes_and_forgets_nothing(store: MemoryStore) -> None:
    bring(store)
    answer(store, "dov")
    store.away = True
    with pytest.raises(StoreError):
        end_due_waiting(store)
    store.away = False
    assert end_due_waiting(store).erased == {TAKE: 2}


class KeptKeys(MemoryStore):
    """A store that lets this program delete nothing."""

    def delete(self, key: str) -> None:
        raise StoreError("the store refuses (AccessDenied)", where=key)


def test_what_cannot_be_deleted_is_named_and_not_called_deleted() -> None:
    store = KeptKeys()
    publish_agreement(store, GROUP)
    bring(store)
    answer(store, "dov")
    with pytest.raises(StoreError, match=r"2 keys .* not deleted.*audiotune consent expire"):
        end_due_waiting(store)
    assert (waits(store).outcome, waits(store).erased) == ("refused", 0)


def test_bytes_that_no_event_names_are_deleted_after_a_day(store: MemoryStore) -> None:
    store.put(f"waiting/{TAKE}/cut/sound.wav", b"an upload that was cut")
    bring(store, take=OTHER)
    end_due_waiting(store)
    assert len(left_over(store)) == 3
    store.written -= timedelta(days=2)
    end_due_waiting(store)
    assert [key.split("/")[1] for key in left_over(store)] == [OTHER, OTHER]


def test_an_event_that_mixes_recordings_is_refused(store: MemoryStore) -> None:
    with pytest.raises(ConsentError, match="mixes recordings"):
        hold_recording(store, GROUP, TAKE, ["dov"], f"waiting/{OTHER}/one/sound.wav")
    with pytest.raises(ConsentError, match="names no recording"):
        hold_recording(store, GROUP, "../x", ["dov"])
    with pytest.raises(AgreementError, match="another version"):
        hold_recording(store, GROUP.model_copy(update={"version": 3}), TAKE, ["dov"])


def test_members_end_no_waiting() -> None:
    said = {name: KINDS[name].said_by for name in ("recording_waits", "recording_answered", "waiting_ended", "waiting_erased")}
    assert said == {
        "recording_waits": "service", "recording_answered": "member", "waiting_ended": "service", "waiting_erased": "service",
    }  # fmt: skip


def test_the_folder_store_agrees(tmp_path: Path) -> None:
    from tests.fakes.layout_store import LayoutStore

    store = LayoutStore(tmp_path)
    publish_agreement(store, GROUP)
    bring(store)
    answer(store, "dov")
    end_due_waiting(store)
    assert left_over(store) == []
