"""From an upload to segments: what the page tells, and what the store keeps so that nothing is lost when the page is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.domain.upload import Upload, UploadedFile, read_upload
from audiotune.errors import ForbiddenError, PipelineError, SourceError
from audiotune.runs.port import RunSnapshot, RunStep
from audiotune.store import FolderStore
from services.studio.context import StudioContext, create_context
from services.studio.library import LibraryCache
from services.studio.pages.upload import UploadFunctions, keep_and_start
from services.studio.run_records import RunRights
from services.studio.settings import StudioSettings
from services.studio.upload_runs import UploadRuns
from tests.fakes.runner import ScriptedRunner
from tests.fakes.seeded_store import Seeded, seed, tone

SAID: dict[str, object] = {"uploaded_by": "ana", "contributors": ("ana",), "session": "", "instrument": "", "licence": "CC0-1.0"}
STEPS = (
    RunStep(name="ingest", title="Take recordings in", state="done", share=1.0),
    RunStep(name="segment", title="Cut into segments", state="running", share=0.0, words="take <one>.wav"),
)
RIGHTS = RunRights("members", signs_in=False, owns=lambda member: False)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=1, segment_s=0.2)


def studio(tmp_path: Path, runner: ScriptedRunner) -> StudioContext:
    """A studio on the store, as one that was just started."""
    return create_context(StudioSettings(store=str(tmp_path / "store"), work_folder=tmp_path / "work"), preparer=runner)


def send(context: StudioContext, paths: list[Path], **said: object) -> tuple[bool, str]:
    kept, news = keep_and_start(context, paths, {**SAID, **said})
    return kept, str(news)


def take(tmp_path: Path, name: str = "a.wav") -> Path:
    return tone(220, 0.2).write(tmp_path / name)


def listed(context: StudioContext, member: str = "ana") -> list[dict[str, object]]:
    return list(UploadFunctions(context).list_uploads(member, {})["uploads"])


def test_an_upload_is_kept_started_and_listed_with_its_progress(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    kept, news = send(studio(tmp_path, runner), [take(tmp_path)], session="Tuesday")
    assert kept
    assert "1 file is kept and being cut in a test" in news
    title, form = runner.started[0]
    runner.seen = RunSnapshot(STEPS)
    [shown] = listed(studio(tmp_path, runner))  # another studio, as after a restart
    assert title == f"studio upload {shown['id']}"
    assert form == {"source": f"upload:{shown['id']}", "contributors": "ana", "session": "Tuesday", "licence": "CC0-1.0"}
    assert (shown["state"], shown["share"], shown["title"], shown["files"]) == ("running", 0.5, "Tuesday", ["a.wav"])
    assert shown["words"] == "Cut into segments: take <one>.wav"
    assert (shown["may_stop"], shown["may_retry"]) == (True, False)


def test_bytes_are_stored_once(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    before = {entry.key for entry in group.store.list("")}
    send(studio(tmp_path, runner), [take(tmp_path)])
    new = [entry.key for entry in group.store.list("") if entry.key not in before]
    assert sorted(key.partition("/")[0] for key in new) == ["blobs", "inbox", "inbox", "inbox"]
    assert sorted(key.rpartition("/")[2] for key in new if key.startswith("inbox/")) == ["begun.json", "run.json", "upload.json"]


def test_an_upload_of_any_size_is_given_to_the_runner(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    blob = group.store.put_blob(take(tmp_path), ".wav")
    upload = Upload(
        id="20260101T000000-abcdef",
        uploaded_by="ana",
        contributors=("ana",),
        files=(UploadedFile(name="a", blob=blob, size=3 << 30),),
    )
    group.store.put(upload.key, upload.model_dump_json().encode())
    UploadRuns(group.store, runner, LibraryCache(group.store), RIGHTS).start_run(upload, "ana")
    assert runner.started[0][1]["source"] == upload.source


def test_a_done_upload_tells_what_waits_and_has_its_reports(group: Seeded, tmp_path: Path) -> None:
    runner = ScriptedRunner(RunSnapshot(STEPS, "done"), {"ingest": "<!doctype html><p>in"})
    context = studio(tmp_path, runner)
    send(context, [take(tmp_path)])
    answer = UploadFunctions(context).list_uploads("ana", {})
    assert answer["summary"] == "3 segments wait on the Annotate page."
    assert (answer["uploads"][0]["state"], answer["uploads"][0]["reports"]) == ("done", True)
    assert context.upload_runs.read_reports(answer["uploads"][0]["id"]) == {"ingest": "<!doctype html><p>in"}
    with pytest.raises(PipelineError, match="is done"):
        context.upload_runs.retry_run(answer["uploads"][0]["id"], "ana")


def test_tells_what_was_not_kept_beside_what_was(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    (tmp_path / "b<i>.wav").write_bytes(b"")
    context = studio(tmp_path, runner)
    _, news = send(context, [take(tmp_path), tmp_path / "b<i>.wav"])
    assert "0 bytes" in news
    assert "<i>" not in news
    assert [upload["files"] for upload in listed(context)] == [["a.wav"]]


def test_nothing_runs_when_nothing_was_kept(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    (tmp_path / "b.wav").write_bytes(b"")
    assert "Nothing was kept" in send(studio(tmp_path, runner), [tmp_path / "b.wav"])[1]
    assert runner.started == []


def test_a_failed_step_is_told_in_its_own_words_and_the_upload_is_tried_again(group: Seeded, tmp_path: Path) -> None:
    runner = ScriptedRunner(RunSnapshot(STEPS, "failed", "ben has not agreed to store. Ask him"))
    send(studio(tmp_path, runner), [take(tmp_path)])
    context = studio(tmp_path, runner)
    [shown] = listed(context)
    assert (shown["state"], shown["words"]) == ("failed", "Ben has not agreed to store. Ask him")
    assert shown["may_retry"]
    runner.seen = RunSnapshot(STEPS)
    answer = UploadFunctions(context).retry_upload("ben", {"id": shown["id"]})
    assert [(upload["state"], upload["attempt"]) for upload in answer["uploads"]] == [("running", 2)]
    assert [form["source"] for _, form in runner.started] == [f"upload:{shown['id']}"] * 2
    with pytest.raises(PipelineError, match="already"):
        context.upload_runs.retry_run(str(shown["id"]), "ben")


def test_where_it_cannot_be_started_it_is_kept_and_tried_again(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    runner.away = "Kubeflow does not answer"
    context = studio(tmp_path, runner)
    kept, news = send(context, [take(tmp_path)])
    assert kept
    assert "Kubeflow does not answer." in news
    [shown] = listed(context)
    assert (shown["state"], shown["words"], shown["may_retry"]) == ("failed", "Kubeflow does not answer", True)
    runner.away = ""
    context.upload_runs.retry_run(str(shown["id"]), "ana")
    assert listed(context)[0]["state"] == "waiting"


def test_a_runner_that_is_away_ends_nothing(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    send(studio(tmp_path, runner), [take(tmp_path)])
    runner.away = "it runs on another machine"
    [shown] = listed(studio(tmp_path, runner))
    assert (shown["state"], shown["words"]) == ("running", "It cannot be looked at just now: it runs on another machine")
    runner.away, runner.seen = "", RunSnapshot(STEPS, "done")
    assert listed(studio(tmp_path, runner))[0]["state"] == "done"


def test_who_started_it_stops_it(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    context = studio(tmp_path, runner)
    send(context, [take(tmp_path)])
    id = str(listed(context)[0]["id"])
    UploadFunctions(context).stop_upload("ana", {"id": id})
    assert runner.stopped == ["run 1"]
    runner.seen = RunSnapshot(STEPS, "cancelled", "")
    assert listed(studio(tmp_path, runner))[0]["words"] == "It was stopped by ana"
    with pytest.raises(PipelineError, match="nothing runs"):
        context.upload_runs.stop_run(id, "ana")
    with pytest.raises(ForbiddenError):
        context.upload_runs.retry_run(id, "")
    strict = RunRights("members", signs_in=True, owns=lambda member: False)
    runs = UploadRuns(group.store, runner, LibraryCache(group.store), strict)
    runner.seen = RunSnapshot(STEPS)
    runs.retry_run(id, "ana")
    with pytest.raises(ForbiddenError, match="who started it"):
        runs.stop_run(id, "ben")


def test_an_upload_of_an_earlier_studio_is_listed(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    """Before runs were recorded, a store had nothing but upload.json."""
    cut = next(iter(group.recordings))
    for number, blob in enumerate((cut.blob, group.store.put_blob(take(tmp_path), ".wav"))):
        upload = Upload(
            id=f"2026010{number}T000000-abcdef",
            uploaded_by="ana",
            contributors=("ana",),
            files=(UploadedFile(name="a", blob=blob, size=9),),
        )
        group.store.put(upload.key, upload.model_dump_json(indent=1).encode())
    context = studio(tmp_path, runner)
    assert [(shown["state"], shown["may_retry"]) for shown in listed(context)] == [("waiting", True), ("done", False)]
    context.upload_runs.retry_run("20260101T000000-abcdef", "ben")
    assert len(runner.started) == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [({"uploaded_by": ""}, "who you are"), ({"contributors": ()}, "nobody is named"), ({"session": "x" * 201}, "too long")],
)
def test_what_is_missing_is_asked_for(
    group: Seeded, tmp_path: Path, runner: ScriptedRunner, said: dict[str, object], words: str
) -> None:
    _, news = send(studio(tmp_path, runner), [take(tmp_path)], **said)
    assert words in news.replace("Nobody", "nobody")
    assert runner.started == []


def test_a_store_without_an_agreement_is_reported(tmp_path: Path, runner: ScriptedRunner) -> None:
    FolderStore(tmp_path / "store")
    assert "no agreement yet" in send(studio(tmp_path, runner), [take(tmp_path)])[1]


@pytest.mark.parametrize(("id", "words"), [("../../etc", "is no upload"), ("20260101T000000-abcdef", "no such upload")])
def test_a_name_of_no_upload_is_refused(group: Seeded, id: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        read_upload(group.store, id)
