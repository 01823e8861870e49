"""Encode, finetune and unwrap with a real, very small Stable Audio model: what is tuned is what listeners get."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from audiotune import governance
from audiotune.domain.dataset import LatentRow
from audiotune.domain.manifest import load_manifest
from audiotune.domain.release import CheckpointPointer, WeightsPointer
from audiotune.errors import ConsentError, ModelError, SettingsError, TrainingError
from audiotune.reporting.progress import ignore_progress
from audiotune.withdrawal.store_traces import StoreTraces

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).resolve().parents[2]
FAST_SETTINGS: dict[str, Any] = {
    "steps": 6,
    "batch_size": 4,
    "checkpoint_every": 3,
    "candidates": 1,
    "learning_rate": 1e-3,
    "log_every": 2,
    "experiment": "",
    "demos": 0,
    "validate_rows": 4,
    "warmup_steps": 1,
    "threads": 1,
}


def tune(made: Any, folder: Path, **changes: Any) -> tuple[CheckpointPointer, Any]:
    from components.finetune.settings import Settings
    from components.finetune.step import run_step

    settings = Settings.model_validate({**FAST_SETTINGS, "base": str(made.base), **changes})
    paths = {name: folder / name for name in ("checkpoint", "report", "metrics")}
    result = run_step(settings, made.store, ignore_progress, latents=made.folder / "latents.jsonl", dataset=made.dataset, **paths)
    return CheckpointPointer.model_validate_json((folder / "checkpoint").read_bytes()), result


def unwrap(made: Any, checkpoint: Path, folder: Path, **changes: Any) -> WeightsPointer:
    from components.unwrap.settings import Settings
    from components.unwrap.step import run_step

    run_step(
        Settings.model_validate(changes),
        made.store,
        ignore_progress,
        checkpoint=checkpoint,
        weights=folder / "weights",
        metrics=folder / "m",
    )
    return WeightsPointer.model_validate_json((folder / "weights").read_bytes())


def loaded_by_upstream(made: Any, pointer: WeightsPointer, folder: Path) -> Any:
    """The unwrapped model as stable-audio-tools itself builds and fills it, from a folder with the pointer's files."""
    from stable_audio_tools.models.factory import create_model_from_config
    from stable_audio_tools.models.utils import load_ckpt_state_dict

    for path, key in {"model_config.json": pointer.config, "model.safetensors": pointer.weights, **pointer.files}.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(made.store.get(key))
    config = json.loads((folder / "model_config.json").read_text())
    for conditioner in config["model"]["conditioning"]["configs"]:
        if "tokenizer_name" in conditioner["config"]:
            conditioner["config"]["tokenizer_name"] = str(folder / conditioner["config"]["tokenizer_name"])
    model = create_model_from_config(config)
    model.load_state_dict(load_ckpt_state_dict(str(folder / "model.safetensors")))
    return model


def trained_state(made: Any, pointer: CheckpointPointer, *, ema: bool = False) -> dict[str, Any]:
    """The trainer's model, put together by the trainer's own code (and peft), not by unwrap."""
    from audiotune.domain import checkpoint
    from audiotune.stable_audio.load import load_model
    from components.finetune.lora_training import is_adapter_name, remove_peft_affixes
    from components.finetune.settings import Settings
    from components.finetune.training_model import TrainingModel
    from components.finetune.training_state import restore_training_state

    kept = checkpoint.load_checkpoint(made.store, pointer.checkpoint)
    sa = load_model(made.base)
    named = TrainingModel(sa, Settings.model_validate(kept.recipe)).trainable_parameters()
    restore_training_state(made.store, kept.model_copy(update={"weights": kept.ema if ema else kept.weights}), named)
    _merge_with_peft(sa.model.model)
    return {remove_peft_affixes(name): tensor for name, tensor in sa.model.state_dict().items() if not is_adapter_name(name)}


def _merge_with_peft(diffusion: Any) -> None:
    from peft.tuners.lora import LoraLayer

    for module in diffusion.modules():
        if isinstance(module, LoraLayer) and not module.merged:
            module.merge()


