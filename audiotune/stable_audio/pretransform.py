"""The tiny base's autoencoder as a Pretransform of stable-audio-tools: spectral features (`spectral_features`) to latents.

A variational autoencoder (Kingma and Welling 2014) of one-dimensional ConvNeXt blocks (Liu et al. 2022). It is trained by
regression on features, hundreds of times cheaper than an autoencoder of waveforms.
"""

from typing import Any

import torch
from stable_audio_tools.models.pretransforms import Pretransform
from torch import Tensor, nn
from torch.nn import functional as F

from audiotune.stable_audio import spectral_features

FRAMES_PER_LATENT = 2  # spectral frames a latent frame
RATIO = FRAMES_PER_LATENT * spectral_features.HOP


class ConvNextBlock(nn.Module):
    """ConvNeXt block on [batch, frames, width]: convolution of each channel over time, then a mix of all channels of a frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.along = nn.Parameter(torch.randn(5, width) * 0.3)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.back = nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        # A depthwise convolution over five frames. Shifted sums are ten times faster on a CPU than a grouped convolution.
        padded, frames = F.pad(x, (0, 0, 2, 2)), x.shape[1]
        y = sum((padded[:, i : i + frames] * weight for i, weight in enumerate(self.along)), torch.zeros_like(x))
        return x + self.scale * self.back(F.gelu(self.wide(self.norm(y))))


class SpectralAutoencoder(nn.Module):
    """The autoencoder of features [batch, frames, FEATURES] and latents [batch, frames / FOLD, latents]."""

    def __init__(self, latents: int, encoder_width: int, encoder_depth: int, decoder_width: int, decoder_depth: int) -> None:
        super().__init__()
        folded = FRAMES_PER_LATENT * spectral_features.FEATURES
        self.latents = latents
        self.encoder = nn.Sequential(
            nn.Linear(folded, encoder_width),
            *(ConvNextBlock(encoder_width) for _ in range(encoder_depth)),
            nn.LayerNorm(encoder_width),
            nn.Linear(encoder_width, 2 * latents),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latents, decoder_width),
            *(ConvNextBlock(decoder_width) for _ in range(decoder_depth)),
            nn.LayerNorm(decoder_width),
            nn.Linear(decoder_width, folded),
        )

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, [batch, latent frames, latents] each."""
        batch, frames, width = features.shape
        folded = features.reshape(batch, frames // FRAMES_PER_LATENT, FRAMES_PER_LATENT * width)
        mean, log_variance = self.encoder(folded).chunk(2, dim=-1)
        return mean, log_variance.clamp(-12, 4)

    def features(self, latents: Tensor) -> Tensor:
        """Features [batch, frames, FEATURES] of latents [batch, latent frames, latents]; levels may lie below the floor."""
        out: Tensor = self.decoder(latents)
        return out.reshape(len(out), -1, spectral_features.FEATURES)


class SpectralPretransform(Pretransform):
    """Pretransform type "audiotune_spectral": mono at 22,050 Hz, 1024 samples a latent frame.

    Each latent channel has mean 0 and standard deviation 1 over the training data (buffers `centre`, `spread`).
    `encode` is deterministic: the mean of the posterior.

    Raises:
        ValueError: another sample rate than 22,050 Hz.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        enable_grad: bool = False,
        latents: int = 32,
        encoder_width: int = 256,
        encoder_depth: int = 3,
        decoder_width: int = 288,
        decoder_depth: int = 5,
    ) -> None:
        super().__init__(enable_grad=enable_grad, io_channels=1, is_discrete=False)
        if sample_rate != spectral_features.RATE_HZ:
            raise ValueError(f"the spectral pretransform works at {spectral_features.RATE_HZ} Hz, the config says {sample_rate}")
        self.sample_rate = sample_rate
        self.encoded_channels = latents
        self.downsampling_ratio = RATIO
        self.squeeze = SpectralAutoencoder(latents, encoder_width, encoder_depth, decoder_width, decoder_depth)
        self.centre = nn.Buffer(torch.zeros(latents))
        self.spread = nn.Buffer(torch.ones(latents))

    def encode(self, x: Tensor, **ignored: Any) -> Tensor:
        """Audio [batch, 1, samples] -> latents [batch, latents, ceil(samples / 1024)]; pads the end with zeros."""
        audio = F.pad(x.float().mean(dim=1), (0, -x.shape[-1] % RATIO))
        mean, _ = self.squeeze.posterior(spectral_features.join_features(spectral_features.analyse_audio(audio)))
        return ((mean - self.centre) / self.spread).transpose(1, 2)

    def decode(self, z: Tensor, **ignored: Any) -> Tensor:
        """Latents [batch, latents, frames] -> audio [batch, 1, frames * 1024], not limited."""
        features = self.squeeze.features(z.float().transpose(1, 2) * self.spread + self.centre)
        return spectral_features.synthesise_audio(spectral_features.split_features(features))[:, None]
