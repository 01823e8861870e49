"""Draws the inputs of a step from the seed and the step number: rows, caption variants, noise, noise levels, dropout.

There is no state: a resumed run draws the same, and the division of a batch (GPUs, accumulation) changes nothing. The rows are an
endless sequence of shuffled epochs, so a batch may be larger than the dataset. Up to eight batches of an epoch are sorted by length
and then shuffled, so that sounds of a batch have similar lengths and little padding.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from components.finetune.settings import Settings

_POOL = 8  # batches, at most


@dataclass(frozen=True)
class BatchDraw:
    """The random draws of one step, on the CPU.

    Attributes:
        rows: int64 [batch], rows of the dataset, shortest first.
        captions: float32 [batch] in [0, 1): selects the caption variant.
        uniform: float32 [batch] in (0, 1), stratified: selects the noise level.
        dropped: bool [batch]: trained without words.
        noise: float32 [batch, channels, frames], normal.
    """

    rows: torch.Tensor
    captions: torch.Tensor
    uniform: torch.Tensor
    dropped: torch.Tensor
    noise: torch.Tensor


def draw_batch(settings: Settings, frames: torch.Tensor, channels: int, step: int) -> BatchDraw:
    """Draws step `step` (from 0).

    Args:
        frames: int64 [all rows], true lengths in latent frames.
        channels: latent channels.
    """
    rows = draw_rows(settings.seed, frames, settings.batch_size, step)
    random = make_generator(settings.seed, "draw", step)
    size = len(rows)
    return BatchDraw(
        rows=rows,
        captions=torch.rand(size, generator=random),
        uniform=draw_stratified(size, random),
        dropped=torch.rand(size, generator=random) < settings.caption_dropout,
        noise=torch.randn(size, channels, int(frames[rows].max()), generator=random),
    )


def split_by_length(frames: Sequence[int], start: int, end: int, least: float = 0.0) -> list[tuple[int, int]]:
    """Splits rows `start` to `end` into consecutive parts, each padded only to its own longest row.

    Args:
        frames: true lengths of a draw's rows, shortest first.
        least: frames of padding that a split must save, because small parts are less efficient; 0 is a tenth of the whole, 1
            leaves no padding.
    """
    longest = frames[end - 1]
    least = least or (end - start) * longest / 10
    spared, cut = max(((cut - start) * (longest - frames[cut - 1]), cut) for cut in range(start + 1, end + 1))
    if spared < least:
        return [(start, end)]
    return [*split_by_length(frames, start, cut, least), *split_by_length(frames, cut, end, least)]


def draw_rows(seed: int, frames: torch.Tensor, batch_size: int, step: int) -> torch.Tensor:
    """Rows of one step, int64 [batch_size], shortest first."""
    size = max(1, min(_POOL, len(frames) // batch_size))  # never more than an epoch, or one sound could fill a batch
    pool, place = divmod(step, size)
    stream = range(pool * size * batch_size, (pool + 1) * size * batch_size)
    epochs = range(stream.start // len(frames), (stream.stop - 1) // len(frames) + 1)
    orders = torch.cat([torch.randperm(len(frames), generator=make_generator(seed, "epoch", epoch)) for epoch in epochs])
    skipped = stream.start - epochs.start * len(frames)
    rows = orders[skipped : skipped + len(stream)]
    rows = rows[torch.argsort(frames[rows], stable=True)]
    batches = torch.randperm(size, generator=make_generator(seed, "pool", pool))
    return rows.reshape(size, batch_size)[batches[place]]


def draw_stratified(size: int, random: torch.Generator) -> torch.Tensor:
    """float32 [size]: one uniform draw in each of `size` equal strata, in random order.

    Upstream draws noise levels from a Sobol sequence for the same reason: less variance in the loss than independent draws.
    """
    strata = torch.randperm(size, generator=random)
    within = torch.rand(size, generator=random)
    return ((strata + within) / size).clamp(1e-6, 1 - 1e-6)


def make_generator(seed: int, purpose: str, number: int) -> torch.Generator:
    """A generator that depends only on the three arguments."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, number))


def derive_seed(seed: int, purpose: str, number: int) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
