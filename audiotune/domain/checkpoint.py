"""Checkpoints in the store: tensors as safetensors blobs, all other state as one small JSON that is written last.

    checkpoints/<run key>/<step>.json      the state of a training run after <step> steps; names its blobs
    blobs/...safetensors                   weights (trained tensors only), their running mean, the optimizer's moments

The optimizer has a blob of its own, so that a reader of the weights need not download it. Nothing is pickled. A process that is
killed while it writes leaves blobs that no JSON names, never half a checkpoint.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, ValidationError

from audiotune.domain.foreign_origin import ForeignOrigin
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import ModelError
from audiotune.store.layout import CHECKPOINTS
from audiotune.store.port import Store

Kind = Literal["full", "lora"]


class Checkpoint(FrozenModel):
    """A training run's state after `step` optimizer steps.

    Randomness and data order are functions of the seed in `recipe` and the step, so `step` is the data cursor and the state of
    every random generator at once.

    Attributes:
        final: the last one of a run; pruning keeps it.
        weights: store key; trained tensors by their names in stable-audio-tools' state dict (adapters: `<layer>.lora_A|lora_B|magnitude`).
        ema: store key of the running mean of the same tensors, or empty.
        optimizer: store key; `<name>/exp_avg`, `<name>/exp_avg_sq`, `<name>/step`.
        scalars: further state (gradient scaler).
        lora: rank and alpha of the adapters, for kind `lora`, and their scale where it is not alpha / rank.
        history: name -> [[step, value], ...] for the report.
    """

    version: Literal[1] = 1
    run_key: Digest
    step: int = Field(ge=0)
    final: bool = False
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))
    weights: str
    ema: str = ""
    optimizer: str
    scalars: dict[str, float] = {}
    kind: Kind
    lora: dict[str, float] = {}
    origin: ForeignOrigin | None = Field(default=None, description="of the adapter that the training began with, if from outside")
    base: str
    base_digest: Digest
    dataset: Digest
    latents: Digest
    run: str = Field(default="", description="MLflow run id")
    recipe: dict[str, Any] = {}
    history: dict[str, list[tuple[int, float]]] = {}

    @property
    def key(self) -> str:
        return checkpoint_key(self.run_key, self.step)

    @property
    def report_key(self) -> str:
        """Store key of the report of a run that ended here."""
        return self.key.removesuffix(".json") + ".html"

    @property
    def lora_scale(self) -> float:
        """What the product of an adapter's matrices is multiplied by; 0 without adapters."""
        return self.lora.get("scale", self.lora["alpha"] / self.lora["rank"]) if self.kind == "lora" else 0.0

    @property
    def blob_keys(self) -> tuple[str, ...]:
        return tuple(key for key in (self.weights, self.ema, self.optimizer) if key)

    def save(self, store: Store) -> str:
        """Writes the JSON; the blobs must be in the store already."""
        store.put(self.key, (json.dumps(self.model_dump(mode="json"), sort_keys=True) + "\n").encode())
        return self.key


def checkpoint_key(run_key: Digest, step: int) -> str:
    return CHECKPOINTS.key(run_key, f"{step:09d}.json")


def load_checkpoint(store: Store, key: str) -> Checkpoint:
    """Reads a checkpoint's JSON. Raises NotInStoreError, and ModelError for one that is damaged or of another version."""
    try:
        return Checkpoint.model_validate_json(store.get(key))
    except ValidationError as e:
        cure = "name a checkpoint that finetune wrote"
        raise ModelError(f"this is no checkpoint: {e.errors()[0]['msg']}", where=key, cure=cure) from e


def find_newest_checkpoint(store: Store, run_key: Digest, most_steps: int | None = None) -> Checkpoint | None:
    """The checkpoint of a run with the most steps, at most `most_steps`, whose blobs are all there; None if there is none."""
    for checkpoint in reversed(list(_read_checkpoints(store, CHECKPOINTS.folder(run_key)))):
        if (most_steps is None or checkpoint.step <= most_steps) and all(store.exists(key) for key in checkpoint.blob_keys):
            return checkpoint
    return None


def list_candidate_steps(steps: int, candidates: int) -> tuple[int, ...]:
    """The steps, spread evenly over a run, whose weights are kept to choose from; the last step is one of them."""
    return tuple(sorted({max(1, round(steps * number / candidates)) for number in range(1, candidates + 1)}))


def list_earlier_candidates(store: Store, last: Checkpoint) -> tuple[str, ...]:
    """Keys of the checkpoints of the same run before `last` that are kept to choose from and whose weights are there, oldest first."""
    steps = list_candidate_steps(int(last.recipe.get("steps", 1)), int(last.recipe.get("candidates", 1)))
    found = (one for one in _read_checkpoints(store, CHECKPOINTS.folder(last.run_key)) if one.step in steps)
    return tuple(one.key for one in found if one.step < last.step and store.exists(one.weights))


def prune_checkpoints(store: Store, run_key: Digest, keep_last: int, candidates: Collection[int] = ()) -> list[int]:
    """Deletes all but the last `keep_last` checkpoints and the final one of a run; returns the deleted steps.

    Those of the steps `candidates` stay without their optimizer: there to be chosen, not to go on from. A blob that a checkpoint of
    any run still needs stays: equal states share blobs.
    """
    checkpoints = list(_read_checkpoints(store, CHECKPOINTS.folder(run_key)))
    old = [checkpoint for checkpoint in checkpoints[:-keep_last] if not checkpoint.final]
    gone = [checkpoint for checkpoint in old if checkpoint.step not in candidates]
    lightened = {one.key for one in old if one not in gone and store.exists(one.optimizer)}
    for checkpoint in gone:
        store.delete(checkpoint.key)
        store.delete(checkpoint.report_key)
    if gone or lightened:
        weights_only = {checkpoint.key for checkpoint in old}
        needed = {
            blob
            for one in _read_checkpoints(store, CHECKPOINTS.path)
            for blob in one.blob_keys
            if blob != one.optimizer or one.key not in weights_only
        }
        for blob in {blob for checkpoint in old for blob in checkpoint.blob_keys} - needed:
            store.delete(blob)
    return [checkpoint.step for checkpoint in gone]


def _read_checkpoints(store: Store, prefix: str) -> Iterator[Checkpoint]:
    for entry in (entry for entry in store.list(prefix) if entry.key.endswith(".json")):
        with contextlib.suppress(ModelError):  # of another version: it stays
            yield load_checkpoint(store, entry.key)
