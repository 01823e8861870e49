"""Encoding and decoding at true length: a sound of any length becomes as many latent frames as it needs, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotune.audio.sound import Sound
from audiotune.errors import ModelError
from audiotune.stable_audio.model import StableAudio

Latents = NDArray[np.float32]  # [latent_channels, latent_frames]


def encode_sound(sa: StableAudio, sound: Sound) -> Latents:
    """Latents of a sound at its true length: ceil(frames / downsampling_ratio) latent frames.

    Resampled and fitted to the model's channels first. Deterministic: the mean of the autoencoder's posterior, not a draw.

    Raises:
        ModelError: the sound has no frames, or the model no autoencoder.
    """
    import torch

    fitted = sound.to_channels(sa.channels).resample(sa.sample_rate_hz)
    if fitted.frames == 0:
        raise ModelError("a sound without frames cannot be encoded", cure="leave it out")
    padded = np.pad(fitted.data, ((0, 0), (0, -fitted.frames % sa.downsampling_ratio)))
    with torch.no_grad():
        latents = _encode_mean(_require_pretransform(sa), torch.from_numpy(padded)[None].to(sa.device))
    return np.ascontiguousarray(latents[0].float().cpu().numpy())


def decode_latents(sa: StableAudio, latents: Latents, frames: int | None = None) -> Sound:
    """The sound of latents [latent_channels, latent_frames]; cut to `frames` where given.

    What would go beyond [-1, 1] is made quieter as a whole, never clipped.
    """
    import torch

    pretransform = _require_pretransform(sa)
    z = torch.from_numpy(np.ascontiguousarray(latents, dtype=np.float32))[None].to(sa.device)
    with torch.no_grad():
        audio = pretransform.decode(z)[0].float().cpu().numpy()[:, :frames]
    return Sound(audio / max(1.0, float(np.abs(audio).max(initial=0.0))), sa.sample_rate_hz)


def _require_pretransform(sa: StableAudio) -> Any:
    if sa.model.pretransform is None:
        raise ModelError("this model has no autoencoder", cure="use a latent model such as the tiny base")
    return sa.model.pretransform


def _encode_mean(pretransform: Any, audio: Any) -> Any:
    """stable-audio-tools draws from the posterior; the first half of the channels before the bottleneck is its mean."""
    autoencoder = getattr(pretransform, "model", None)
    if autoencoder is None or not hasattr(autoencoder, "bottleneck"):
        return pretransform.encode(audio)  # ours, and those without a draw
    if type(autoencoder.bottleneck).__name__ != "VAEBottleneck":
        return pretransform.encode(audio)
    mean, _ = autoencoder.encode(audio, skip_bottleneck=True).chunk(2, dim=1)
    return mean / pretransform.scale
