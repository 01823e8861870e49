"""An erasure takes what it promised, keeps what others need, survives a crash behind every write, and finds what is written after it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from audiotune.domain.generation import GenerationRequest
from audiotune.domain.lineage import read_dataset
from audiotune.errors import GovernanceError, StoreError
from audiotune.governance import Consent, publish_agreement, require_permission
from audiotune.governance.consent import record_consents
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.writer import StoreGovernanceWriter
from audiotune.store import StoreEntry, compute_digest
from audiotune.store.layout import JOB_EVENTS
from audiotune.withdrawal.erasure import erase_withdrawn, list_due_erasures, list_erased_keys
from audiotune.withdrawal.erasure_plan import ErasurePlan
from audiotune.withdrawal.finish import FinishedWork, finish_withdrawals
from audiotune.withdrawal.preview import preview_withdrawal
from services.generation.jobs.job_store import JobStore
from tests.fakes.layout_store import LayoutStore
from tests.fakes.memory_registry import MemoryRegistry
from tests.fakes.memory_store import MemoryStore
from tests.fakes.withdrawal_group import WithdrawalGroup, make_withdrawal_group


class CrashingStore(MemoryStore):
    """Raises behind the write or deletion number `left`, which was done."""

    left = 10**9

    def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
        super().put(key, data, only_new=only_new)
        self._count()

    def delete(self, key: str) -> None:
        super().delete(key)
        self._count()

    def _count(self) -> None:
        self.left -= 1
        if not self.left:
            raise StoreError("the power is gone")


class CrashingRegistry(MemoryRegistry):
    """Raises behind the change number `left`, which was done."""

    left = 10**9

    def set_alias(self, name: str, alias: str, version: str) -> None:
        super().set_alias(name, alias, version)
        self._count()

    def delete_alias(self, name: str, alias: str) -> None:
        super().delete_alias(name, alias)
        self._count()

    def delete_release(self, name: str, version: str, run_id: str, digest: str, adapter: str) -> bool:
        deleted = super().delete_release(name, version, run_id, digest, adapter)
        self._count()
        return deleted

    def _count(self) -> None:
        self.left -= 1
        if not self.left:
            raise StoreError("the network is gone")


def make_group() -> tuple[WithdrawalGroup, CrashingStore, CrashingRegistry]:
    store, registry = CrashingStore(), CrashingRegistry()
    group = make_withdrawal_group(store)
    registry.versions, registry.aliases = group.registry.versions, group.registry.aliases
    return group, store, registry


@pytest.fixture
def group(tmp_path: Path) -> WithdrawalGroup:
    return make_withdrawal_group(LayoutStore(tmp_path / "store"))


def withdraw(group: WithdrawalGroup, who: str = "ben", **body: object) -> int:
    return append_member_event(group.store, who, "withdrawal_recorded", {"erase": "everything_derived", **body})


def finish(group: WithdrawalGroup) -> FinishedWork:
    return finish_withdrawals(group.store, group.registry, StoreGovernanceWriter(group.store))


def blobs_of(group: WithdrawalGroup) -> set[str]:
    return {entry.key for entry in group.store.list("blobs/")}


def segment_blobs(group: WithdrawalGroup, *names: str) -> set[str]:
    return {segment.blob for segment in group.segments if segment.recording in group.id_of(*names)}


def test_everything_of_theirs_is_gone_and_nothing_of_others(group: WithdrawalGroup) -> None:
    withdraw(group)
    finish(group)
    left, ben, both = blobs_of(group), group.takes["ben alone"], group.takes["both"]
    assert left.isdisjoint({ben.blob, ben.fingerprint})
    assert {both.blob, both.fingerprint} <= left  # ana's, too, and she has not asked for it
    others = segment_blobs(group, "ana alone", "chi alone")
    assert others <= left
    assert (segment_blobs(group, "ben alone", "both") - others).isdisjoint(left)
    of_others = {group.latents[s.id] for s in group.segments if s.blob in others}
    assert of_others <= left
    assert ({*group.latents.values()} - of_others).isdisjoint(left)
    clean, tainted = group.releases["jam 1"], (group.releases["jam 2"], group.releases["tape 1"])
    assert set(clean.list_files().values()) <= left
    for release in tainted:
        assert left.isdisjoint({release.weights.weights, release.weights.adapter, release.evaluation.report})
        assert group.store.exists(release.key)  # the card stays: what it was made of can be proved
        read_dataset(group.store, release.lineage.dataset)
    assert group.registry.versions == {"jam": {"1": clean}, "tape": {}}


def send_start_sound(group: WithdrawalGroup, id: str, data: bytes, head: str = "") -> str:
    """A job of chi's that starts from a file, as the generation service keeps it; its folder."""
    job = JobStore(group.store).create(
        "chi", id, GenerationRequest(prompt="x", seed=1, init_audio=head + b64encode(data).decode())
    )
    return JOB_EVENTS.folder(job.member, job.id)


