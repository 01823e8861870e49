"""LoRA: small trainable matrices for the linear layers of the diffusion transformer (Hu et al. 2021), by peft.

Only attention and feed-forward layers get adapters. The embedding of seconds gets none: on small datasets it would learn to
recognise single recordings by their length, and the model would ignore the words.
"""

from torch import nn

from audiotune.errors import ModelError
from components.finetune.settings import Settings


def add_adapters(diffusion: nn.Module, settings: Settings) -> None:
    """Adds adapters to all linear layers of the transformer's blocks. Raises ModelError if there are none."""
    from peft import LoraConfig, inject_adapter_in_model

    names = [name for name, module in diffusion.named_modules() if ".layers." in name and isinstance(module, nn.Linear)]
    if not names:
        raise ModelError("the model has no transformer blocks to adapt", cure="set mode to full")
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=names,
        bias="none",
    )
    inject_adapter_in_model(config, diffusion)


def remove_peft_affixes(name: str) -> str:
    """A parameter's name as in stable-audio-tools' state dict, without peft's affixes; adapters are `<layer>.lora_A|B`."""
    return name.replace(".base_layer.", ".").removesuffix(".default.weight")


def is_adapter_name(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name
