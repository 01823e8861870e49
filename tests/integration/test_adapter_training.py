"""LoRA's kinds trained by our step, served, given to stable-audio-tools, and begun from an adapter of others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from audiotune.domain.checkpoint import load_checkpoint
from audiotune.domain.dataset import DatasetRow
from audiotune.domain.foreign_origin import ForeignOrigin
from audiotune.domain.manifest import Manifest, load_manifest
from audiotune.domain.release import CheckpointPointer, WeightsPointer
from audiotune.errors import LineageError, ModelError
from audiotune.reporting.progress import ignore_progress
from audiotune.stable_audio.adapter_files import read_foreign_adapter, write_foreign_adapter
from audiotune.stable_audio.adapters import Adapter, describe_adapter, open_adapter, read_adapter
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.release_weights import open_weights
from audiotune.stable_audio.weight_merging import collect_adapter_tensors
from audiotune.store import tensor_files
from tests.fakes.small_training import SmallTraining, make_small_training
from tests.fakes.upstream_lora import ASK, add_upstream_lora, difference, load_with_upstream, make_sound

pytestmark = pytest.mark.integration
EQUAL = 2e-3  # of the peak: two orders of the same sums in fp32
KNOBS: dict[str, Any] = {
    "steps": 4, "batch_size": 4, "learning_rate": 2e-2, "experiment": "", "demos": 0, "validate_rows": 0, "warmup_steps": 1,
    "mode": "lora", "lora_rank": 4, "threads": 1, "train_conditioner": False,
}  # fmt: skip
ORIGIN = ForeignOrigin(by="Bo", licence="CC-BY-4.0", file="grit.safetensors", digest="a" * 64, program="stable-audio-tools")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallTraining:
    import torch

    torch.set_num_threads(1)
    made = make_small_training(tmp_path_factory.mktemp("kinds"))
    made.encoded()
    return made


def trained(world: SmallTraining, folder: Path, dataset: Path | None = None, **changes: Any) -> CheckpointPointer:
    from components.finetune.settings import Settings
    from components.finetune.step import run_step

    folder.mkdir(exist_ok=True)
    paths = {name: folder / name for name in ("checkpoint", "report", "metrics")}
    settings = Settings.model_validate({**KNOBS, "base": str(world.base), **changes})
    inputs = {"latents": world.folder / "latents.jsonl", "dataset": dataset or world.dataset}
    run_step(settings, world.store, ignore_progress, **inputs, **paths)
    return CheckpointPointer.model_validate_json(paths["checkpoint"].read_bytes())


def unwrapped(world: SmallTraining, folder: Path, lora: str) -> WeightsPointer:
    from components.unwrap.settings import Settings
    from components.unwrap.step import run_step

    paths = {name: folder / name for name in ("checkpoint", "weights", "metrics")}
    run_step(Settings.model_validate({"lora": lora}), world.store, ignore_progress, **paths)
    return WeightsPointer.model_validate_json(paths["weights"].read_bytes())


def adapter_of(world: SmallTraining, pointer: WeightsPointer) -> Adapter:
    return open_adapter(pointer.adapter_digest, lambda: world.store.fetch(pointer.adapter))


@pytest.mark.parametrize("kind", ["dora", "rslora"])
def test_a_kind_of_lora_is_trained_served_and_given_to_upstream(world: SmallTraining, tmp_path: Path, kind: str) -> None:
    pointer = trained(world, tmp_path / kind, lora_kind=kind, lora_layers="attention, ff.0")
    assert load_checkpoint(world.store, pointer.checkpoint).lora_scale == (16 / 4**0.5 if kind == "rslora" else 16 / 4)
    kept, merged = (unwrapped(world, tmp_path / kind, lora) for lora in ("keep", "merge"))
    adapter = adapter_of(world, kept)
    layers = read_adapter(adapter.fetch()).pairs
    assert all("attn" in layer or ".ff.0" in layer for layer in layers)
    assert any(".ff.0" in layer for layer in layers)
    assert not any("conditioner" in layer for layer in layers)
    assert adapter.adds_up is (kind != "dora")
    plain = make_sound(load_model(world.base))
    whole = make_sound(open_weights(world.store, merged))
    assert difference(whole, plain) > 0.02
    beside = make_sound(load_model(world.base), dataclasses.replace(ASK, adapters=((adapter, 1.0),)))
    assert difference(beside, whole) < EQUAL
    with tensor_files.open_tensors(world.base / "model.safetensors") as base:
        theirs = write_foreign_adapter(read_adapter(adapter.fetch()), base, tmp_path / "ours", "stable-audio-tools", {})
    assert difference(make_sound(load_with_upstream(load_model(world.base), theirs)), whole) < EQUAL


def a_start(world: SmallTraining, folder: Path, kind: str, *, origin: ForeignOrigin | None = ORIGIN) -> tuple[str, Path]:
    """Store key of an adapter that upstream made with all its layers, and upstream's file."""
    from stable_audio_tools.models.lora import save_lora_safetensors

    config = {"rank": 2, "alpha": 3, "adapter_type": kind}
    save_lora_safetensors(add_upstream_lora(load_model(world.base), config), config, folder / "theirs.safetensors")
    with tensor_files.open_tensors(world.base / "model.safetensors") as base:
        weights = read_foreign_adapter(folder / "theirs.safetensors", base).weights
        tensors = collect_adapter_tensors(weights, base)
        key = tensor_files.store_tensors(world.store, tensors, describe_adapter(weights.scale, origin))
    return key, folder / "theirs.safetensors"


