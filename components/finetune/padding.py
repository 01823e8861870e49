"""Sounds of different length in one batch, each as if it were alone.

stable-audio-tools' transformer takes a padding mask and drops it, so self-attention lets padded frames change true ones. Here
the attention modules get the mask (their `apply_attn` is wrapped); everything else in the transformer works on each frame by
itself. Positions count from the first frame, so padding at the end changes no position.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


class PaddingMask:
    """Puts a mask into the self-attention of a diffusion transformer after `set_mask`; before that it changes nothing.

    Args:
        transformer: stable-audio-tools' ContinuousTransformer.
    """

    def __init__(self, transformer: Any) -> None:
        self._keys: torch.Tensor | None = None  # bool [batch, 1, 1, tokens]
        self._blocks: list[Any] = list(transformer.layers)
        for block in self._blocks:
            block.self_attn.apply_attn = self._wrap_attention(block.self_attn.apply_attn)

    @property
    def least_spared(self) -> float:
        """`least` of `split_by_length`: 1 if the transformer mixes neighbouring frames outside attention, where no mask hides
        padding, so that only equal lengths share a batch; else 0."""
        return 0.0 if self._is_exact() else 1.0

    def _is_exact(self) -> bool:
        return all(block.conformer is None and not block.self_attn.feat_scale for block in self._blocks)

    def set_mask(self, mask: torch.Tensor, before: int) -> None:
        """Hides tokens from now on, until the next call: the backward pass may compute activations again.

        Args:
            mask: bool [batch, tokens]; False is padding.
            before: tokens in front (prepended conditioning, memory) that are never hidden.
        """
        self._keys = None if bool(mask.all()) else functional.pad(mask, (before, 0), value=True)[:, None, None, :]

    def _wrap_attention(self, plain: Any) -> Any:
        def apply_attn(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            if self._keys is None:
                return plain(q, k, v, *args, **options)
            if k.shape[1] != q.shape[1]:
                k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=self._keys)

        return apply_attn
