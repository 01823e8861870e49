"""Merging parts to a whole, and upstream's wrapped checkpoints, without a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from audiotune.domain.release import WeightsPointer
from audiotune.errors import ModelError
from audiotune.reporting.progress import ignore_progress
from audiotune.stable_audio.known_bases import GenerationDefaults, find_known_base
from audiotune.stable_audio.torch_files import is_torch_file
from audiotune.stable_audio.weight_merging import LoraWeights, collect_adapter_tensors, merge_weights
from audiotune.store import FolderStore
from audiotune.store.tensor_files import LazyTensor, store_tensors, wrap_tensor
from components.unwrap.foreign_weights import open_weights_file
from components.unwrap.settings import Settings
from components.unwrap.step import run_step


def lazies(state: dict[str, torch.Tensor]) -> dict[str, LazyTensor]:
    return {name: wrap_tensor(tensor) for name, tensor in state.items()}


def wrapped(path: Path, **more: Any) -> dict[str, torch.Tensor]:
    """A file as stable-audio-tools' Lightning wrapper leaves it."""
    state = {
        "diffusion.model.w": torch.randn(2, 2),
        "diffusion.pretransform.p": torch.randn(2),
        "diffusion_ema.ema_model.w": torch.randn(2, 2),
        "diffusion_ema.step": torch.tensor(800),
        "losses.weight": torch.ones(1),
    }
    kept = {"state_dict": state, "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(4)}}}], "global_step": 800, **more}
    torch.save(kept, path)
    return state


def test_adapters_merge_as_the_formula_says() -> None:
    weight, a, b = torch.randn(6, 4).half(), torch.randn(2, 4), torch.randn(6, 2)
    tuned = lazies({"l.lora_A": a, "l.lora_B": b, "embedding": torch.ones(3)})
    whole = merge_weights(lazies({"l.weight": weight, "embedding": torch.zeros(3)}), tuned, LoraWeights.from_tensors(tuned, 0.5))
    assert torch.equal(whole["l.weight"].load(), weight.float() + (b @ a) * 0.5)
    assert whole["embedding"].load().tolist() == [1, 1, 1]
    assert set(whole) == {"l.weight", "embedding"}
    assert set(collect_adapter_tensors(LoraWeights.from_tensors(tuned, 0.5), {})) == {"l.lora_A", "l.lora_B"}


def test_tensors_that_do_not_fit_the_base_are_refused() -> None:
    with pytest.raises(ModelError, match="does not fit"):
        merge_weights(lazies({"w": torch.zeros(2)}), lazies({"w": torch.zeros(3)}), None)
    tuned = lazies({"x.lora_A": torch.zeros(1, 1), "x.lora_B": torch.zeros(1, 1)})
    with pytest.raises(ModelError, match="does not have"):
        merge_weights(lazies({"w": torch.zeros(2)}), tuned, LoraWeights.from_tensors(tuned, 1.0))


@pytest.mark.parametrize("ema", [None, True, False])
def test_the_running_mean_replaces_the_model_if_wanted(tmp_path: Path, ema: bool | None) -> None:
    state = wrapped(tmp_path / "epoch=53-step=800.ckpt")
    assert is_torch_file(tmp_path / "epoch=53-step=800.ckpt")
    with open_weights_file(tmp_path / "epoch=53-step=800.ckpt", ema=ema) as (found, is_mean, step):
        tensors = {name: tensor.load() for name, tensor in found.items()}
    assert set(tensors) == {"model.w", "pretransform.p"}
    assert is_mean is (ema is not False)
    assert step == 800
    expected = state["diffusion.model.w" if ema is False else "diffusion_ema.ema_model.w"]
    assert torch.equal(tensors["model.w"], expected)


def test_the_licence_of_a_folder_base_travels_with_the_weights(tmp_path: Path) -> None:
    base, store = tmp_path / "our-base", FolderStore(tmp_path / "store")
    base.mkdir()
    wrapped(base / "model.ckpt")
    for name in ("model_config.json", "LICENSE.md", "NOTICE", "README.md"):
        (base / name).write_text(f"words of {name}")
    (base / "model_config.json").write_text('{"model": {"io_channels": 64}}')
    paths = {name: tmp_path / name for name in ("weights", "metrics")}
    run_step(Settings(), store, ignore_progress, checkpoint=base / "model.ckpt", **paths)
    pointer = WeightsPointer.model_validate_json(paths["weights"].read_bytes())
    assert {name: store.get(key).decode() for name, key in pointer.notices.items()} == {
        "LICENSE.md": "words of LICENSE.md",
        "NOTICE": "words of NOTICE",
    }
    assert set(pointer.notices) < set(pointer.list_files())  # so they are given out, exported and erased with the release


def test_a_release_says_how_its_base_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it sounds as it should where the table of known bases is another one, or none."""
    store, base = FolderStore(tmp_path / "store"), tmp_path / "bases" / "stable-audio-open-1.0"
    base.mkdir(parents=True)
    (base / "model_config.json").write_text('{"model": {"io_channels": 64}}')
    store_tensors(store, {"w": wrap_tensor(torch.ones(1))})
    shutil.copyfile(next((tmp_path / "store").rglob("*.safetensors")), base / "model.safetensors")
    monkeypatch.setenv("AUDIOTUNE_BASES", str(base.parent))
    wrapped(tmp_path / "model.ckpt")
    paths = {name: tmp_path / name for name in ("weights", "metrics")}
    run_step(Settings(base="stable-audio-open-1.0"), store, ignore_progress, checkpoint=tmp_path / "model.ckpt", **paths)
    pointer = WeightsPointer.model_validate_json(paths["weights"].read_bytes())
    config = json.loads(store.get(pointer.config))
    assert config["model"] == {"io_channels": 64}
    known = find_known_base("stable-audio-open-1.0")
    assert known is not None
    assert GenerationDefaults(**config["generation"]) == known.defaults


def test_a_config_that_is_no_config_is_named(tmp_path: Path) -> None:
    wrapped(tmp_path / "model.ckpt")
    (tmp_path / "model_config.json").write_text("not found")
    with pytest.raises(ModelError, match="model config cannot be read"):
        run_step(
            Settings(), FolderStore(tmp_path / "store"), ignore_progress, checkpoint=tmp_path / "model.ckpt",
            weights=tmp_path / "weights", metrics=tmp_path / "metrics",
        )  # fmt: skip


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    wrapped(tmp_path / "evil.ckpt", callback=Evil())
    with pytest.raises(ModelError, match="safely"), open_weights_file(tmp_path / "evil.ckpt", ema=None):
        pass
    assert not Path("/tmp/audiotune-was-here").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"autoencoder.x": torch.zeros(1)}}, tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="no diffusion model"), open_weights_file(tmp_path / "x.ckpt", ema=None):
        pass


class Evil:
    """Would run a command when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("/tmp/audiotune-was-here"),)


def test_a_dataset_without_a_maker_is_refused() -> None:
    for missing in ("base", "made_by", "licence"):
        named = {"dataset": "x", "base": "tiny", "made_by": "Bo", "licence": "CC0-1.0"}
        with pytest.raises(ValueError, match="base, made_by and licence"):
            Settings.model_validate({**named, missing: ""})
