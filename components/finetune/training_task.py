"""The input and the result of a training process."""

from collections.abc import Mapping
from dataclasses import dataclass

from audiotune.domain.checkpoint import Checkpoint
from audiotune.domain.dataset import LatentRow
from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Digest
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_models import BaseModelFolder
from components.finetune.settings import Settings


@dataclass(frozen=True)
class TrainingTask:
    """The input of every process of a training run. `recordings`: of the dataset, with their contributors."""

    settings: Settings
    store_url: str
    progress: ProgressCallback
    base: BaseModelFolder
    latents: Manifest[LatentRow]
    dataset: str
    run_key: str
    recordings: Mapping[Digest, tuple[str, ...]]


@dataclass(frozen=True)
class TrainingResult:
    """The result of the first process."""

    checkpoint: Checkpoint
    page: str = ""
