"""Training with bf16 weights and small optimizer state, with a real, very small model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from audiotune.domain.release import WeightsPointer
from audiotune.store import tensor_files
from tests.integration.test_training_demos import run_finetune

pytestmark = pytest.mark.integration

SMALL: dict[str, Any] = {"weights": "bf16", "optimizer_state": "int8", "demos": 0, "ema_decay": 0.0, "steps": 6}


def read_weights(made: Any, checkpoint: Any) -> dict[str, torch.Tensor]:
    return tensor_files.read_tensors(made.store.fetch(checkpoint.weights))


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_it_resumes_bit_for_bit_and_its_checkpoints_are_small(made: Any, tmp_path: Path, mode: str) -> None:
    from audiotune.stable_audio.load import load_model
    from components.finetune.settings import Settings
    from components.finetune.training_model import TrainingModel
    from components.finetune.training_state import count_checkpoint_bytes

    whole = run_finetune(made, tmp_path, mode=mode, seed=3, **SMALL)
    for entry in list(made.store.list("checkpoints/")):
        made.store.delete(entry.key)
    run_finetune(made, tmp_path, mode=mode, seed=3, **{**SMALL, "steps": 3})
    resumed = run_finetune(made, tmp_path, mode=mode, seed=3, **SMALL)
    assert (resumed.weights, resumed.optimizer) == (whole.weights, whole.optimizer)
    weights = read_weights(made, whole)
    dtypes = {name.split(".")[0]: tensor.dtype for name, tensor in weights.items() if "conditioner" not in name}
    assert set(dtypes.values()) == {torch.bfloat16 if mode == "full" else torch.float32}, "adapters stay fp32"
    states = tensor_files.read_tensors(made.store.fetch(whole.optimizer))
    named = TrainingModel(load_model(made.base), Settings.model_validate(whole.recipe)).trainable_parameters()
    tensors = [*weights.values(), *states.values()]
    assert sum(tensor.nbytes for tensor in tensors) == count_checkpoint_bytes(named, Settings.model_validate(whole.recipe))


def test_bf16_weights_become_a_release_that_loads(made: Any, tmp_path: Path) -> None:
    from audiotune.stable_audio.release_weights import open_weights
    from components.unwrap.settings import Settings
    from components.unwrap.step import run_step

    kept = run_finetune(made, tmp_path, mode="full", seed=4, **SMALL)
    files = {"checkpoint": tmp_path / "checkpoint", "weights": tmp_path / "weights", "metrics": tmp_path / "m"}
    run_step(Settings(), made.store, lambda share, words: None, **files)
    pointer = WeightsPointer.model_validate_json((tmp_path / "weights").read_bytes())
    state = open_weights(made.store, pointer).model.state_dict()
    for name, tensor in read_weights(made, kept).items():
        assert torch.equal(state[name], tensor.to(state[name].dtype))


def test_a_run_of_before_keeps_its_key(made: Any) -> None:
    """A run that was begun before these settings existed goes on."""
    from audiotune.stable_audio.base_models import resolve_base
    from components.finetune.settings import Settings
    from components.finetune.step import compute_run_key

    base, latents = resolve_base(made.store, str(made.base)), made.latents()
    keys = [
        compute_run_key(Settings(**changes), latents, base) for changes in ({}, {"weights": "bf16"}, {"optimizer_state": "int8"})
    ]
    assert len(set(keys)) == 3
    assert keys[0] == compute_run_key(Settings(weights="fp32", optimizer_state="fp32"), latents, base)


def describe_stable_audio_open() -> dict[str, Any]:
    """The transformer of Stable Audio Open 1.0, by its published config; a small autoencoder, which is never trained."""
    from tests.fakes.random_model import make_random_config

    config = make_random_config()
    model = config["model"]
    model["conditioning"]["cond_dim"] = 768
    model["diffusion"]["config"] |= {
        "embed_dim": 1536,
        "depth": 24,
        "num_heads": 24,
        "cond_token_dim": 768,
        "global_cond_dim": 768,
    }
    return config


@pytest.mark.parametrize(
    ("changes", "most_gb"),
    [
        ({"mode": "lora"}, 0.2),
        ({"mode": "lora", "optimizer_state": "int8"}, 0.1),
        ({"optimizer_state": "int8", "weights": "bf16"}, 6.0),
    ],
)
def test_checkpoints_of_the_large_base_are_small(changes: dict[str, Any], most_gb: float) -> None:
    from audiotune.stable_audio.fake_gpu import imitate_gpu
    from audiotune.stable_audio.fake_model import build_fake_model
    from components.finetune.settings import Settings
    from components.finetune.training_model import TrainingModel
    from components.finetune.training_state import count_checkpoint_bytes

    settings = Settings(train_conditioner=False, **changes)
    with imitate_gpu():
        named = TrainingModel(build_fake_model(describe_stable_audio_open()), settings).trainable_parameters()
        size = count_checkpoint_bytes(named, settings)
    trained = sum(p.numel() for p in named.values())
    assert trained > (1e9 if settings.mode == "full" else 1e7)
    assert most_gb / 2 < size / 1e9 <= most_gb
