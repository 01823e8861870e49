"""The model during training: its trainable weights, and the loss of a part of a batch.

Diffusion transformer and conditioners are those of stable-audio-tools, called as its training wrapper calls them. Inputs are
cached latents and embeddings, so neither the autoencoder nor a T5 runs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from audiotune.errors import ModelError
from audiotune.stable_audio.conditioning import add_inpainting
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.objective import add_noise, sum_squared_errors
from audiotune.stable_audio.text_embeddings import TABLES, find_word_conditioners
from audiotune.stable_audio.weight_merging import LoraWeights
from components.finetune.lora_training import add_adapters, is_adapter_name, remove_peft_affixes
from components.finetune.padding import PaddingMask
from components.finetune.settings import Settings
from components.finetune.training_batches import derive_seed


@dataclass
class BatchPart:
    """A part of a batch, on the device. (Not frozen: Lightning moves its tensors in place.)

    Attributes:
        latents, noise: float32 [rows, channels, frames], zeros after the end of each row.
        frames: int64 [rows], true lengths.
        is_padded: whether a row ends before the last token. (Known on the CPU: to ask the GPU would wait for it.)
        t: float32 [rows], noise levels.
        dropped: bool [rows], trained without words.
        prompts: captions, for conditioners that are trained.
        seconds: duration of each sound.
        embeddings: id of a frozen word conditioner -> [embedding [rows, tokens, width], mask].
    """

    latents: torch.Tensor
    noise: torch.Tensor
    frames: torch.Tensor
    is_padded: bool
    t: torch.Tensor
    dropped: torch.Tensor
    prompts: list[str]
    seconds: list[float]
    embeddings: dict[str, list[Any]]


class TrainingModel(nn.Module):
    """Diffusion transformer and conditioner, of which some parameters are trained.

    Parameter names are those of stable-audio-tools' wrapper: `model....` and `conditioner....`.

    Raises:
        ModelError: not a diffusion transformer.
    """

    wrapper: Any

    def __init__(self, sa: StableAudio, settings: Settings, start: LoraWeights | None = None) -> None:
        super().__init__()
        self.__dict__["wrapper"] = sa.model  # unregistered: the autoencoder is neither trained nor moved
        self.model, self.conditioner = sa.model.model, sa.model.conditioner
        self.settings, self.config, self.objective, self.patch = settings, sa.config, sa.objective, sa.patch_frames
        self.padding = PaddingMask(self._diffusion_transformer().transformer)
        self.words = find_word_conditioners(sa.config)
        self.learns_words = should_train_words(sa.config, settings)
        self._select_trainable(start)

    def forward(self, part: BatchPart) -> torch.Tensor:
        """Sum of squared errors of each row over its true frames, float32 [rows]."""
        mask = torch.arange(part.latents.shape[2], device=part.frames.device) < part.frames[:, None]
        inputs, targets = add_noise(self.objective, part.latents, part.noise, part.t)
        known = self._conditioning_inputs(part)
        tokens = mask.unflatten(1, (-1, self.patch)).any(dim=2)
        self.padding.set_mask(tokens if part.is_padded else None, self._count_prepended_tokens(known))
        output = self.model(inputs, part.t, use_checkpointing=self.settings.activation_checkpointing, **known)
        return sum_squared_errors(output, targets, mask)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The trained parameters, by their names without peft's affixes."""
        return {remove_peft_affixes(name): p for name, p in self.named_parameters() if p.requires_grad}

    def _select_trainable(self, start: LoraWeights | None) -> None:
        self.requires_grad_(False)
        if self.settings.weights == "bf16":
            self.model.bfloat16()
        if self.settings.mode == "lora":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive_seed(self.settings.seed, "adapters", 0))
                add_adapters(self.model, self.settings, start)
            for name, parameter in self.model.named_parameters():
                if is_adapter_name(name):
                    parameter.data = parameter.data.float()  # peft takes the layer's precision, in which small steps are lost
                    parameter.requires_grad_(True)
        else:
            self.model.requires_grad_(True)
        for key in self.words if self.learns_words else ():
            self.conditioner.conditioners[key].requires_grad_(True)

    def _conditioning_inputs(self, part: BatchPart) -> dict[str, Any]:
        """The transformer's conditioning inputs; dropped rows get zeros, as for guidance at generation."""
        cond = {key: self._run_conditioner(key, part) for key in self.conditioner.conditioners}
        inputs = self.wrapper.get_conditioning_inputs(add_inpainting(self.config, cond, part.latents))
        for name in ("cross_attn_cond", "prepend_cond"):
            if inputs[name] is not None:
                inputs[name] = inputs[name].masked_fill(part.dropped[:, None, None], 0.0)
        return dict(inputs)

    def _run_conditioner(self, key: str, part: BatchPart) -> list[Any]:
        if key in part.embeddings:
            return part.embeddings[key]
        conditioner, device = self.conditioner.conditioners[key], part.latents.device
        if key in self.words:
            return list(conditioner(part.prompts, device))
        values: dict[str, list[float]] = {"seconds_start": [0.0] * len(part.seconds), "seconds_total": part.seconds}
        if key not in values:
            raise ModelError(f"the base wants to know {key!r} of each sound", cure="take a base that is told words and seconds")
        return list(conditioner(values[key], device))

    def _count_prepended_tokens(self, known: dict[str, Any]) -> int:
        """Number of tokens that the transformer inserts before the frames."""
        diffusion = self._diffusion_transformer()
        prepended = 0 if known["prepend_cond"] is None else int(known["prepend_cond"].shape[1])
        if diffusion.global_cond_type == "prepend" and (
            diffusion.timestep_cond_type == "global" or known["global_cond"] is not None
        ):
            prepended += 1
        return prepended + int(diffusion.transformer.num_memory_tokens)

    def _diffusion_transformer(self) -> Any:
        diffusion = getattr(self.model, "model", None)
        if not hasattr(diffusion, "transformer"):
            raise ModelError("the base is no diffusion transformer", cure="take a base of type dit, such as Stable Audio Open")
        return diffusion


def should_train_words(config: dict[str, Any], settings: Settings) -> bool:
    """Whether word conditioners are trained: by the setting; if it is not set, tables are trained and T5s are not.

    Raises:
        ModelError: the setting would train a T5.
    """
    types = set(find_word_conditioners(config).values())
    if settings.train_conditioner and types - set(TABLES):
        raise ModelError(
            f"a conditioner of type {min(types - set(TABLES))} is not trained here", cure="leave train_conditioner unset"
        )
    return bool(types) and not types - set(TABLES) if settings.train_conditioner is None else settings.train_conditioner
