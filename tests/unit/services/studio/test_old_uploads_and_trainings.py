"""Uploads and trainings that 0.1.0 wrote into a store go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.domain.upload import Upload
from audiotune.store import compute_digest
from audiotune.store.layout import INBOX, TRAININGS
from services.studio.run_records import RunRights
from services.studio.training_runs import TrainingEnd, TrainingRuns, TrainingStart
from tests.fakes.layout_store import LayoutStore
from tests.fakes.old_release import read_expected, unpack
from tests.fakes.runner import ScriptedRunner

EXPECTED = read_expected()
RIGHTS = RunRights("members", signs_in=True, owns=lambda member: member == "ana")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LayoutStore:
    return LayoutStore(unpack("store", tmp_path_factory.mktemp("old")))


@pytest.mark.parametrize("id", sorted(EXPECTED["inbox"]))
def test_an_upload(store: LayoutStore, id: str) -> None:
    wanted = EXPECTED["inbox"][id]
    found = Upload.model_validate_json(store.get(INBOX.key(id, "upload.json")))
    assert (found.id, found.key, found.uploaded_by) == (id, wanted["key"], wanted["uploaded_by"])
    assert [file.name for file in found.files] == wanted["files"]
    assert {file.name: compute_digest(store.fetch(file.blob)) for file in found.files} == wanted["digests"]


@pytest.mark.parametrize("wanted", EXPECTED["tunings"], ids=lambda wanted: wanted["how"] or "running")
def test_a_training(store: LayoutStore, wanted: dict[str, object]) -> None:
    begun = TrainingStart.model_validate_json(store.get(TRAININGS.key(f"{wanted['number']:06d}", "begun.json")))
    assert (begun.number, begun.member) == (wanted["number"], wanted["member"])
    assert (begun.name, begun.given) == (wanted["name"], wanted["given"])
    end = TRAININGS.key(f"{begun.number:06d}", "ended.json")
    assert store.exists(end) is (wanted["how"] is not None)
    if wanted["how"]:
        ended = TrainingEnd.model_validate_json(store.get(end))
        assert {name: getattr(ended, name) for name in ("how", "words", "by", "release", "new")} == {
            name: wanted[name] for name in ("how", "words", "by", "release", "new")
        }


def test_the_one_that_runs_is_shown_and_can_be_cancelled(tmp_path: Path) -> None:
    store, runner = LayoutStore(unpack("store", tmp_path)), ScriptedRunner()
    runs = TrainingRuns(store, runner, RIGHTS, every_s=0.0)
    status = runs.read_status()
    assert status is not None
    assert (status.begun.number, status.ended) == (5, None)
    runs.cancel_run("ana")
    assert runner.stopped
