"""Release: one registered model version with weights, model config, lineage and licence notice."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import Field, ValidationError

from audiotune.domain.foreign_origin import ForeignOrigin
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import NotInStoreError
from audiotune.store.layout import RELEASES
from audiotune.store.port import Store, digest_from_key


class CheckpointPointer(FrozenModel):
    """A trainer's state in the store, to resume from or to unwrap. Steps pass it on as a small JSON artifact."""

    checkpoint: str = Field(description="store key of the checkpoint")
    step: int = Field(ge=0)
    base: str = Field(description="store key or name of the base model it was tuned from")
    base_digest: Digest
    dataset: Digest
    kind: str = Field(description="full or lora")
    run: str = Field(default="", description="MLflow run id of the training")
    recipe: dict[str, Any] = {}


class WeightsPointer(FrozenModel):
    """Unwrapped weights in the store. Steps pass it on as a small JSON artifact."""

    weights: str = Field(description="store key of model.safetensors")
    weights_digest: Digest
    config: str = Field(description="store key of model_config.json")
    files: dict[str, str] = Field(default={}, description="further files the model needs (tokenizer/...), path -> store key")
    notices: dict[str, str] = Field(
        default={},
        description="licence and notice of the base, which travel with the weights, file name -> store key",
        exclude_if=lambda notices: not notices,
    )
    adapter: str = Field(default="", description="store key of a LoRA adapter kept beside its base, if not merged")
    origin: ForeignOrigin | None = Field(
        default=None,
        description="of weights that came from outside, or began with such",
        exclude_if=lambda origin: origin is None,
    )
    step: int = 0
    earlier: tuple[str, ...] = Field(
        default=(),
        description="store keys of earlier checkpoints of the same run, which evaluate may choose in place of these weights",
        exclude_if=lambda earlier: not earlier,
    )
    ema: bool = False
    base: str
    base_digest: Digest
    dataset: Digest = Field(description="empty where nobody said what weights from elsewhere were trained on")
    run: str = ""
    recipe: dict[str, Any] = {}

    @property
    def adapter_digest(self) -> str:
        """SHA-256 of the adapter's file, or empty."""
        return digest_from_key(self.adapter) or ""

    @property
    def identity(self) -> str:
        """Identifies these weights. Adapters of one base share its digest, so theirs is added."""
        return f"{self.weights_digest}+{self.adapter_digest}" if self.adapter else self.weights_digest

    def list_files(self) -> dict[str, str]:
        """Every file that these weights need, and the base's licence and notice: path -> store key."""
        files = {"model.safetensors": self.weights, "model_config.json": self.config, **self.files, **self.notices}
        return {**files, "adapter.safetensors": self.adapter} if self.adapter else files


class Evaluation(FrozenModel):
    """The result of `evaluate`: metrics, and whether the gate passed. Steps pass it on as a small JSON artifact."""

    metrics: dict[str, float]
    passed: bool
    reasons: tuple[str, ...] = Field(default=(), description="why the gate did not pass; empty when it did")
    report: str = Field(default="", description="store key of the HTML report")
    weights: Digest = Field(default="", description="digest of the weights that were evaluated")
    adapter: str = Field(default="", description="digest of the adapter that was evaluated with them, if it was kept beside")
    settings: dict[str, dict[str, Any]] = Field(
        default={}, description="settings of the steps encode and evaluate", exclude_if=lambda settings: not settings
    )
    checkpoints: tuple[JudgedCheckpoint, ...] = Field(default=(), exclude_if=lambda checkpoints: not checkpoints)
    choice: str = Field(default="", description="why this checkpoint was chosen, in words", exclude_if=lambda choice: not choice)
    chosen: WeightsPointer | None = Field(
        default=None,
        description="the weights of an earlier checkpoint, if they are better",
        exclude_if=lambda chosen: chosen is None,
    )


class JudgedCheckpoint(FrozenModel):
    """What was measured of one checkpoint of a run, by the same words and seeds as of the others."""

    step: int
    kad: float = Field(description="KAD of its sounds to held-out recordings")
    copied_share: float = Field(description="share of its sounds that copy a training segment")
    likeness: float = Field(description="median likeness of its sounds to the nearest training segment")
    sounds: int = Field(description="how many sounds it was judged by")
    on_frontier: bool = Field(default=False, description="no other checkpoint is nearer without copying more")
    chosen: bool = False


class Lineage(FrozenModel):
    """Where a release comes from: dataset -> segments -> recordings -> contributors."""

    dataset: Digest = Field(description="empty for an adapter of others: `origin` says whose it is")
    segments: tuple[Digest, ...]
    recordings: dict[Digest, tuple[str, ...]] = Field(description="recording id -> contributors")
    annotators: tuple[str, ...] = ()
    base: str
    base_digest: Digest
    agreement: Digest
    origin: ForeignOrigin | None = Field(default=None, exclude_if=lambda origin: origin is None)

    @property
    def is_of_others(self) -> bool:
        """An adapter that came from outside as it is: nobody of the group is heard in it."""
        return not self.dataset and self.origin is not None

    @property
    def contributors(self) -> tuple[str, ...]:
        return tuple(sorted({member for members in self.recordings.values() for member in members}))


class TrainingRecord(FrozenModel):
    """How a release was trained, so that the same can be done again. Releases of 0.2 and older have none."""

    settings: dict[str, dict[str, Any]] = Field(description="step -> its settings")
    took_s: float | None = Field(default=None, description="how long finetune took; null where the run was logged nowhere")


class Release(FrozenModel):
    """A registered model version. The store and MLflow have it as JSON."""

    name: str
    version: str = Field(default="", description="version in the registry, as in '3'")
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))
    weights: WeightsPointer
    lineage: Lineage
    licence: str
    notice: str
    evaluation: Evaluation
    training: TrainingRecord | None = Field(default=None, exclude_if=lambda training: training is None)

    @property
    def digest(self) -> Digest:
        return self.weights.weights_digest

    @property
    def key(self) -> str:
        return RELEASES.key(self.name, f"{self.version or 'unnumbered'}-{self.digest[:16]}.json")

    def list_files(self) -> dict[str, str]:
        """Every file that the release names, path -> store key."""
        files, report = self.weights.list_files(), self.evaluation.report
        return {**files, "evaluation_report.html": report} if report else files

    def list_known_settings(self) -> dict[str, dict[str, Any]]:
        """Step -> the settings that it was made with, of all steps that are known. Older releases know those of the training alone."""
        if self.training:
            return self.training.settings
        unwrap = {"ema": self.weights.ema, "lora": "keep" if self.weights.adapter else "merge"}
        encode = {"base": self.weights.base}
        return {"encode": encode, "finetune": self.weights.recipe, "unwrap": unwrap} if self.weights.recipe else {}

    def save(self, store: Store) -> str:
        store.put(self.key, (json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode())
        return self.key


def find_card(store: Store, name: str, version: str) -> Release | None:
    """A release as the store has it, also one that the registry does not have any more; None where it has none that can be read."""
    for entry in store.list(f"{RELEASES.folder(name)}{version}-"):
        with suppress(ValidationError, NotInStoreError):
            return Release.model_validate_json(store.get(entry.key))
    return None