@pytest.mark.parametrize("choice", ["recordings", "everything_derived"])
def test_start_sounds_with_the_bytes_of_what_goes_go_with_their_jobs(group: WithdrawalGroup, choice: str) -> None:
    take, hit = b"the sound of ben alone", b"a tone of ben alone"  # a recording, and a segment of it
    folders = {
        "recordings": [send_start_sound(group, "a", take), send_start_sound(group, "b", take, "data:audio/wav;base64,")],
        "everything_derived": [send_start_sound(group, "c", hit)],
        "stays": [
            send_start_sound(group, "d", b"the sound of both"),  # ana's, too
            send_start_sound(group, "e", b"a hit"),  # a segment of chi's has the same bytes
            send_start_sound(group, "f", b"ben alone, edited"),
        ],
    }
    JobStore(group.store).create("chi", "g", GenerationRequest(prompt="x", seed=1))
    group.store.put(JOB_EVENTS.key("chi", "h", "000000.json"), b"damaged")
    foretold = preview_withdrawal(group.store, group.registry, "ben").erasures[choice]
    withdraw(group, erase=choice)
    (done,) = finish(group).erased
    gone = folders["recordings"] + (folders["everything_derived"] if choice == "everything_derived" else [])
    kept = [folder for every in folders.values() for folder in every if folder not in gone]
    assert [folder for folder in gone if list(group.store.list(folder))] == []
    assert all(list(group.store.list(folder)) for folder in [*kept, JOB_EVENTS.folder("chi", "g")])
    assert done.counts["jobs with a start sound"] == foretold.objects["jobs with a start sound"] == len(gone)
    assert any("to a job to start from" in sentence for sentence in done.unreachable)
    assert JobStore(group.store).read("chi", "a") is None


def test_a_program_that_may_not_look_at_jobs_erases_the_rest(group: WithdrawalGroup) -> None:
    """As the studio on a cluster, or a user of an earlier chart."""
    send_start_sound(group, "a", b"the sound of ben alone")

    class Shut(LayoutStore):
        def list(self, prefix: str, after: str = "") -> Iterator[StoreEntry]:
            if prefix.startswith(JOB_EVENTS.path):
                raise StoreError("the store refuses", cure="give the key the right")
            return super().list(prefix, after)

    withdraw(group)
    (done,) = finish_withdrawals(Shut(group.store.root), group.registry, StoreGovernanceWriter(group.store)).erased  # type: ignore[attr-defined]
    assert "jobs with a start sound" not in done.counts
    assert not group.store.exists(group.takes["ben alone"].blob)
    (later,) = finish(group).erased  # one that may look finds it in the next round
    assert later.counts == {"jobs with a start sound": 1}


def test_the_files_of_their_trainings_go_also_where_nothing_was_registered(group: WithdrawalGroup) -> None:
    """A training's run in MLflow has recordings beside its demos; a release that the gate refused is in no registry."""
    runs = {f"run-of-{title.replace(' ', '-')}": ["demos/truth/00-low-drone.wav"] for title in group.releases}
    group.registry.run_files = dict(runs)
    refused = group.releases["tape 1"]
    del group.registry.versions["tape"]["1"]
    group.store.delete(refused.key)
    withdraw(group)
    finish(group)
    assert set(group.registry.run_files) == {"run-of-jam-1"}


def test_the_event_says_what_went_what_stays_and_what_nobody_reaches(group: WithdrawalGroup) -> None:
    number = withdraw(group)
    (done,) = finish(group).erased
    state = open_ledger(group.store).read_state()
    (kept,) = state.erasures[number]
    assert (kept.counts, kept.list) == (done.counts, done.list)
    listed = group.store.get(f"erasures/{number:010d}/0001.json")
    assert compute_digest(listed) == done.list
    keys = [one.key for one in ErasurePlan.model_validate_json(listed).objects]
    assert set(list_erased_keys(group.store)) == set(keys)
    assert group.id_of("ben alone")[0] in done.hashes
    assert done.kept == (
        f"recording {group.id_of('both')[0][:12]}: others are heard in it who have not asked for its erasure",
        "2 objects: recordings, segments or releases that stay have the same bytes",
    )
    assert any("downloaded" in sentence for sentence in done.unreachable)


def test_a_joint_take_goes_when_everybody_asked(group: WithdrawalGroup) -> None:
    withdraw(group, erase="recordings")
    finish(group)
    assert group.takes["both"].blob in blobs_of(group)
    withdraw(group, "ana", recordings=list(group.id_of("both")), erase="recordings")
    finish(group)
    assert group.takes["both"].blob not in blobs_of(group)
    assert segment_blobs(group, "both") <= blobs_of(group)  # both chose their recordings alone


