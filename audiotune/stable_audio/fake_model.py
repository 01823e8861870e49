"""Builds a model of a config on a GPU that is not there (`fake_gpu`): no weight is read or made, and no text encoder is needed."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiotune.errors import ModelError
from audiotune.stable_audio.fake_gpu import GPU
from audiotune.stable_audio.load import TINY_BASE, Precision, build_bare_model, move_to_device
from audiotune.stable_audio.local_parts import localize_config
from audiotune.stable_audio.model import StableAudio

# of a text encoder, by its last name: width of its embeddings, and its parameters in millions
TEXT_ENCODERS: Mapping[str, tuple[int, float]] = {
    "t5-small": (512, 35.3),
    "t5-base": (768, 109.6),
    "t5-large": (1024, 334.9),
    "flan-t5-base": (768, 109.6),
    "flan-t5-large": (1024, 341.2),
    "t5gemma-b-b-ul2": (768, 281.9),
}
_TEXT = {"t5": ("t5_model_name", "t5-base"), "t5gemma": ("model_name", "google/t5gemma-b-b-ul2")}


class TextEncoderShape(nn.Module):
    """Stands for a frozen text encoder: as many bytes of weights, and embeddings of the same shape.

    Attributes:
        weights: outside of the module's parameters, as upstream's: checkpoints do not contain the encoder.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], output_width: int) -> None:
        super().__init__()
        if name.split("/")[-1] not in TEXT_ENCODERS:
            known = ", ".join(TEXT_ENCODERS)
            raise ModelError(f"the size of the text encoder {name[:100]!r} is not known", cure=f"known are {known}")
        width, millions = TEXT_ENCODERS[name.split("/")[-1]]
        self.length = int(settings.get("max_length", 128))
        projects = width != output_width or bool(settings.get("project_out", False))
        self.proj_out = nn.Linear(width, output_width) if projects else nn.Identity()
        self.width = width
        self.__dict__["weights"] = torch.empty(round(millions * 1e6), dtype=torch.float16, device=GPU)

    def forward(self, texts: list[str], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings [texts, tokens, width] and their mask [texts, tokens]."""
        dtype = self.proj_out.weight.dtype if isinstance(self.proj_out, nn.Linear) else torch.float16
        embeddings = torch.zeros(len(texts), self.length, self.width, dtype=dtype, device=device)
        mask = torch.ones(len(texts), self.length, dtype=torch.bool, device=device)
        return self.proj_out(embeddings) * mask.unsqueeze(-1).float(), mask


def build_fake_model(config: Mapping[str, Any], folder: Path = TINY_BASE, *, precision: Precision = "fp32") -> StableAudio:
    """The model of a config with tensors of the GPU, as `load_model` gives it. Call it, and use the model, within `imitate_gpu`.

    Args:
        folder: where the tokenizers of tables of words are; text encoders need no files.

    Raises:
        ModelError: the config cannot be built, or the size of its text encoder is not known.
    """
    bare = copy.deepcopy(dict(config))
    conditioning = bare["model"].get("conditioning", {})
    texts = [(part["id"], *_find_text_encoder(part)) for part in conditioning.get("configs", []) if part["type"] in _TEXT]
    for part in conditioning.get("configs", []):
        if part["type"] in _TEXT:
            part.update(type="number", config={"min_val": 0, "max_val": 1})
    bare = localize_config(bare, folder)
    with torch.device(GPU):  # made there, so that no byte is taken here
        model = build_bare_model(bare, folder)
        for name, encoder, settings in texts:
            model.conditioner.conditioners[name] = TextEncoderShape(encoder, settings, int(conditioning["cond_dim"]))
    model.eval().requires_grad_(False)
    move_to_device(model, str(GPU), precision)
    return StableAudio(model, dict(config))


def _find_text_encoder(part: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    settings = dict(part.get("config", {}))
    return str(settings.get(*_TEXT[part["type"]])), settings
