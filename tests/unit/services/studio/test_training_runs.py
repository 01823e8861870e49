"""Runs of `tune` as the store keeps them: one at a time, never lost, who may, and what came out. No gradio, no process here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from audiotune.errors import AlreadyInStoreError, ForbiddenError, PipelineError, SettingsError
from audiotune.governance import Consent, record_consent
from audiotune.runs.port import RunSnapshot, RunStep
from audiotune.store import FolderStore
from services.studio import training_readiness
from services.studio.library import Library, LibraryCache
from services.studio.listening import AnnotationQueue
from services.studio.run_records import RunRights
from services.studio.settings import load_studio_settings
from services.studio.training_runs import TrainingRuns, TrainingStart, TrainingStatus
from services.studio.vocabulary import StoredVocabulary
from tests.fakes.runner import ScriptedRunner
from tests.fakes.seeded_store import Seeded, agreement, answer, seed

OPEN = RunRights("members", signs_in=False, owns=lambda member: False)
SIGNED_IN = RunRights("members", signs_in=True, owns=lambda member: member == "ana")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=2, segment_s=0.3)


@pytest.fixture
def trainings(group: Seeded, runner: ScriptedRunner) -> TrainingRuns:
    return TrainingRuns(group.store, runner, OPEN, every_s=0.0)


def now(trainings: TrainingRuns) -> TrainingStatus:
    standing = trainings.read_status()
    assert standing is not None
    return standing


def test_a_run_carries_the_choices_and_who_began_it(trainings: TrainingRuns, runner: ScriptedRunner) -> None:
    assert trainings.read_status() is None
    trainings.start_run("ana", {"training_name": " may ", "training_length": "short (24 steps)", "training_method": ""})
    title, given = runner.started[0]
    assert "may" in title
    assert "ana" in title
    assert given == {"training_name": "may", "training_length": "short (24 steps)"}
    standing = now(trainings)
    assert (standing.begun.member, standing.begun.name, standing.ended) == ("ana", "may", None)
    assert [step.state for step in standing.steps] == ["waiting"] * 4


def test_one_at_a_time_and_the_second_is_told_who_began(trainings: TrainingRuns, runner: ScriptedRunner) -> None:
    trainings.start_run("ana", {})
    with pytest.raises(PipelineError, match="ana began one"):
        trainings.start_run("ben", {})
    runner.seen = RunSnapshot(outcome="failed", words="encode: the disk is full")
    assert now(trainings).ended is not None
    trainings.start_run("ben", {})
    assert now(trainings).begun.number == 2
    assert len(runner.started) == 2


def test_two_studios_cannot_begin_at_once(group: Seeded, runner: ScriptedRunner) -> None:
    class Late(FolderStore):
        """Another studio is quicker between the look and the write."""

        def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
            if key.endswith("begun.json"):
                super().put(key, data, only_new=only_new)
                raise AlreadyInStoreError("the key exists", where=key)
            super().put(key, data, only_new=only_new)

    with pytest.raises(PipelineError, match="just now"):
        TrainingRuns(Late(group.store.root), runner, OPEN).start_run("ana", {})
    assert runner.started == []


def test_another_studio_on_the_store_finds_the_run(group: Seeded, trainings: TrainingRuns) -> None:
    trainings.start_run("ana", {})
    other = TrainingRuns(
        group.store,
        ScriptedRunner(RunSnapshot((RunStep(title="Fine-tune", state="running", share=0.4),))),
        OPEN,
    )
    standing = now(other)
    assert (standing.begun.member, standing.steps[0].share) == ("ana", 0.4)


def test_how_it_ended_is_written_once_and_asked_of_nobody_again(
    group: Seeded, trainings: TrainingRuns, runner: ScriptedRunner
) -> None:
    trainings.start_run("ana", {})
    runner.seen = RunSnapshot((RunStep(title="Encode", state="failed"),), "failed", "encode: the disk is full", "http://kfp/1")
    first = now(trainings)
    runner.away = "Kubeflow does not answer"
    again = now(TrainingRuns(group.store, runner, OPEN))
    assert again.ended == first.ended
    assert again.ended is not None
    assert (again.ended.words, again.steps[0].state, again.page) == ("encode: the disk is full", "failed", "http://kfp/1")


def test_a_place_that_is_away_ends_nothing(trainings: TrainingRuns, runner: ScriptedRunner) -> None:
    trainings.start_run("ana", {})
    runner.away = "Kubeflow does not answer"
    standing = now(trainings)
    assert standing.ended is None
    assert "does not answer" in standing.trouble
    with pytest.raises(PipelineError, match="does not answer"):
        trainings.cancel_run("ana")
    runner.away = ""
    assert now(trainings).trouble == ""


def test_a_start_that_fails_leaves_nothing_running(trainings: TrainingRuns, runner: ScriptedRunner) -> None:
    runner.away = "the cluster is full"
    with pytest.raises(PipelineError, match="full"):
        trainings.start_run("ana", {})
    ended = now(trainings).ended
    assert ended is not None
    assert (ended.how, ended.words) == ("failed", "the cluster is full")


def test_a_studio_that_died_while_it_started_one_blocks_nobody(
    group: Seeded, trainings: TrainingRuns, runner: ScriptedRunner
) -> None:
    begun = TrainingStart(
        number=1, member="ana", time=datetime.now(UTC), place="on the cluster", name="may", given={}, steps=(RunStep(title="x"),)
    )  # fmt: skip
    group.store.put("tunings/000001/begun.json", begun.model_dump_json().encode())
    assert now(trainings).ended is None  # it may be starting
    old = begun.model_copy(update={"time": datetime.now(UTC) - timedelta(minutes=5)})
    group.store.put("tunings/000001/begun.json", old.model_dump_json().encode())
    ended = now(trainings).ended
    assert ended is not None
    assert ended.how == "lost"
    assert "look on the cluster" in ended.words
    trainings.start_run("ben", {})


def test_a_cancelled_run_says_who_did_it(trainings: TrainingRuns, runner: ScriptedRunner) -> None:
    trainings.start_run("ana", {})
    trainings.cancel_run("ben")
    assert runner.stopped == ["run 1"]
    assert now(trainings).cancelled_by == "ben"
    assert now(trainings).ended is None
    runner.seen = RunSnapshot((RunStep(title="Encode", state="running"),), "failed", "the run was ended by hand")
    ended = now(trainings).ended
    assert ended is not None
    assert ended.steps[0].state == "failed"  # nothing runs any more
    assert (ended.how, ended.by, ended.words) == ("cancelled", "ben", "")
    with pytest.raises(PipelineError, match="no training is running"):
        trainings.cancel_run("ben")


def test_a_run_that_was_done_before_its_cancel_is_done(trainings: TrainingRuns, runner: ScriptedRunner) -> None:
    trainings.start_run("ana", {})
    trainings.cancel_run("ana")
    runner.seen = RunSnapshot(outcome="done")
    ended = now(trainings).ended
    assert ended is not None
    assert ended.how == "done"


def test_the_release_that_came_out_is_found(group: Seeded, trainings: TrainingRuns, runner: ScriptedRunner) -> None:
    trainings.start_run("ana", {"training_name": "patch-bay"})
    weights = group.release.weights.model_copy(update={"weights_digest": "f" * 64})
    group.release.model_copy(update={"version": "2", "weights": weights}).save(group.store)
    runner.seen = RunSnapshot(outcome="done")
    ended = now(trainings).ended
    assert ended is not None
    assert (ended.release, ended.new) == ("f" * 64, True)


def test_the_same_weights_again_are_no_new_release(group: Seeded, trainings: TrainingRuns, runner: ScriptedRunner) -> None:
    trainings.start_run("ana", {"training_name": "patch-bay"})
    group.release.save(group.store)
    runner.seen = RunSnapshot(outcome="done")
    ended = now(trainings).ended
    assert ended is not None
    assert (ended.release, ended.new) == (group.release.digest, False)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"training_base": "somebody else's"}, "Take one of: tiny"),
        ({"training_name": "../../up"}, "no name for a release"),
        ({"training_name": "x" * 201}, "201 letters"),
        ({"gpu": "8"}, "the form has no 'gpu'"),
    ],
)
def test_what_the_form_does_not_offer_is_refused(
    trainings: TrainingRuns, runner: ScriptedRunner, given: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        trainings.start_run("ana", given)
    assert runner.started == []
    assert trainings.read_status() is None


def test_who_may_start(group: Seeded, runner: ScriptedRunner) -> None:
    owners = RunRights("owners", signs_in=True, owns=lambda member: member == "ana")
    assert "owners start" in owners.explain_refusal("ben")
    assert owners.explain_refusal("ana") == ""
    assert SIGNED_IN.explain_refusal("ben") == ""
    assert "no member" in SIGNED_IN.explain_refusal("")
    assert "Choose who you are" in OPEN.explain_refusal("")
    with pytest.raises(ForbiddenError):
        TrainingRuns(group.store, runner, owners).start_run("ben", {})


def test_who_may_cancel(group: Seeded, runner: ScriptedRunner) -> None:
    trainings = TrainingRuns(group.store, runner, SIGNED_IN)
    trainings.start_run("ben", {})
    with pytest.raises(ForbiddenError, match="ask ben|Ask ben"):
        trainings.cancel_run("chi")
    assert runner.stopped == []
    trainings.cancel_run("ana")  # an owner
    assert runner.stopped == ["run 1"]


def test_owners_only_needs_a_sign_in() -> None:
    with pytest.raises(SettingsError, match="needs ACCESS=members"):
        load_studio_settings({"AUDIOTUNE_STUDIO_RELEASES_BY": "owners"})
    assert load_studio_settings({"AUDIOTUNE_STUDIO_RELEASES_BY": "owners", "AUDIOTUNE_ACCESS": "members"}).releases_by == "owners"


def look_at(group: Seeded) -> training_readiness.TrainingReadiness:
    shelves = LibraryCache(group.store)
    answered = AnnotationQueue(group.store, shelves, StoredVocabulary(group.store)).list_answered_segments()
    return training_readiness.check_readiness(group.store, shelves.current(), group.agreement, answered)


def words_of(found: training_readiness.TrainingReadiness) -> str:
    return " ".join(f"{line.kind}: {line.words}" for line in found.lines)


def test_a_look_counts_ears_and_names(group: Seeded) -> None:
    answer(group.store, group.segments[0], "ana", mood=("dark",))
    found = look_at(group)
    assert found.ready
    assert "note: 6 of 6 segments have words: 1 by members' ears, 5 by their file's name" in words_of(found)
    assert "good: Everybody who is heard agrees" in words_of(found)


def test_a_look_tells_the_names_of_sessions_apart(group: Seeded) -> None:
    library = LibraryCache(group.store).current()
    same = {id: r.model_copy(update={"name": f"harbour_{i:02d}.wav"}) for i, (id, r) in enumerate(library.recordings.items())}
    session = {id: r.model_copy(update={"name": "harbour.wav", "session": "harbour"}) for id, r in library.recordings.items()}
    for recordings in (session, same) if len(same) > 2 else (session,):
        found = training_readiness.check_readiness(group.store, Library(recordings, library.segments), group.agreement, ())
        assert "6 of those names are shared by three takes or more (“harbour”)" in words_of(found)
    assert "shared" not in words_of(look_at(group))


def test_readiness_of_an_empty_store_names_the_next_step(group: Seeded) -> None:
    assert "on the Agreement page" in words_of(training_readiness.check_readiness(group.store, Library(), None, ()))
    assert "Bring a jam" in words_of(training_readiness.check_readiness(group.store, Library(), group.agreement, ()))


def test_segments_that_nobody_described_are_not_enough(group: Seeded) -> None:
    library = LibraryCache(group.store).current()
    unnamed = {id: r.model_copy(update={"name": "ZOOM0003.wav"}) for id, r in library.recordings.items()}
    found = training_readiness.check_readiness(group.store, Library(unnamed, library.segments), group.agreement, ())
    assert not found.ready
    assert "None of 6 segments has words" in words_of(found)
    one = training_readiness.check_readiness(
        group.store, Library(unnamed, library.segments), group.agreement, {next(iter(library.segments))}
    )
    assert one.ready
    assert "one recording" in words_of(one)


def withdraw(group: Seeded, recording: int, member: str, *uses: str) -> None:
    consent = Consent(
        recording=group.recordings[recording].id, contributor=member, uses=uses, basis="tests", agreement=group.agreement.digest
    )
    record_consent(group.store, consent)


def test_a_consent_that_is_missing_keeps_a_recording_out_and_is_named(group: Seeded) -> None:
    withdraw(group, 0, "ben", "store")
    found = look_at(group)
    assert found.ready
    assert "note: Left out: 1 recording (ben has not agreed to train)." in words_of(found)


def test_a_refusal_of_the_last_step_is_reported_before_the_first(group: Seeded) -> None:
    withdraw(group, 1, "chi", "store", "train")
    found = look_at(group)
    assert not found.ready
    assert "The last step would refuse the release: chi has not agreed to release" in words_of(found)


def test_readiness_notes_a_release_that_may_not_generate(group: Seeded) -> None:
    withdraw(group, 1, "chi", "store", "train", "release")
    found = look_at(group)
    assert found.ready
    assert "note: It could not be played: chi has not agreed to generate" in words_of(found)


def test_somebody_who_left_takes_their_recordings_along(group: Seeded) -> None:
    left = [m.model_copy(update={"left": True}) if m.id == "chi" else m for m in agreement().members]
    gone = group.agreement.model_copy(update={"members": tuple(left)})
    library = LibraryCache(group.store).current()
    assert "chi has left the group" in words_of(training_readiness.check_readiness(group.store, library, gone, ()))
