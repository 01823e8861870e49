"""Loads the T5 text encoder from a folder beside the config; stable-audio-tools itself would download it by name."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotune.stable_audio.local_parts import find_text_encoder


@dataclass(frozen=True, slots=True)
class LocalT5Encoder:
    """A T5 conditioner that replaces a placeholder in the model."""

    id: str
    folder: Path
    settings: dict[str, Any]
    cond_dim: int


def extract_t5_encoders(config: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[LocalT5Encoder]]:
    """The config with a placeholder for each T5 conditioner, and the encoders, which are in `folder`. Raises ModelError."""
    bare = copy.deepcopy(config)
    encoders = []
    conditioning = bare["model"].get("conditioning", {})
    for conditioner in conditioning.get("configs", []):
        if conditioner["type"] != "t5":
            continue
        local = find_text_encoder(folder, str(conditioner["config"].get("t5_model_name", "t5-base")))
        encoders.append(LocalT5Encoder(conditioner["id"], local, dict(conditioner["config"]), int(conditioning["cond_dim"])))
        conditioner.update(type="number", config={"min_val": 0, "max_val": 1})
    return bare, encoders


def insert_t5_encoders(model: Any, encoders: list[LocalT5Encoder]) -> None:
    """Puts the conditioners into the model under their ids."""
    for encoder in encoders:
        model.conditioner.conditioners[encoder.id] = _build_conditioner(encoder)


def _build_conditioner(encoder: LocalT5Encoder) -> Any:
    """A stable-audio-tools T5Conditioner built without its constructor, which would download the encoder."""
    import torch
    from stable_audio_tools.models.conditioners import T5Conditioner
    from transformers import AutoTokenizer, T5EncoderModel

    t5 = T5EncoderModel.from_pretrained(str(encoder.folder), use_safetensors=True, local_files_only=True)
    conditioner = T5Conditioner.__new__(T5Conditioner)
    super(T5Conditioner, conditioner).__init__(
        t5.config.d_model,
        encoder.settings.get("output_dim", encoder.cond_dim),
        project_out=encoder.settings.get("project_out", False),
    )
    conditioner.max_length = int(encoder.settings.get("max_length", 128))
    conditioner.enable_grad = False
    conditioner.tokenizer = AutoTokenizer.from_pretrained(str(encoder.folder), local_files_only=True)
    # Not a registered submodule, as upstream: checkpoints do not contain the encoder. fp16 only where it is fast.
    dtype = torch.float16 if torch.cuda.is_available() else torch.float32
    conditioner.__dict__["model"] = t5.train(False).requires_grad_(False).to(dtype)
    return conditioner
