"""Compares a tuned model with its base on held-out captions; writes the report and the gate's decision."""

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from audiotune.domain import manifest
from audiotune.domain.dataset import DatasetRow, LatentRow, contributors_by_recording
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, WeightsPointer
from audiotune.errors import ManifestError, ModelError
from audiotune.governance import require_permission
from audiotune.reporting.progress import ProgressCallback
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.layout import EVALUATIONS
from audiotune.store.port import Store
from components.evaluate.settings import Settings
from components.executor import StepResult

_VERSION = 6  # raise it when the same models get other metrics


def run_step(
    settings: Settings,
    store: Store,
    progress: ProgressCallback,
    *,
    weights: Path,
    latents: Path,
    dataset: Path,
    evaluation: Path,
    report: Path,
    metrics: Path,
) -> StepResult:
    """Writes the evaluation (JSON) and its report (HTML); reuses an earlier evaluation of the same inputs.

    Raises:
        ModelError: weights, latents and dataset do not belong together.
        ManifestError: one of them is damaged, or there are fewer than two segments to compare with.
        ConsentError, AgreementError: a contributor has not agreed to training, or took it back meanwhile.
    """
    pointer = _read_pointer(weights)
    rows, encoded = manifest.load_manifest(dataset, "datasets", DatasetRow), manifest.load_manifest(latents, "latents", LatentRow)
    _check_inputs(pointer, rows, encoded)
    people = contributors_by_recording(rows)
    require_permission(store, "evaluate", people)
    key = _make_evaluation_key(settings, pointer, encoded)
    if not store.exists(key):
        from components.evaluate.model_evaluation import evaluate_model

        measured, page = evaluate_model(settings, store, progress, pointer, rows, encoded)
        require_permission(store, "evaluate", people)  # who withdrew meanwhile is not in a result
        measured = measured.model_copy(update={"report": store.put_blob(page.encode(), ".html")})
        store.put(key, measured.model_dump_json(indent=1).encode())
    made_with = {"encode": encoded.meta.get("settings"), "evaluate": settings.model_dump(mode="json", exclude={"device"})}
    known = {step: values for step, values in made_with.items() if values is not None}
    result = Evaluation.model_validate_json(store.get(key)).model_copy(update={"settings": known})
    report.write_bytes(store.fetch(result.report).read_bytes())
    write_atomic_file(evaluation, result.model_dump_json(indent=1) + "\n")
    progress(1.0, "the gate passed" if result.passed else "the gate did not pass: " + "; ".join(result.reasons))
    return StepResult(parameters={"passed": result.passed}, metrics={**result.metrics, "passed": int(result.passed)})


def _read_pointer(path: Path) -> WeightsPointer:
    try:
        return WeightsPointer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as e:
        raise ManifestError("no weights pointer can be read", where=str(path), cure="run unwrap again") from e


def _check_inputs(pointer: WeightsPointer, dataset: Manifest[DatasetRow], latents: Manifest[LatentRow]) -> None:
    if pointer.dataset and pointer.dataset != dataset.digest:
        raise ModelError(
            "these weights were not trained on this dataset", where=pointer.weights, cure="pass the dataset of their run"
        )
    if latents.meta.get("dataset") != dataset.digest:
        raise ModelError("the latents were made of another dataset", where="latents", cure="run encode on this dataset")
    if latents.meta.get("base_digest") != pointer.base_digest:
        raise ModelError(
            f"the latents were made with {latents.meta.get('base')!r}, the weights come from {pointer.base!r}",
            where="latents",
            cure="set the same base for encode and finetune",
        )


def _make_evaluation_key(settings: Settings, pointer: WeightsPointer, latents: Manifest[LatentRow]) -> str:
    """The key of an evaluation: the hash of everything that determines its metrics."""
    fields = settings.model_dump(exclude={"device"})
    inputs = [_VERSION, fields, pointer.identity, pointer.config, pointer.base_digest, latents.digest, latents.meta["dataset"]]
    inputs += [pointer.earlier] if pointer.earlier else []
    return EVALUATIONS.key(f"{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()}.json")
