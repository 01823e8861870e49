"""Demos and checkpoints beside a real, very small training: heard, told of, and without an effect on the weights."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotune.domain import checkpoint as checkpoints
from audiotune.domain.dataset import DatasetRow, contributors_by_recording
from audiotune.domain.manifest import load_manifest
from audiotune.domain.release import CheckpointPointer
from audiotune.errors import StoreError
from audiotune.reporting.progress import ignore_progress
from audiotune.store import FolderStore

pytestmark = pytest.mark.integration

FAST_SETTINGS: dict[str, Any] = {
    "steps": 6,
    "batch_size": 4,
    "checkpoint_every": 3,
    "candidates": 1,
    "learning_rate": 1e-3,
    "log_every": 1,
    "experiment": "",
    "demos": 2,
    "demo_steps": 2,
    "demo_guidance": 2.0,
    "validate_rows": 0,
    "threads": 1,
    "ema_decay": 0.9,
}


def run_finetune(made: Any, folder: Path, progress: Any = ignore_progress, **changes: Any) -> Any:
    """The step; returns its result and its last checkpoint."""
    from components.finetune.settings import Settings
    from components.finetune.step import run_step

    settings = Settings.model_validate({**FAST_SETTINGS, "base": str(made.base), **changes})
    paths = {name: folder / name for name in ("checkpoint", "report", "metrics")}
    run_step(settings, made.store, progress, latents=made.folder / "latents.jsonl", dataset=made.dataset, **paths)
    pointer = CheckpointPointer.model_validate_json((folder / "checkpoint").read_bytes())
    return checkpoints.load_checkpoint(made.store, pointer.checkpoint)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow in a file."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)  # the files of its runs


def test_demos_are_heard_beside_the_recordings_and_change_no_weight(made: Any, tmp_path: Path, registry: None) -> None:
    from mlflow import MlflowClient

    silent = run_finetune(made, tmp_path, demos=0, seed=1)
    for entry in list(made.store.list("checkpoints/")):
        made.store.delete(entry.key)
    heard = run_finetune(made, tmp_path, demo_every=2, seed=1, experiment="demos")
    assert (heard.weights, heard.ema, heard.optimizer) == (silent.weights, silent.ema, silent.optimizer)
    client = MlflowClient()
    folders = {entry.path for entry in client.list_artifacts(heard.run, "demos")}
    assert folders == {"demos/truth", "demos/step-000002", "demos/step-000004", "demos/step-000006"}
    names = {folder: [Path(entry.path).name for entry in client.list_artifacts(heard.run, folder)] for folder in folders}
    assert len({tuple(sorted(files)) for files in names.values()}) == 1, "a sound has one name in every folder"
    assert all(len(files) == 2 and name.endswith(".wav") for files in names.values() for name in files)
    assert [point.value for point in client.get_metric_history(heard.run, "demos_failed")] == [0.0, 0.0, 0.0]
    page = (tmp_path / "report").read_text()
    assert page.count("<audio") == 2 * 4
    assert page.count("the recording these words were said of") == 2
    assert "The same words and seeds after step 2" in page


def test_demos_are_made_of_the_same_words_and_seeds_whatever_the_order(made: Any) -> None:
    from audiotune.stable_audio.autoencoder import decode_latents
    from audiotune.stable_audio.load import load_model
    from audiotune.store import tensor_files
    from components.finetune.demos import DemoMaker, choose_demo_rows
    from components.finetune.settings import Settings

    rows = made.latents().rows
    chosen = choose_demo_rows(rows, 3)
    assert chosen == choose_demo_rows(rows[::-1], 3)
    assert {row.split for row in chosen} == {"held_out"}
    assert len({row.captions[0] for row in chosen}) == len(chosen) == 3
    assert choose_demo_rows([row for row in rows if row.split == "train"], 1), "without held-out rows it takes others"
    sa = load_model(made.base)
    maker = DemoMaker(sa, made.store, rows, Settings(demos=2, demo_steps=2, seed=9))
    rounds = [maker.make_round(step) for step in (1, 2)]
    assert [one.seed for one in rounds[0].sounds] == [9, 10]
    for first, second in zip(rounds[0].sounds, rounds[1].sounds, strict=True):
        assert first.file_name == second.file_name
        assert np.array_equal(first.sound.data, second.sound.data)
    latents = tensor_files.read_tensors(made.store.fetch(chosen[0].latents))["latents"].numpy()
    expected = decode_latents(sa, latents, round(chosen[0].seconds * sa.sample_rate_hz))
    assert np.array_equal(maker.truth[0].sound.data, expected.data)


def test_a_demo_that_fails_is_told_and_the_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], registry: None
) -> None:
    """The latents of the held-out segments are gone, so nothing can be decoded beside the demos."""
    from mlflow import MlflowClient

    from tests.fakes.small_training import make_small_training

    own = make_small_training(tmp_path / "world")
    own.encoded()
    for row in own.latents().rows:
        if row.split == "held_out":
            own.store.delete(row.latents)
    said: list[str] = []
    last = run_finetune(own, tmp_path, lambda share, words: said.append(words), demo_every=3, experiment="faults")
    assert last.step == 6
    told = [words for words in said if words.startswith("no demos after step")]
    assert [words.split(":")[0] for words in told] == ["no demos after step 3", "no demos after step 6"]
    assert "NotInStoreError" in told[0]
    assert "no demos after step 3: NotInStoreError" in capsys.readouterr().err
    assert (tmp_path / "report").read_text().count("No demos after step") == 2
    history = MlflowClient().get_metric_history(last.run, "demos_failed")
    assert [(point.step, point.value) for point in history] == [(3, 1.0), (6, 1.0)]


class SlowStore(FolderStore):
    """Blobs of a training's state wait until `released` is set."""

    def __init__(self, root: Path, released: threading.Event) -> None:
        super().__init__(root)
        self.released = released

    def put_blob(self, source: Path | bytes, suffix: str = "") -> str:
        if threading.current_thread() is not threading.main_thread():
            assert self.released.wait(120)
        return super().put_blob(source, suffix)