def test_encoding_keeps_true_lengths_and_is_done_once(made: Any) -> None:
    from components.encode.settings import Settings
    from components.encode.step import run_step

    rows = made.latents().rows
    assert {row.latent_frames for row in rows} == {57, 29}  # 0.9 s and half of it at 16 kHz, 256 frames to a latent one
    assert {row.seconds for row in rows} == {0.9, 0.45}
    again = run_step(
        Settings(base=str(made.base)),
        made.store,
        ignore_progress,
        dataset=made.dataset,
        latents=made.folder / "2",
        metrics=made.folder,
    )
    assert again.metrics["newly_encoded"] == again.metrics["newly_embedded"] == 0
    assert (made.folder / "2").read_bytes() == (made.folder / "latents.jsonl").read_bytes()
    parts = run_step(
        Settings(base=str(made.base), part_s=0.4),
        made.store,
        ignore_progress,
        dataset=made.dataset,
        latents=made.folder / "3",
        metrics=made.folder,
    )
    assert parts.metrics["rows"] == 9 * 2 + 3  # 0.4 + 0.4 (0.1 is left out), and 0.4 (0.05 is left out)


def test_views_name_their_segment_and_leave_the_held_out_as_they_are(made: Any, tmp_path: Path) -> None:
    from components.encode.settings import Settings
    from components.encode.step import run_step

    def encode(**changes: Any) -> Any:
        files = {"dataset": made.dataset, "latents": tmp_path / "views", "metrics": tmp_path / "m"}
        result = run_step(Settings(base=str(made.base), **changes), made.store, ignore_progress, **files)
        return result, load_manifest(tmp_path / "views", "latents", LatentRow)

    plain = {row.latents: row for row in made.latents().rows}
    result, views = encode(views=3)
    train = [row for row in plain.values() if row.split == "train"]
    assert result.metrics["newly_encoded"] == 2 * len(train)
    assert len({row.latents for row in views.rows}) == len(plain) + 2 * len(train)
    assert {row.latents for row in views.rows if row.split == "held_out"} == set(plain) - {row.latents for row in train}
    assert {(row.segment, row.recording, row.captions) for row in views.rows} == {
        (row.segment, row.recording, row.captions) for row in plain.values()
    }
    again, same = encode(views=3)
    assert again.metrics["newly_encoded"] == 0
    assert same.digest == views.digest
    listed = StoreTraces(made.store).encodings.values()
    assert all(any(row.latents in parts for parts in listed) for row in views.rows), "an erasure finds each of them"


def test_padding_is_neither_heard_nor_learned(made: Any) -> None:
    """A short row beside a long one costs, and teaches, what it does alone."""
    import dataclasses

    import torch

    from audiotune.stable_audio.load import load_model
    from components.finetune.latent_dataset import LatentDataset
    from components.finetune.settings import Settings
    from components.finetune.training_batches import BatchDraw
    from components.finetune.training_model import TrainingModel

    tuned = TrainingModel(load_model(made.base), Settings())
    rows = sorted(made.latents().rows, key=lambda row: row.latent_frames)
    material = LatentDataset([rows[0], rows[-1]], made.store, cached_words=False)
    flat = torch.full((2,), 0.5)
    both = BatchDraw(
        torch.tensor([0, 1]),
        flat,
        flat,
        torch.tensor([False, False]),
        torch.randn(2, 8, 57, generator=torch.Generator().manual_seed(0)),
    )
    errors = tuned(material.batch_part(both, flat, 0, 2, torch.device("cpu")))
    alone = [tuned(material.batch_part(both, flat, i, i + 1, torch.device("cpu"))).item() for i in range(2)]
    assert errors.tolist() == pytest.approx(alone, rel=1e-5)
    whole = material.batch_part(both, flat, 0, 2, torch.device("cpu"))
    unhidden = tuned(dataclasses.replace(whole, frames=torch.tensor([57, 57])))[0]  # as upstream: silence counts
    assert unhidden.item() != pytest.approx(alone[0], rel=1e-3)  # a hundred times what is let pass above


