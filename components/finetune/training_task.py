"""What travels to a training process, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from audiotune.domain.checkpoint import Checkpoint
from audiotune.domain.dataset import LatentRow
from audiotune.domain.manifest import Manifest
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_models import BaseModelFolder
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
