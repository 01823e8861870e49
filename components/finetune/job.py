"""What travels to a training process, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from audiotune.checkpoint import Checkpoint
from audiotune.dataset import LatentRow
from audiotune.manifest import Manifest
from audiotune.progress import ProgressCallback
from audiotune.stable_audio.mirror import BaseModelFolder
from components.finetune.settings import Settings


@dataclass(frozen=True)
class TrainingTask:
    """What a process needs to know to train; travels to other processes."""

    settings: Settings
    store_url: str
    progress: ProgressCallback
    base: BaseModelFolder
    latents: Manifest[LatentRow]
    dataset: str
    run_key: str


@dataclass(frozen=True)
class TrainingResult:
    """What the first process brings back."""

    checkpoint: Checkpoint
    page: str = ""