def test_a_base_that_mixes_neighbours_shares_batches_only_among_equal_lengths(made: Any, tmp_path: Path) -> None:
    """A conformer's convolution reads padding, which no mask hides: each length is computed by itself."""
    import torch

    from components.finetune.latent_dataset import LatentDataset
    from components.finetune.settings import Settings
    from components.finetune.training_batches import split_by_length
    from components.finetune.training_model import TrainingModel
    from components.finetune.validation import measure_validation_loss
    from tests.fakes.random_model import make_random_config, make_random_model

    config = make_random_config()
    config["model"]["diffusion"]["config"]["conformer"] = True
    sa = make_random_model(0, config=config)
    tuned = TrainingModel(sa, Settings())
    assert tuned.padding.least_spared == 1
    assert split_by_length([5, 6, 6, 9], 0, 4, tuned.padding.least_spared) == [(0, 1), (1, 3), (3, 4)]
    material = LatentDataset(sorted(made.latents().rows, key=lambda row: row.latent_frames)[2:4], made.store, cached_words=False)
    assert material.frames.tolist() == [29, 57]
    losses = [measure_validation_loss(tuned, material, 2, size, torch.device("cpu")) for size in (1, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_weights_do_not_depend_on_the_machine(made: Any, tmp_path: Path) -> None:
    """On one core with OMP_NUM_THREADS=1, and on all of them with OMP_NUM_THREADS=3: the same to the last bit."""
    from audiotune.domain import checkpoint

    command = [sys.executable, "-m", "components.finetune", "--latents", str(made.folder / "latents.jsonl")]
    command += ["--dataset", str(made.dataset), "--base", str(made.base), "--experiment=", "--demos=0", "--steps=3", "--seed=33"]
    command += [f"--{name}={tmp_path / name}" for name in ("checkpoint", "report", "metrics")]
    kept = []
    for cores, told in (({min(os.sched_getaffinity(0))}, "1"), (os.sched_getaffinity(0), "3")):
        environment = {**os.environ, "OMP_NUM_THREADS": told, "AUDIOTUNE_STORE": made.store.url}
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment,
            preexec_fn=lambda cores=cores: os.sched_setaffinity(0, cores),  # type: ignore[misc]
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-800:]
        pointer = CheckpointPointer.model_validate_json((tmp_path / "checkpoint").read_bytes())
        kept.append(checkpoint.load_checkpoint(made.store, pointer.checkpoint))
        made.store.delete(pointer.checkpoint)  # else the second run would find it and do nothing
    assert kept[0].recipe["threads"] == 2
    assert (kept[0].weights, kept[0].optimizer) == (kept[1].weights, kept[1].optimizer)


@pytest.mark.parametrize("divided", [{"accumulate": 3}, {"devices": 2, "device": "cpu"}, {"activation_checkpointing": True}])
def test_how_a_batch_is_computed_changes_nothing(made: Any, tmp_path: Path, divided: dict[str, Any]) -> None:
    """In parts, by two processes (Lightning Fabric, gloo), or with activations computed twice: the same but for rounding."""
    import torch

    from audiotune.domain import checkpoint
    from audiotune.store import tensor_files

    kept = []
    for changes in ({}, divided):
        pointer, _ = tune(made, tmp_path, steps=3, checkpoint_every=3, seed=21, **changes)
        kept.append(checkpoint.load_checkpoint(made.store, pointer.checkpoint))
        made.store.delete(pointer.checkpoint)  # else the second run would find it and do nothing
    one, other = (tensor_files.read_tensors(made.store.fetch(c.weights)) for c in kept)
    assert kept[0].recipe != kept[1].recipe
    assert [v for _, v in kept[1].history["train_loss"]] == pytest.approx([v for _, v in kept[0].history["train_loss"]], rel=1e-4)
    assert all(torch.allclose(one[name], other[name], atol=2e-4) for name in one)


def on_nodes(made: Any, port: int, *, nodes: int = 2, **changes: Any) -> list[subprocess.CompletedProcess[str]]:
    """Plays the training pods of a TrainJob: one process each, told of the others as Kubeflow Trainer's torch runtime tells them."""
    from audiotune.domain.dataset import DatasetRow
    from audiotune.domain.manifest import load_manifest
    from audiotune.stable_audio.base_models import resolve_base
    from components.finetune.nodes.task_spec import store_task
    from components.finetune.settings import Settings
    from components.finetune.step import compute_run_key
    from components.finetune.training_task import TrainingTask

    settings = Settings.model_validate({**FAST_SETTINGS, "base": str(made.base), "nodes": nodes, "device": "cpu", **changes})
    latents, base = made.latents(), resolve_base(made.store, str(made.base))
    dataset = load_manifest(made.dataset, "datasets", DatasetRow).digest
    key = compute_run_key(settings, latents, base)
    job = TrainingTask(settings, made.store.url, ignore_progress, base, latents, dataset, key, people_of(made))
    order = store_task(made.store, job)
    told = {"PET_NNODES": str(nodes), "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "components.finetune.nodes", order]
    pods = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **told, "PET_NODE_RANK": str(rank), "AUDIOTUNE_STORE": made.store.url, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(nodes)
    ]
    ended = [(pod, *pod.communicate(timeout=500)) for pod in pods]
    return [subprocess.CompletedProcess(command, pod.returncode, out, err) for pod, out, err in ended]


def people_of(made: Any) -> dict[str, tuple[str, ...]]:
    from audiotune.domain.dataset import DatasetRow, contributors_by_recording
    from audiotune.domain.manifest import load_manifest

    return contributors_by_recording(load_manifest(made.dataset, "datasets", DatasetRow))


def withdraw(made: Any, member: str) -> None:
    """A member takes back every recording they are heard in."""
    agreement = governance.read_current_agreement(made.store)
    assert agreement is not None
    for recording, people in people_of(made).items():
        if member in people:
            said = governance.Consent(
                recording=recording, contributor=member, uses=(), basis="studio", agreement=agreement.digest
            )
            governance.record_consent(made.store, said)


def checkpoints_of(made: Any) -> list[str]:
    return [entry.key for entry in made.store.list("checkpoints/")]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_two_nodes_learn_what_one_process_learns(made: Any, tmp_path: Path) -> None:
    """Two pods of one process each; the step then finds their checkpoint in the store and makes its outputs of it."""
    import torch

    from audiotune.domain import checkpoint
    from audiotune.store import tensor_files

    alone, _ = tune(made, tmp_path, steps=3, checkpoint_every=3, seed=22)
    one = checkpoint.load_checkpoint(made.store, alone.checkpoint)
    made.store.delete(alone.checkpoint)
    first, second = on_nodes(made, free_port(), steps=3, checkpoint_every=3, seed=22)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "[100%] step 3 of 3, loss" in first.stdout
    assert "step 3 of 3" not in second.stdout  # one process tells, writes and logs
    other = checkpoint.load_checkpoint(made.store, alone.checkpoint)
    assert [v for _, v in other.history["train_loss"]] == pytest.approx([v for _, v in one.history["train_loss"]], rel=1e-4)
    weights = [tensor_files.read_tensors(made.store.fetch(kept.weights)) for kept in (one, other)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=2e-4) for name in weights[0])
    pointer, result = tune(made, tmp_path, steps=3, checkpoint_every=3, seed=22, nodes=2)  # as the step does afterwards
    assert pointer.checkpoint == alone.checkpoint
    assert result.metrics["step"] == 3
    assert (tmp_path / "report").read_bytes() == made.store.get(other.report_key)


