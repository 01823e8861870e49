"""Trains the tiny base's diffusion transformer and word embeddings on latents, with the v objective (Salimans and Ho 2022)."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiotune.stable_audio.objective import add_noise
from bases.tiny.training_sounds import RATE_HZ, RATIO, SynthesizedSounds

BATCH, CAPTION_DROPOUT, EMA_DECAY = 40, 0.12, 0.998

Latents = dict[int, tuple[Tensor, list[list[str]]]]  # length -> latents [sounds, channels, frames], captions


def encode_material(pretransform: Any, material: dict[int, SynthesizedSounds]) -> Latents:
    """Encodes all sounds, without padding."""
    latents: Latents = {}
    with torch.no_grad():
        for length, sounds in material.items():
            rows = []
            for i in range(0, len(sounds.features), 64):
                mean, _ = pretransform.squeeze.posterior(torch.from_numpy(sounds.features[i : i + 64].astype(np.float32)))
                rows.append(((mean - pretransform.centre) / pretransform.spread).transpose(1, 2))
            latents[length] = (torch.cat(rows), sounds.captions)
    return latents


def train_diffusion(
    model: Any, latents: Latents, steps: int, seed: int, save: Callable[[], None], log: Path, lr: float = 8e-4
) -> None:
    """Trains for `steps` steps; during `save` and at the end the model has the moving average of its weights."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    trained = torch.nn.ModuleList([model.model, model.conditioner]).train().requires_grad_(True)
    parameters = list(trained.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05, final_div_factor=50)
    average = [p.detach().clone() for p in parameters]
    started, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        error = _compute_error(model, *_draw_batch(latents, rng))
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
        total += float(error.detach())
        if step % 50 == 0:
            with log.open("a") as out:
                out.write(f"diffusion step {step} loss {total / 50:.4f} {(time.monotonic() - started) / step:.2f} s a step\n")
            total = 0.0
        if step % 250 == 0 or step == steps:
            own = [p.detach().clone() for p in parameters]
            _set_weights(parameters, average)
            save()
            _set_weights(parameters, own)
    _set_weights(parameters, average)
    trained.eval()


def _set_weights(parameters: list[Any], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values):
        parameter.data.copy_(value)


def _draw_batch(latents: Latents, rng: np.random.Generator) -> tuple[Tensor, list[dict[str, Any]]]:
    """Latents of one length and their conditioning; more rows if they are short."""
    length = int(rng.choice(list(latents)))
    rows, captions = latents[length]
    chosen = rng.integers(0, len(rows), max(16, BATCH * 32 // length))
    seconds = length * RATIO / RATE_HZ
    words = [{"prompt": captions[i][int(rng.integers(len(captions[i])))], "seconds_total": seconds} for i in chosen]
    return rows[chosen], words


def _compute_error(model: Any, clean: Tensor, words: list[dict[str, Any]]) -> Tensor:
    count = len(clean)
    t = (torch.arange(count) + torch.rand(count)) / count  # stratified: each batch has all noise levels
    t = t[torch.randperm(count)]
    noised, target = add_noise("v", clean, torch.randn_like(clean), t)
    cond = model.conditioner(words, "cpu")
    output = model(noised, t, cond=cond, cfg_dropout_prob=CAPTION_DROPOUT, use_checkpointing=False)
    return torch.nn.functional.mse_loss(output, target)
