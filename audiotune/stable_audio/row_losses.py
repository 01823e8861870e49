"""Measures the loss by noise level, row by row without padding, with fixed captions and noise. Levels are those of validation."""

from collections.abc import Iterator, Sequence
from typing import Any

from audiotune.domain.dataset import LatentRow
from audiotune.stable_audio.conditioning import add_inpainting, embed_prompts
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.objective import LOSS_LEVELS, add_noise, make_loss_levels, sum_squared_errors
from audiotune.stable_audio.threads import choose_threads, use_threads
from audiotune.store import tensor_files
from audiotune.store.port import Store

Losses = dict[float, float]  # noise level -> mean squared error per latent value


def measure_loss_by_level(sa: StableAudio, store: Store, rows: Sequence[LatentRow]) -> Losses:
    """Mean squared error per latent value at each noise level, for the model's objective; empty without rows."""
    measured = [(losses, values) for losses, values in measure_row_losses(sa, store, rows) if values]
    count = sum(values for _, values in measured)
    return {level: sum(losses[level] * values for losses, values in measured) / count for level in LOSS_LEVELS} if count else {}


def measure_row_losses(sa: StableAudio, store: Store, rows: Sequence[LatentRow]) -> Iterator[tuple[Losses, int]]:
    """(mean squared error at each level, how many latent values) of each row. The noise of a row is that of its place among the rows.

    A row too short for the model gives ({}, 0).
    """
    import torch

    for number, row in enumerate(rows):
        with torch.no_grad():
            latents = tensor_files.read_tensors(store.fetch(row.latents))["latents"][None].to(sa.device)
            latents = latents[..., : latents.shape[-1] // sa.patch_frames * sa.patch_frames]
            if not latents.numel():
                yield {}, 0
                continue
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(number)).to(latents)
            summed = _measure_row(sa, latents, noise, row)
        yield {level: error / latents.numel() for level, error in summed.items()}, latents.numel()


def _measure_row(sa: StableAudio, latents: Any, noise: Any, row: LatentRow) -> Losses:
    """Sum of squared errors of one row at each level, computed as one batch."""
    import torch

    count = len(LOSS_LEVELS)
    levels = make_loss_levels(torch.tensor([row.latent_frames]), sa.model.dist_shift)[:, 0].to(latents)
    noised, target = add_noise(sa.objective, latents.expand(count, -1, -1), noise.expand(count, -1, -1), levels)
    conditioning = embed_prompts(sa, [row.captions[0]] * count, [row.seconds] * count)
    dtype = next(sa.model.model.parameters()).dtype
    with use_threads(choose_threads(sa, count * latents.shape[-1] // sa.patch_frames)):
        output = sa.model(noised.to(dtype), levels.to(dtype), add_inpainting(sa.config, conditioning, noised.to(dtype)))
    return dict(zip(LOSS_LEVELS, sum_squared_errors(output, target).tolist(), strict=True))
