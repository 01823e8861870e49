"""A padding mask for sounds of different length in one batch, so that padding does not change any sound.

stable-audio-tools' transformer accepts a padding mask and ignores it, so padded frames change the others by self-attention. Here
`apply_attn` of the attention modules is wrapped to use the mask. All other layers process each frame by itself, and positions
count from the first frame, so padding at the end changes no position.
"""

from typing import Any

import torch
from torch.nn import functional


class PaddingMask:
    """Applies the mask of `set_mask` to the self-attention of a diffusion transformer.

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
        """`least` of `split_by_length`: 1 if layers other than attention mix frames, which no mask prevents, so that a batch must
        have one length; else 0."""
        mixes = any(block.conformer is not None or block.self_attn.feat_scale for block in self._blocks)
        return 1.0 if mixes else 0.0

    def set_mask(self, mask: torch.Tensor | None, before: int) -> None:
        """Masks tokens until the next call: the backward pass may compute activations again.

        Args:
            mask: bool [batch, tokens]; False is padding. None masks nothing.
            before: number of preceding tokens (prepended conditioning, memory), which are never masked.
        """
        self._keys = None if mask is None else functional.pad(mask, (before, 0), value=True)[:, None, None, :]

    def _wrap_attention(self, plain: Any) -> Any:
        def apply_attn(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            if self._keys is None:
                return plain(q, k, v, *args, **options)
            if k.shape[1] != q.shape[1]:
                k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=self._keys)

        return apply_attn