@pytest.mark.parametrize("ema", [False, True])
def test_a_full_finetune_unwraps_to_the_last_bit(made: Any, tmp_path: Path, ema: bool) -> None:
    import torch

    pointer, result = tune(made, tmp_path, ema_decay=0.9)
    assert result.metrics["step"] == 6
    assert (tmp_path / "report").read_text().startswith("<!doctype html>")
    weights = unwrap(made, tmp_path / "checkpoint", tmp_path, ema=ema)
    theirs = loaded_by_upstream(made, weights, tmp_path / "model").state_dict()
    ours = trained_state(made, pointer, ema=ema)
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_lora_is_merged_as_peft_does_or_kept_beside(made: Any, tmp_path: Path) -> None:
    import torch

    from audiotune.stable_audio.release_weights import open_weights
    from audiotune.store import tensor_files

    pointer, _ = tune(made, tmp_path, mode="lora", lora_rank=4)
    weights = unwrap(made, tmp_path / "checkpoint", tmp_path)
    theirs = loaded_by_upstream(made, weights, tmp_path / "merged").state_dict()
    ours = trained_state(made, pointer)
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    kept = unwrap(made, tmp_path / "checkpoint", tmp_path, lora="keep")
    base = tensor_files.read_tensors(made.base / "model.safetensors")
    beside = tensor_files.read_tensors(made.store.fetch(kept.weights))
    assert all(torch.equal(beside[name], base[name]) for name in base if name.startswith("model."))
    assert kept.adapter
    assert not weights.adapter
    adapter = tensor_files.read_tensors(made.store.fetch(kept.adapter))
    assert all(".layers." in name for name in adapter)
    assert any(bool(tensor.any()) for name, tensor in adapter.items() if name.endswith("lora_B"))
    merged = open_weights(made.store, kept).model.state_dict()
    assert all(torch.equal(merged[name], ours[name]) for name in ours)  # what listeners hear is the same either way


