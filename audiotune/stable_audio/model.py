"""A loaded model: the modules of stable-audio-tools and the values of its config."""

from dataclasses import dataclass
from typing import Any

from audiotune.stable_audio.generation_defaults import read_generation_defaults
from audiotune.stable_audio.known_bases import GenerationDefaults


@dataclass(frozen=True, slots=True)
class StableAudio:
    """A loaded model.

    Attributes:
        model: stable-audio-tools' ConditionedDiffusionModelWrapper, in eval mode.
        config: the model config it was made from, with absolute paths.
    """

    model: Any
    config: dict[str, Any]

    @property
    def device(self) -> Any:
        return next(self.model.model.parameters()).device

    @property
    def sample_rate_hz(self) -> int:
        return int(self.config["sample_rate"])

    @property
    def channels(self) -> int:
        """Audio channels of the autoencoder."""
        return int(self.model.pretransform.io_channels if self.model.pretransform is not None else self.model.io_channels)

    @property
    def latent_channels(self) -> int:
        return int(self.model.io_channels)

    @property
    def downsampling_ratio(self) -> int:
        """Audio frames per latent frame."""
        return int(self.model.pretransform.downsampling_ratio) if self.model.pretransform is not None else 1

    @property
    def window_frames(self) -> int:
        """Audio frames of the longest sound it was trained for (`sample_size` in the config)."""
        return int(self.config["sample_size"])

    @property
    def patch_frames(self) -> int:
        """Latent frames per token of the transformer; the length of a sound is a multiple of it."""
        return int(getattr(getattr(self.model.model, "model", None), "patch_size", 1))

    @property
    def objective(self) -> str:
        """ "v", "rectified_flow" or "rf_denoiser"."""
        return str(self.model.diffusion_objective)

    @property
    def defaults(self) -> GenerationDefaults:
        """How it is sampled when nobody says otherwise."""
        return read_generation_defaults(self.config)
