"""The parts of a model that only sounds need: the autoencoder and the text encoders. A training leaves them where they were loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from audiotune.stable_audio.model import StableAudio


@contextlib.contextmanager
def bring_listening_parts(sa: StableAudio) -> Iterator[None]:
    """Within the block autoencoder and text encoders are on the diffusion model's device; then they are where they were before.

    What they needed of a GPU is given back at the end, also after an error.
    """
    import torch

    parts = list(_list_parts(sa.model))
    homes = [next((p.device for p in part.parameters()), sa.device) for part in parts]
    try:
        for part in parts:
            part.to(sa.device)
        yield
    finally:
        for part, home in zip(parts, homes):
            part.to(home)
        if sa.device.type == "cuda":
            torch.cuda.empty_cache()


def _list_parts(model: Any) -> Iterator[Any]:
    """The pretransform, and the text encoders, which upstream keeps outside the tree of modules."""
    from torch import nn

    if model.pretransform is not None:
        yield model.pretransform
    for conditioner in getattr(model.conditioner, "conditioners", {}).values():
        encoder = vars(conditioner).get("model")
        if isinstance(encoder, nn.Module):
            yield encoder