@pytest.mark.parametrize("kind", ["lora", "dora-rows"])
def test_a_training_begins_with_an_adapter_of_others(world: SmallTraining, tmp_path: Path, kind: str) -> None:
    """After one step that is next to nothing the sound is theirs, without the layers of their conditioner."""
    key, theirs = a_start(world, tmp_path, kind)
    trained(world, tmp_path / "next", steps=1, learning_rate=1e-12, weight_decay=0.0, lora_start=key)
    pointer = unwrapped(world, tmp_path / "next", "keep")
    assert pointer.origin == ORIGIN
    adapter = adapter_of(world, pointer)
    begun, again = read_adapter(world.store.fetch(key)), read_adapter(adapter.fetch())
    assert set(again.pairs) == {layer for layer in begun.pairs if layer.startswith("model.")} < set(begun.pairs)
    assert (again.scale, again.kind) == (begun.scale, begun.kind)
    expected = load_with_upstream(load_model(world.base), theirs)
    from stable_audio_tools.models.lora import disable_lora

    disable_lora(expected.model.conditioner)
    beside = make_sound(load_model(world.base), dataclasses.replace(ASK, adapters=((adapter, 1.0),)))
    assert difference(beside, make_sound(expected)) < EQUAL
    assert difference(beside, make_sound(load_model(world.base))) > 0.02
    from components.finetune.lora_start import read_origin

    assert read_origin(adapter.fetch()) == ORIGIN  # it stays with what is made of it


def test_a_dora_learns_in_fp32_beside_a_base_in_bf16(world: SmallTraining, tmp_path: Path) -> None:
    import torch

    half = {"weights": "bf16", "precision": "bf16"}
    trained(world, tmp_path / "learned", lora_kind="dora", **half)
    learned = read_adapter(adapter_of(world, unwrapped(world, tmp_path / "learned", "keep")).fetch())
    assert all(b.load().any() for _, b in learned.pairs.values())
    key, _ = a_start(world, tmp_path, "dora-rows")
    trained(world, tmp_path / "begun", steps=1, learning_rate=1e-12, weight_decay=0.0, lora_start=key, **half)
    begun = read_adapter(adapter_of(world, unwrapped(world, tmp_path / "begun", "keep")).fetch())
    given = read_adapter(world.store.fetch(key))
    for layer, (a, _) in begun.pairs.items():  # not rounded to the base's precision
        assert torch.allclose(a.load(), given.pairs[layer][0].load(), atol=1e-7)
        assert torch.allclose(begun.magnitudes[layer].load(), given.magnitudes[layer].load(), atol=1e-7)


def test_an_adapter_of_unknown_origin_begins_nothing(world: SmallTraining, tmp_path: Path) -> None:
    key, _ = a_start(world, tmp_path, "lora", origin=None)
    with pytest.raises(LineageError, match="does not know where") as refused:
        trained(world, tmp_path / "next", lora_start=key)
    assert "adapter import" in refused.value.cure


def test_the_groups_own_adapter_begins_only_where_its_recordings_are_all_there(world: SmallTraining, tmp_path: Path) -> None:
    whole = load_manifest(world.dataset, "datasets", DatasetRow)
    whole.save(world.store)
    trained(world, tmp_path / "first", steps=2)
    first = unwrapped(world, tmp_path / "first", "keep")
    trained(world, tmp_path / "second", steps=2, seed=2, lora_start=first.adapter)
    assert unwrapped(world, tmp_path / "second", "keep").origin is None
    part = Manifest("datasets", [row for row in whole.rows if row.contributors != ("chi",)], whole.meta)
    made = dataclasses.replace(world, folder=tmp_path, dataset=part.write(tmp_path / "part.jsonl"))
    made.encoded()
    with pytest.raises(LineageError, match="recordings that this dataset does not have"):
        trained(made, tmp_path / "third", lora_start=first.adapter)


def test_layers_that_no_word_means_are_named(world: SmallTraining, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'atention'") as refused:
        trained(world, tmp_path / "wrong", lora_layers="atention")
    assert "attention" in refused.value.cure
    assert "self_attn" in refused.value.cure