def count_actions() -> tuple[int, int]:
    group, store, registry = make_group()
    withdraw(group)
    store.left = registry.left = 10**6
    finish_withdrawals(store, registry, StoreGovernanceWriter(store))
    return 10**6 - store.left, 10**6 - registry.left


def test_a_crash_behind_every_write_is_mended_by_the_next_call() -> None:
    writes, changes = count_actions()
    assert (writes, changes) == (36, 5)  # 34 keys, the list and the event; three aliases and two versions
    whole, *_ = make_group()
    number = withdraw(whole)
    (expected,) = finish(whole).erased
    after = {entry.key for entry in whole.store.list("") if not entry.key.startswith("governance/")}
    for at in range(1, writes + changes + 1):
        group, store, registry = make_group()
        withdraw(group)
        store.left, registry.left = (at, 10**9) if at <= writes else (10**9, at - writes)
        with pytest.raises(StoreError):
            finish_withdrawals(store, registry, StoreGovernanceWriter(store))
        store.left = registry.left = 10**9
        finish_withdrawals(store, registry, StoreGovernanceWriter(store))
        (done,) = open_ledger(store).read_state().erasures[number]
        assert (done.counts, done.list) == (expected.counts, expected.list), at
        assert {entry.key for entry in store.list("") if not entry.key.startswith("governance/")} == after, at
        assert (registry.versions["tape"], registry.list_aliases("jam")) == ({}, {"champion": "1"}), at
        again = finish_withdrawals(store, registry, StoreGovernanceWriter(store))
        assert again == FinishedWork(), at


def rewrite_segment(group: WithdrawalGroup) -> None:
    """A training or a cut that was about to end writes once more."""
    group.store.put_blob(b"a tone of ben alone", ".flac")


def upload_again(group: WithdrawalGroup) -> None:
    group.store.put_blob(b"the sound of ben alone", ".wav")


@pytest.mark.parametrize("write", [rewrite_segment, upload_again])
def test_what_is_written_after_it_goes_in_another_round(group: WithdrawalGroup, write: Callable[[WithdrawalGroup], None]) -> None:
    number = withdraw(group)
    finish(group)
    before = blobs_of(group)
    write(group)
    (done,) = finish(group).erased
    assert (done.round, sum(done.counts.values()), blobs_of(group)) == (2, 1, before)
    assert len(open_ledger(group.store).read_state().erasures[number]) == 2
    assert finish(group).erased == ()


def test_what_was_given_again_meanwhile_stays(group: WithdrawalGroup) -> None:
    withdraw(group)
    take = group.id_of("ben alone")[0]
    given = Consent(recording=take, contributor="ben", uses=("store",), basis="x", agreement="0" * 64)
    record_consents(group.store, [given], by="ben", via="sign_in")
    finish(group)
    assert group.takes["ben alone"].blob in blobs_of(group)


def test_days_of_grace_are_waited_for(group: WithdrawalGroup) -> None:
    publish_agreement(group.store, group.agreement.model_copy(update={"version": 2, "withdrawal_grace_days": 30}))
    number, before = withdraw(group), blobs_of(group)
    made = open_ledger(group.store).read_state().withdrawals[number]
    assert (finish(group), blobs_of(group)) == (FinishedWork(), before)
    assert group.registry.list_aliases("jam")["champion"] == "2"
    require_permission(group.store, "generate", group.releases["jam 2"].lineage.recordings)
    late = made.ends + timedelta(seconds=1)
    assert list_due_erasures(group.store, late) == [number]
    assert erase_withdrawn(group.store, group.registry, StoreGovernanceWriter(group.store), number, late) is not None
    assert blobs_of(group) < before


def test_nobody_erases_what_nobody_asked_for(group: WithdrawalGroup) -> None:
    before, number = blobs_of(group), withdraw(group, erase="none")
    assert (finish(group).erased, blobs_of(group)) == ((), before)
    with pytest.raises(GovernanceError, match="event 3 is no withdrawal"):
        erase_withdrawn(group.store, group.registry, StoreGovernanceWriter(group.store), 3)
    assert number not in open_ledger(group.store).read_state().erasures


def test_two_who_withdraw_at_once(group: WithdrawalGroup) -> None:
    withdraw(group, "ana")
    withdraw(group, "ben")
    assert len(finish(group).erased) == 2
    left = blobs_of(group)
    assert left.isdisjoint({group.takes[name].blob for name in ("ana alone", "ben alone", "both")})
    assert segment_blobs(group, "chi alone") <= left
