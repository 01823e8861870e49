"""The rows of a training, read from the store once and cached in memory up to a limit."""

from collections.abc import Sequence
from typing import Any

import torch

from audiotune.domain.dataset import LatentRow
from audiotune.errors import TrainingError
from audiotune.stable_audio import text_embeddings
from audiotune.stable_audio.conditioning import stack_rows
from audiotune.store import tensor_files
from audiotune.store.port import Store
from components.finetune.training_batches import BatchDraw
from components.finetune.training_model import BatchPart

_CACHE_BYTES = 2 << 30


class LatentDataset:
    """Rows of one split.

    Args:
        rows: at least one.
        cached_words: use the embeddings of the store; else batches contain the prompts as text.
    """

    def __init__(self, rows: Sequence[LatentRow], store: Store, *, cached_words: bool) -> None:
        if not rows:
            raise TrainingError(
                "no segment to train on", cure="annotate more segments, or lower the held-out share in annotate_merge"
            )
        self.rows, self._store, self._cached_words = rows, store, cached_words
        self.frames = torch.tensor([row.latent_frames for row in rows])
        self._kept: dict[str, Any] = {}
        self._free_bytes = _CACHE_BYTES

    @property
    def channels(self) -> int:
        return int(self._read_latents(self.rows[0]).shape[0])

    def batch_part(
        self, draw: BatchDraw, t: torch.Tensor, start: int, end: int, device: torch.device, patch: int = 1
    ) -> BatchPart:
        """Rows `start` to `end` of a drawn batch, padded to the longest of them (a multiple of `patch`)."""
        rows = [self.rows[int(index)] for index in draw.rows[start:end]]
        frames = torch.tensor([row.latent_frames for row in rows])
        width = -(-int(frames.max()) // patch) * patch
        latents = torch.zeros(len(rows), draw.noise.shape[1], width)
        noise = torch.zeros_like(latents)
        for place, row in enumerate(rows):
            latents[place, :, : row.latent_frames] = self._read_latents(row)
            noise[place, :, : row.latent_frames] = draw.noise[start + place, :, : row.latent_frames]
        chosen = [min(int(u * len(row.captions)), len(row.captions) - 1) for u, row in zip(draw.captions[start:end], rows)]
        return BatchPart(
            latents=latents.to(device, non_blocking=True),
            noise=noise.to(device, non_blocking=True),
            frames=frames.to(device),
            is_padded=-(-int(frames.min()) // patch) * patch < width,
            t=t[start:end].to(device),
            dropped=draw.dropped[start:end].to(device),
            prompts=[row.captions[choice] for row, choice in zip(rows, chosen)],
            seconds=[row.seconds for row in rows],
            embeddings=self._join_embeddings(rows, chosen, device) if self._cached_words else {},
        )

    def _join_embeddings(self, rows: Sequence[LatentRow], chosen: Sequence[int], device: torch.device) -> dict[str, list[Any]]:
        joined = stack_rows([self._read_embedding(row.embeddings[choice]) for row, choice in zip(rows, chosen)])
        return {key: [None if tensor is None else tensor.to(device) for tensor in pair] for key, pair in joined.items()}

    def _read_latents(self, row: LatentRow) -> torch.Tensor:
        latents = self._kept.get(row.latents)
        if latents is None:
            latents = tensor_files.read_tensors(self._store.fetch(row.latents))["latents"]
            self._add_to_cache(row.latents, latents, latents.nbytes)
        return latents

    def _read_embedding(self, key: str) -> dict[str, list[Any]]:
        embedding = self._kept.get(key)
        if embedding is None:
            embedding = text_embeddings.read_embedding(self._store.fetch(key))
            self._add_to_cache(key, embedding, sum(x.nbytes for pair in embedding.values() for x in pair if x is not None))
        return dict(embedding)

    def _add_to_cache(self, key: str, value: Any, size: int) -> None:
        if size <= self._free_bytes:
            self._kept[key] = value
            self._free_bytes -= size