def test_an_upstream_checkpoint_unwraps_to_its_running_mean(made: Any, tmp_path: Path) -> None:
    """Wrapped by stable-audio-tools' own training wrapper, as the notebook's `epoch=53-step=800.ckpt`."""
    import shutil

    import torch

    from audiotune.stable_audio.load import load_model
    from tests.fakes.upstream_training import import_upstream_training

    wrapper = import_upstream_training().DiffusionCondTrainingWrapper(load_model(made.base).model, lr=1e-4)
    with torch.no_grad():
        for parameter in wrapper.diffusion_ema.ema_model.parameters():
            parameter.add_(0.25)
    state = {"state_dict": wrapper.state_dict(), "global_step": 800, "epoch": 53, "optimizer_states": [{"state": {}}]}
    torch.save(state, tmp_path / "epoch=53-step=800.ckpt")
    shutil.copyfile(made.base / "model_config.json", tmp_path / "model_config.json")
    shutil.copytree(made.base / "tokenizer", tmp_path / "tokenizer")
    weights = unwrap(made, tmp_path / "epoch=53-step=800.ckpt", tmp_path)
    assert weights.ema
    assert weights.step == 800
    model = loaded_by_upstream(made, weights, tmp_path / "model")
    ours, mean = model.model.state_dict(), wrapper.diffusion_ema.ema_model.state_dict()
    assert all(torch.equal(ours[name], mean[name]) for name in mean)


def test_a_finished_run_does_no_work_and_more_steps_go_on(made: Any, tmp_path: Path) -> None:
    first, _ = tune(made, tmp_path, seed=5)
    page = (tmp_path / "report").read_bytes()
    said: list[str] = []

    from components.finetune.settings import Settings
    from components.finetune.step import run_step

    def listen(share: float, words: str) -> None:
        said.append(words)

    for steps in (6, 8):
        settings = Settings.model_validate({**FAST_SETTINGS, "base": str(made.base), "seed": 5, "steps": steps})
        paths = {name: tmp_path / name for name in ("checkpoint", "report", "metrics")}
        run_step(settings, made.store, listen, latents=made.folder / "latents.jsonl", dataset=made.dataset, **paths)
        if steps == 6:
            assert said == ["step 6 was reached before; nothing to do"]
            assert CheckpointPointer.model_validate_json((tmp_path / "checkpoint").read_bytes()) == first
            assert (tmp_path / "report").read_bytes() == page
    assert any(words.startswith("step 8 of 8") for words in said)
    assert not any(words.startswith("step 2 ") for words in said)


def test_checkpoints_are_made_by_the_clock(made: Any, tmp_path: Path) -> None:
    """Slow steps: long before `checkpoint_every`, so that a kill costs at most one interval of the clock."""
    from audiotune.domain import checkpoint
    from components.finetune.settings import Settings
    from components.finetune.step import run_step

    said: list[str] = []

    def slow(share: float, words: str) -> None:
        said.append(words)
        time.sleep(1.1 if words.startswith("step ") else 0.0)

    changes = {"steps": 3, "checkpoint_every": 1000, "checkpoint_every_s": 1.0, "log_every": 1, "seed": 31, "validate_rows": 0}
    settings = Settings.model_validate({**FAST_SETTINGS, "base": str(made.base), **changes})
    paths = {name: tmp_path / name for name in ("checkpoint", "report", "metrics")}
    run_step(settings, made.store, slow, latents=made.folder / "latents.jsonl", dataset=made.dataset, **paths)
    assert "checkpoint after step 2 is in the store" in said  # a very slow machine may make one after step 1, too
    assert checkpoint.find_newest_checkpoint(
        made.store, json.loads((tmp_path / "checkpoint").read_text())["checkpoint"].split("/")[1], 2
    )


