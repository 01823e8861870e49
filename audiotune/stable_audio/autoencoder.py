"""Encoding and decoding without padding: a sound of any length becomes as many latent frames as it needs."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotune.audio.sound import Sound
from audiotune.errors import ModelError
from audiotune.stable_audio.model import StableAudio

Latents = NDArray[np.float32]  # [latent_channels, latent_frames]


def encode_sound(sa: StableAudio, sound: Sound, noise_seed: int | None = None) -> Latents:
    """Latents of a sound at its true length: ceil(frames / downsampling_ratio) latent frames.

    The sound is converted to the model's channels and sample rate first. The latents are the mean of the posterior; with a `noise_seed`
    they are a sample of it, where the autoencoder has one.

    Raises:
        ModelError: the sound has no frames, or the model has no autoencoder.
    """
    import torch

    fitted = sound.to_channels(sa.channels).resample(sa.sample_rate_hz)
    if fitted.frames == 0:
        raise ModelError("a sound without frames cannot be encoded", cure="leave it out")
    padded = np.pad(fitted.data, ((0, 0), (0, -fitted.frames % sa.downsampling_ratio)))
    pretransform = _require_pretransform(sa)
    device = _find_device(sa, pretransform)
    with torch.no_grad(), _fix_noise(device):
        latents = _encode_posterior(pretransform, torch.from_numpy(padded)[None].to(device), noise_seed)
    whole = latents[0, :, : padded.shape[1] // sa.downsampling_ratio]  # some autoencoders work in chunks and fill the last one up
    return np.ascontiguousarray(whole.float().cpu().numpy())


def decode_latents(sa: StableAudio, latents: Latents, frames: int | None = None) -> Sound:
    """The sound of latents [latent_channels, latent_frames], cut to `frames` if given; beyond [-1, 1] it is scaled, not clipped."""
    import torch

    pretransform = _require_pretransform(sa)
    device = _find_device(sa, pretransform)
    z = torch.from_numpy(np.ascontiguousarray(latents, dtype=np.float32))[None].to(device)
    length = latents.shape[1] * sa.downsampling_ratio if frames is None else frames
    with torch.no_grad(), _fix_noise(device):
        audio = pretransform.decode(z)[0].float().cpu().numpy()[:, :length]
    return Sound(audio / max(1.0, float(np.abs(audio).max(initial=0.0))), sa.sample_rate_hz)


def _require_pretransform(sa: StableAudio) -> Any:
    if sa.model.pretransform is None:
        raise ModelError("this model has no autoencoder", cure="use a latent model such as the tiny base")
    return sa.model.pretransform


def _find_device(sa: StableAudio, pretransform: Any) -> Any:
    """Where the autoencoder is: during a training not always where the diffusion model is."""
    return next((parameter.device for parameter in pretransform.parameters()), sa.device)


@contextlib.contextmanager
def _fix_noise(device: Any) -> Iterator[None]:
    """Within the block torch's own noise is always the same, and goes on afterwards as if nothing had been drawn: some autoencoders
    add a little of it (SAME, of Stable Audio 3), and the same sound must give the same latents."""
    import torch

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def _encode_posterior(pretransform: Any, audio: Any, noise_seed: int | None) -> Any:
    """stable-audio-tools samples the posterior; the first half of the channels before the bottleneck is its mean."""
    autoencoder = getattr(pretransform, "model", None)
    if autoencoder is None or type(getattr(autoencoder, "bottleneck", None)).__name__ != "VAEBottleneck":
        return pretransform.encode(audio)  # it draws no sample
    inner = autoencoder.pretransform
    mean, scale = autoencoder.encoder(audio if inner is None else inner.encode(audio)).chunk(2, dim=1)
    if noise_seed is not None:
        import torch

        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(noise_seed)).to(mean)
        mean = mean + noise * (torch.nn.functional.softplus(scale) + 1e-4)  # as upstream's VAEBottleneck
    return mean / pretransform.scale