def make_trainer(made: Any, store: FolderStore, progress: Any, **changes: Any) -> Any:
    from audiotune.stable_audio.load import load_model
    from components.finetune.compute_backends import SingleCpuBackend
    from components.finetune.latent_dataset import LatentDataset
    from components.finetune.permission_watch import PermissionWatch
    from components.finetune.settings import Settings
    from components.finetune.trainer import Trainer
    from components.finetune.training_log import TrainingLog, UntrackedRun
    from components.finetune.training_model import TrainingModel
    from components.finetune.training_state import CheckpointWriter

    settings = Settings.model_validate({**FAST_SETTINGS, "base": str(made.base), "demos": 0, **changes})
    people = contributors_by_recording(load_manifest(made.dataset, "datasets", DatasetRow))
    facts = {"kind": "full", "base": "x", **dict.fromkeys(("run_key", "base_digest", "dataset", "latents"), "9" * 64)}
    return Trainer(
        settings,
        SingleCpuBackend(settings),
        TrainingModel(load_model(made.base), settings),
        LatentDataset(made.latents().rows, made.store, cached_words=False),
        None,
        CheckpointWriter(store, facts, 1),
        TrainingLog(settings, progress, UntrackedRun()),
        PermissionWatch(made.store, people, every_s=0),
    )


def test_the_steps_go_on_while_a_checkpoint_is_written(made: Any, tmp_path: Path) -> None:
    released, said = threading.Event(), []

    def listen(share: float, words: str) -> None:
        said.append(words.split(",")[0])
        if words.startswith("step 5 of 6"):  # the next checkpoint waits for this one
            released.set()

    store = SlowStore(tmp_path / "slow", released)
    last = make_trainer(made, store, listen).run(None)
    order = [words for words in said if words.startswith(("step", "checkpoint")) and ("3" in words or "5" in words)]
    assert order == ["step 3 of 6", "step 5 of 6", "checkpoint after step 3 is in the store"]
    assert last.step == 6
    assert checkpoints.find_newest_checkpoint(store, "9" * 64) == last


def test_a_checkpoint_that_cannot_be_written_stops_the_training(made: Any, tmp_path: Path) -> None:
    from tests.fakes.failing_store import FailingStore

    said: list[str] = []
    store = FailingStore(tmp_path / "full", 2)
    with pytest.raises(StoreError, match="the disk is full"):
        make_trainer(made, store, lambda share, words: said.append(words), steps=40).run(None)
    assert checkpoints.find_newest_checkpoint(store, "9" * 64) is None
    assert not any(words.startswith("step 7 of") for words in said), "it was told at the next checkpoint at the latest"


@pytest.mark.parametrize("work", ["latents", "lora", "shipped"])
def test_the_benchmark_trains_beside_upstream_on_very_few_sounds(made: Any, tmp_path: Path, work: str) -> None:
    from audiotune.audio.sound import read_sound
    from audiotune.stable_audio.load import load_model
    from benchmarks.training import compare, run_defaults

    rows = load_manifest(made.dataset, "datasets", DatasetRow).rows[:3]
    sounds = [(row.caption.text, read_sound(made.store.fetch(row.segment.blob))) for row in rows]
    assert compare(load_model(made.base), made.base, sounds, FolderStore(tmp_path / "store"), work, 2) > 0
    if work == "latents":
        assert 0 < run_defaults(made.base, sounds, FolderStore(tmp_path / "run"), steps=2, batch=2) < 1