def test_no_number_stops_with_a_word_and_the_last_good_checkpoint(made: Any) -> None:
    import dataclasses

    from audiotune.stable_audio.load import load_model
    from components.finetune.compute_backends import SingleCpuBackend
    from components.finetune.latent_dataset import LatentDataset
    from components.finetune.permission_watch import PermissionWatch
    from components.finetune.settings import Settings
    from components.finetune.trainer import Trainer
    from components.finetune.training_log import TrainingLog, UntrackedRun
    from components.finetune.training_model import TrainingModel
    from components.finetune.training_state import CheckpointWriter

    class Spoiled(LatentDataset):
        """Latents turn to NaN in the fifth step."""

        draws: list[Any] = []

        def batch_part(self, draw: Any, *args: Any, **options: Any) -> Any:
            good = super().batch_part(draw, *args, **options)
            if not any(draw is earlier for earlier in self.draws):
                self.draws.append(draw)
            return good if len(self.draws) < 5 else dataclasses.replace(good, latents=good.latents * float("nan"))

    settings = Settings.model_validate({**FAST_SETTINGS, "base": str(made.base)})
    tuned = TrainingModel(load_model(made.base), settings)
    rows = Spoiled(made.latents().rows, made.store, cached_words=False)
    digests = dict.fromkeys(("run_key", "base_digest", "dataset", "latents"), "9" * 64)
    keeper = CheckpointWriter(made.store, {"kind": "full", "base": "x", **digests}, 1)
    journal = TrainingLog(settings, ignore_progress, UntrackedRun())
    permission = PermissionWatch(made.store, people_of(made), every_s=0)
    with pytest.raises(TrainingError, match=r"nan.* in step 5; the last good checkpoint is checkpoints/9+/000000003.json"):
        Trainer(settings, SingleCpuBackend(settings), tuned, rows, None, keeper, journal, permission).run(None)


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A training world for one test, in which somebody takes their consent back."""
    from tests.fakes.small_training import make_small_training

    built = make_small_training(tmp_path)
    built.encoded()
    return built


class Heard:
    """Withdraws for ana when a step was logged, and counts the steps that were logged afterwards."""

    def __init__(self, made: Any, step: int) -> None:
        self.made, self.step, self.after = made, step, 0
        self.kept: list[str] = []

    def __call__(self, share: float, words: str) -> None:
        if words.startswith(f"step {self.step} of"):
            withdraw(self.made, "ana")
            self.kept = checkpoints_of(self.made)
        elif self.kept and words.startswith("step "):
            self.after += 1


@pytest.mark.parametrize("asks", ["between steps", "before the checkpoint", "at the end"])
def test_a_training_stops_when_somebody_takes_their_consent_back(
    own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    from components.finetune import training_process
    from components.finetune.settings import Settings
    from components.finetune.step import run_step

    monkeypatch.setattr(training_process, "EVERY_S", 0.01 if asks == "between steps" else 1000.0)
    steps = {"between steps": 5000, "before the checkpoint": 12, "at the end": 6}[asks]
    heard = Heard(own, 4)
    changes = {"steps": steps, "log_every": 1, "checkpoint_every": 5000 if asks == "between steps" else 3}
    settings = Settings.model_validate({**FAST_SETTINGS, "base": str(own.base), **changes})
    paths = {name: tmp_path / name for name in ("checkpoint", "report", "metrics")}
    with pytest.raises(
        ConsentError, match=r"the training was stopped: 2 of 3 recordings may not pass: ana has not agreed to train"
    ):
        run_step(settings, own.store, heard, latents=own.folder / "latents.jsonl", dataset=own.dataset, **paths)
    assert checkpoints_of(own) == heard.kept, "nothing was written after it"
    assert heard.after < 500
    assert not (tmp_path / "checkpoint").exists()
    with pytest.raises(ConsentError):
        run_step(settings, own.store, heard, latents=own.folder / "latents.jsonl", dataset=own.dataset, **paths)


def withdraw_after_checkpoint(made: Any) -> threading.Thread:
    """Begins to wait for the first checkpoint; ana withdraws then."""

    def wait() -> None:
        until = time.monotonic() + 300
        while not checkpoints_of(made) and time.monotonic() < until:
            time.sleep(0.1)
        withdraw(made, "ana")

    waiting = threading.Thread(target=wait)
    waiting.start()
    return waiting


def test_the_run_of_a_training_that_was_stopped_names_the_reason(own: Any, tmp_path: Path) -> None:
    """The step as the laptop's runner starts it. The last words of its log are what the studio and Kubeflow show of the failed run."""
    from audiotune.reporting.last_words import find_last_words

    settings = {**FAST_SETTINGS, "base": own.base, "steps": 1_000_000, "checkpoint_every": 2, "keep_last": 1}
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    paths = {"latents": own.folder / "latents.jsonl", "dataset": own.dataset, "checkpoint": tmp_path / "checkpoint.out"}
    flags += [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    waiting = withdraw_after_checkpoint(own)
    ended = subprocess.run(
        [sys.executable, "-m", "components.finetune", "--store", own.store.url, *flags],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400, check=False,
    )  # fmt: skip
    waiting.join()
    assert ended.returncode == 1, ended.stdout[-2000:]
    words = find_last_words(ended.stdout)
    assert re.search(r"the training was stopped: [12] of 3 recordings may not pass: ana has not agreed to train", words)
    assert "Run the pipeline again: its dataset leaves those recordings out" in words
    assert not paths["checkpoint"].exists()


def test_the_pods_of_a_training_stop_with_the_reason(own: Any) -> None:
    """Two real processes; the first one asks, and the last line of both names who took it back."""
    waiting = withdraw_after_checkpoint(own)
    ended = on_nodes(own, free_port(), steps=1_000_000, checkpoint_every=2, checkpoint_every_s=100_000, keep_last=1)
    waiting.join()
    assert ended[0].returncode == 1
    reason = r"the training was stopped: [12] of 3 recordings may not pass: ana has not agreed to train"
    assert re.search(reason, ended[0].stderr.splitlines()[-1])
    assert ended[1].returncode != 0


def test_consent_is_asked_before_anything(made: Any, tmp_path: Path) -> None:
    from audiotune.domain.dataset import DatasetRow
    from audiotune.domain.manifest import Manifest, load_manifest
    from components.finetune.settings import Settings
    from components.finetune.step import run_step

    rows = load_manifest(made.dataset, "datasets", DatasetRow).rows
    strange = Manifest("datasets", [rows[0].model_copy(update={"contributors": ("stranger",)})]).write(tmp_path / "d")
    with pytest.raises(ConsentError, match="stranger"):
        run_step(
            Settings(),
            made.store,
            ignore_progress,
            latents=made.folder / "latents.jsonl",
            dataset=strange,
            checkpoint=tmp_path / "c",
            report=tmp_path / "r",
            metrics=tmp_path / "m",
        )
    assert not (tmp_path / "c").exists()


def test_settings_that_do_not_fit_are_refused(made: Any, tmp_path: Path) -> None:
    from tests.fakes.small_training import base_folder

    other = base_folder(tmp_path / "other", seed=1)
    with pytest.raises(SettingsError, match="made with"):
        tune(made, tmp_path, base=str(other))
    with pytest.raises(SettingsError, match="cannot be divided"):
        tune(made, tmp_path, accumulate=8)
    pointer, _ = tune(made, tmp_path)
    with pytest.raises(ModelError, match="running mean"):
        unwrap(made, tmp_path / "checkpoint", tmp_path, ema=True)
    assert pointer.step == 6


def test_a_killed_run_that_is_resumed_ends_bit_identical(made: Any) -> None:
    command = [sys.executable, "-m", "tests.integration.training_driver", str(made.folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for mode in ("full", "lora"):
        whole = found.pop(f"{mode}, whole")
        assert whole["step"] == 9
        assert whole["ema"] != whole["weights"]
        others = {name: blobs for name, blobs in found.items() if name.startswith(mode)}
        assert len(others) == (4 if mode == "full" else 1)
        assert all(blobs == whole for blobs in others.values()), others
