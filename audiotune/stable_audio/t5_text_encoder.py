"""Loads a T5 or T5Gemma text encoder from a folder beside the config; stable-audio-tools itself would download it by name."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotune.stable_audio.local_parts import TEXT_ENCODERS, find_text_encoder


@dataclass(frozen=True, slots=True)
class LocalT5Encoder:
    """A text conditioner that replaces a placeholder in the model.

    Attributes:
        kind: "t5" or "t5gemma".
    """

    id: str
    kind: str
    folder: Path
    settings: dict[str, Any]
    cond_dim: int


def extract_t5_encoders(config: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[LocalT5Encoder]]:
    """The config with a placeholder for each text encoder, and the encoders, which are in `folder`. Raises ModelError."""
    bare = copy.deepcopy(config)
    encoders = []
    conditioning = bare["model"].get("conditioning", {})
    for conditioner in conditioning.get("configs", []):
        kind = conditioner["type"]
        if kind not in TEXT_ENCODERS:
            continue
        local = find_text_encoder(folder, str(conditioner["config"].get(*TEXT_ENCODERS[kind])))
        settings = dict(conditioner["config"])
        encoders.append(LocalT5Encoder(conditioner["id"], kind, local, settings, int(conditioning["cond_dim"])))
        conditioner.update(type="number", config={"min_val": 0, "max_val": 1})
    return bare, encoders


def insert_t5_encoders(model: Any, encoders: list[LocalT5Encoder]) -> None:
    """Puts the conditioners into the model under their ids."""
    for encoder in encoders:
        model.conditioner.conditioners[encoder.id] = _build_conditioner(encoder)


def _build_conditioner(encoder: LocalT5Encoder) -> Any:
    """A conditioner of stable-audio-tools built without its constructor, which would download the encoder."""
    from stable_audio_tools.models import conditioners
    from transformers import AutoTokenizer

    kind = {"t5": conditioners.T5Conditioner, "t5gemma": conditioners.T5GemmaConditioner}[encoder.kind]
    model = {"t5": _load_t5, "t5gemma": _load_t5gemma}[encoder.kind](str(encoder.folder))
    conditioner = kind.__new__(kind)
    conditioners.Conditioner.__init__(
        conditioner,
        model.config.hidden_size,
        encoder.settings.get("output_dim", encoder.cond_dim),
        project_out=encoder.settings.get("project_out", False),
        padding_mode=encoder.settings.get("padding_mode", "zero"),
    )
    conditioner.max_length = int(encoder.settings.get("max_length", 128))
    conditioner.enable_grad = False
    conditioner.tokenizer = AutoTokenizer.from_pretrained(str(encoder.folder), local_files_only=True)
    # Not a registered submodule, as upstream: checkpoints do not contain the encoder.
    conditioner.__dict__["model"] = model.train(False).requires_grad_(False)
    # Upstream moves a T5Gemma to the device of its first call and never again; ours are brought to a GPU and taken away.
    conditioner.register_forward_pre_hook(lambda module, _: setattr(module, "_device_initialized", False))
    return conditioner


def _load_t5(folder: str) -> Any:
    """fp16 only where it is fast."""
    import torch
    from transformers import T5EncoderModel

    model = T5EncoderModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    return model.to(torch.float16 if torch.cuda.is_available() else torch.float32)


def _load_t5gemma(folder: str) -> Any:
    """The encoder alone, in the precision of its file."""
    from transformers import AutoConfig, T5GemmaEncoderModel
    from transformers.utils import logging

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    config.is_encoder_decoder = False
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it lists the decoder's tensors, which lie in the same file and are not needed
    try:
        model = T5GemmaEncoderModel.from_pretrained(folder, config=config, use_safetensors=True, local_files_only=True)
    finally:
        logging.set_verbosity(before)
    model.config.hidden_size = config.encoder.hidden_size
    return model
