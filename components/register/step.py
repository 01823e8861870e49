"""From weights and their evaluation to a registered release. Consent is asked first; nothing is half-registered."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from audiotune import governance
from audiotune.domain import manifest
from audiotune.domain.dataset import DatasetRow, contributors_by_recording
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, Lineage, Release, WeightsPointer
from audiotune.errors import ManifestError, ModelError
from audiotune.governance import Agreement
from audiotune.registry import releases
from audiotune.reporting.progress import ProgressCallback
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.port import Store, digest_from_key
from components.executor import StepResult
from components.register import model_card
from components.register.settings import Settings

_Pointer = TypeVar("_Pointer", bound=BaseModel)
_STABILITY = (
    "Powered by Stability AI. This model is licensed under the Stability AI Community License, "
    "Copyright (c) Stability AI Ltd. All Rights Reserved. https://stability.ai/license"
)


def run_step(
    settings: Settings,
    store: Store,
    progress: ProgressCallback,
    *,
    weights: Path,
    dataset: Path,
    evaluation: Path,
    release: Path,
    report: Path,
    metrics: Path,
) -> StepResult:
    """Registers and writes the release.

    Raises:
        ConsentError: a contributor does not agree to a release any more.
        ModelError: weights, dataset and evaluation do not belong together, or the stored weights are damaged.
        RegistryError: MLflow is away.
    """
    pointer = _read_input(weights, WeightsPointer)
    judged = _read_input(evaluation, Evaluation)
    rows = manifest.load_manifest(dataset, "datasets", DatasetRow)
    recordings = contributors_by_recording(rows)
    agreement = governance.require_permission(store, "register", recordings)
    _check_inputs(store, pointer, judged, rows)
    heard = store.fetch(judged.report).read_text(encoding="utf-8") if judged.report else ""
    progress(0.3, "registering in MLflow")
    made = _register_release(settings, store, agreement, _build_release(settings, agreement, pointer, judged, rows))
    made.save(store)
    aliases, why = _set_aliases(settings, store, agreement, made)
    progress(0.9, f"version {made.version} is {' and '.join(aliases)}{f': {why}' if why else ''}")
    page = model_card.render_html(made, _map_member_names(agreement), settings.intended_use, aliases, why, heard)
    report.write_text(page, encoding="utf-8")
    write_atomic_file(release, made.model_dump_json(indent=1) + "\n")
    return StepResult(
        parameters={"version": made.version},
        metrics={
            "version": int(made.version),
            "champion": int("champion" in aliases),
            "contributors": len(made.lineage.contributors),
        },
        metadata={"release": {"name": made.name, "version": made.version, "digest": made.digest}},
    )


def _read_input(path: Path, model: type[_Pointer]) -> _Pointer:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as e:
        raise ManifestError(f"no {model.__name__} can be read", where=str(path), cure="run the step before again") from e


def _check_inputs(store: Store, pointer: WeightsPointer, judged: Evaluation, rows: Manifest[DatasetRow]) -> None:
    """Everything a release names is there and belongs together; asked before MLflow hears of it."""
    if pointer.dataset != rows.digest:
        raise ModelError(
            "these weights were not trained on this dataset", where=pointer.weights, cure="pass the dataset of their run"
        )
    if digest_from_key(pointer.weights) != pointer.weights_digest:
        raise ModelError("the weights' key does not carry their digest", where=pointer.weights, cure="run unwrap again")
    if judged.weights not in ("", pointer.weights_digest) or (judged.weights and judged.adapter != pointer.adapter_digest):
        raise ModelError("this evaluation is of other weights", where=pointer.weights, cure="run evaluate on these weights")
    for key in (*pointer.list_files().values(), judged.report):
        if key:
            store.fetch(key)  # raises when it is not there, or when its bytes are not what its digest promises


def _build_release(
    settings: Settings, agreement: Agreement, pointer: WeightsPointer, judged: Evaluation, rows: Manifest[DatasetRow]
) -> Release:
    lineage = Lineage(
        dataset=rows.digest,
        segments=tuple(sorted({row.segment.id for row in rows.rows})),
        recordings=contributors_by_recording(rows),
        annotators=tuple(sorted({member for row in rows.rows for member in row.caption.annotators})),
        base=pointer.base,
        base_digest=pointer.base_digest,
        agreement=agreement.digest,
    )
    return Release(
        name=settings.name,
        weights=pointer,
        lineage=lineage,
        licence=agreement.weights_licence,
        notice=choose_notice(agreement, pointer.base),
        evaluation=judged,
    )


def choose_notice(agreement: Agreement, base: str) -> str:
    """The notice a release on this base carries. Stable Audio's is there also when a folder or mirror hides the full name."""
    last = base.rstrip("/").rpartition("/")[2]
    given = agreement.find_notice(base) or next(
        (words for name, words in agreement.base_model_notices.items() if name.rpartition("/")[2] == last), ""
    )
    return given or (_STABILITY if "stable-audio" in base.lower() or base.startswith("stabilityai/") else "")


def _register_release(settings: Settings, store: Store, agreement: Agreement, made: Release) -> Release:
    """The registered release; the same weights keep the version they have."""
    people = _map_member_names(agreement)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = {
            "card.md": model_card.render_markdown(made, people, settings.intended_use),
            "card.html": model_card.render_html(made, people, settings.intended_use),
            "NOTICE": model_card.render_notice(made, people),
            "recipe.json": json.dumps(made.weights.recipe, indent=1, sort_keys=True),
            "evaluation.json": made.evaluation.model_dump_json(indent=1),
        }
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        paths = {file: folder / file for file in texts}
        paths["model_config.json"] = store.fetch(made.weights.config)
        if made.evaluation.report:
            paths["evaluation.html"] = store.fetch(made.evaluation.report)
        return releases.register_release(made, paths, made.weights.run)


def _set_aliases(settings: Settings, store: Store, agreement: Agreement, made: Release) -> tuple[list[str], str]:
    """candidate always; champion only when the gate passed and consent covers everybody; else why not."""
    releases.set_alias(made.name, "candidate", made.version)
    why = _find_objection(settings, store, agreement, made)
    if why:
        return ["candidate"], why
    releases.set_alias(made.name, "champion", made.version)
    return ["candidate", "champion"], ""


def _find_objection(settings: Settings, store: Store, agreement: Agreement, made: Release) -> str:
    """Why this release does not become champion, or an empty string."""
    if not settings.champion:
        return "the setting champion is off"
    if not made.evaluation.passed:
        return "the gate did not pass: " + ("; ".join(made.evaluation.reasons) or "no reason given")
    recordings = made.lineage.recordings
    decision = governance.decide_policy("champion", agreement, governance.read_consents(store, recordings), recordings)
    if not decision.is_allowed:
        return "; ".join(decision.reasons)
    reigning = releases.find_version_by_alias(made.name, "champion")
    if reigning is not None and int(reigning) > int(made.version):
        return f"version {reigning} is newer and reigns"
    return ""


def _map_member_names(agreement: Agreement) -> dict[str, str]:
    return {member.id: member.name for member in agreement.members}
