"""Imports stable-audio-tools' training parts beside the torchaudio of today, to measure and test ours beside them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def import_upstream_training() -> Any:
    """stable_audio_tools.training.diffusion.

    It imports a transform of torchaudio.prototype, which is gone, for a discriminator of autoencoders that no training of a base uses.
    """
    name = "torchaudio.prototype.transforms"
    gone: Any = sys.modules.setdefault(name, ModuleType(name))
    gone.ChromaSpectrogram = None
    return importlib.import_module("stable_audio_tools.training.diffusion")
