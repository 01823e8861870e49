"""From an upload to segments, as the page tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.errors import PipelineError
from audiotune.store import FolderStore
from services.studio.context import StudioContext, create_context
from services.studio.prepare_runner import PrepareProgress
from services.studio.settings import StudioSettings
from services.studio.upload_preparation import prepare_uploaded_files
from tests.fakes.launcher import ScriptedPrepareRunner
from tests.fakes.seeded_store import Seeded, copy_of, seed, tone

SAID: dict[str, object] = {"uploaded_by": "ana", "contributors": ("ana",), "session": "", "instrument": "", "licence": "CC0-1.0"}
WELL = [PrepareProgress(0.5, "take <one>.wav"), PrepareProgress(1.0, "Done", {"ingest": "<!doctype html><p>in"}, done=True)]


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=1, segment_s=0.2)


@pytest.fixture
def group(seeded: Seeded, tmp_path: Path) -> Seeded:
    return copy_of(seeded, tmp_path / "store")


def desk(tmp_path: Path, launcher: ScriptedPrepareRunner) -> StudioContext:
    return create_context(StudioSettings(store=str(tmp_path / "store"), work_folder=tmp_path / "work"), launcher=launcher)


def told(tmp_path: Path, launcher: ScriptedPrepareRunner, paths: list[Path], said: dict[str, object]) -> list[tuple[str, str]]:
    return [(str(news), str(report)) for news, report in prepare_uploaded_files(desk(tmp_path, launcher), paths, said)]


def test_tells_progress_and_shows_the_reports(group: Seeded, tmp_path: Path) -> None:
    launcher = ScriptedPrepareRunner(WELL)
    words = told(tmp_path, launcher, [tone(220, 0.2).write(tmp_path / "a.wav")], SAID)
    assert launcher.given[0].contributors == ("ana",)
    assert any("width:50%" in news and "take &lt;one&gt;.wav" in news for news, _ in words)
    assert "3 segments wait" in words[-1][0]
    assert "srcdoc" in words[-1][1]


def test_tells_what_was_not_kept_beside_what_was(group: Seeded, tmp_path: Path) -> None:
    (tmp_path / "b<i>.wav").write_bytes(b"")
    launcher = ScriptedPrepareRunner(WELL)
    words = told(tmp_path, launcher, [tone(220, 0.2).write(tmp_path / "a.wav"), tmp_path / "b<i>.wav"], SAID)
    assert "0 bytes" in words[-1][0]
    assert "<i>" not in words[-1][0]
    assert [file.name for file in launcher.given[0].files] == ["a.wav"]


def test_nothing_runs_when_nothing_was_kept(group: Seeded, tmp_path: Path) -> None:
    (tmp_path / "b.wav").write_bytes(b"")
    launcher = ScriptedPrepareRunner(WELL)
    assert "Nothing was kept" in told(tmp_path, launcher, [tmp_path / "b.wav"], SAID)[-1][0]
    assert launcher.given == []


def test_a_failed_step_is_told_in_its_own_words(group: Seeded, tmp_path: Path) -> None:
    launcher = ScriptedPrepareRunner(
        [PrepareProgress(0.1, "on its way")], PipelineError("ben has not agreed to store", cure="ask him")
    )
    news = told(tmp_path, launcher, [tone(220, 0.2).write(tmp_path / "a.wav")], SAID)[-1][0]
    assert "Ben has not agreed to store. Ask him." in news


@pytest.mark.parametrize(
    ("said", "words"),
    [({"uploaded_by": ""}, "who you are"), ({"contributors": ()}, "nobody is named"), ({"session": "x" * 201}, "too long")],
)
def test_what_is_missing_is_asked_for(group: Seeded, tmp_path: Path, said: dict[str, object], words: str) -> None:
    launcher = ScriptedPrepareRunner(WELL)
    news = told(tmp_path, launcher, [tone(220, 0.2).write(tmp_path / "a.wav")], {**SAID, **said})[-1][0]
    assert words in news.replace("Nobody", "nobody")
    assert launcher.given == []


def test_a_store_without_an_agreement_is_told(tmp_path: Path) -> None:
    FolderStore(tmp_path / "store")
    path = tone(220, 0.2).write(tmp_path / "a.wav")
    news = list(prepare_uploaded_files(desk(tmp_path, ScriptedPrepareRunner(WELL)), [path], SAID))[-1][0]
    assert "no agreement yet" in news
