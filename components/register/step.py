"""From weights and their evaluation to a registered release. Consent is asked first; nothing is half-registered."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from audiotune import governance, manifest
from audiotune.dataset import DatasetRow, recordings_of
from audiotune.errors import ManifestError, ModelError
from audiotune.governance import Agreement
from audiotune.manifest import Manifest
from audiotune.partial import write_whole
from audiotune.progress import Progress
from audiotune.registry import releases
from audiotune.release import Evaluation, Lineage, Release, WeightsPointer
from audiotune.store.port import Store, digest_in
from components.executor import Result
from components.register import card
from components.register.settings import Settings

_Pointer = TypeVar("_Pointer", bound=BaseModel)
_STABILITY = (
    "Powered by Stability AI. This model is licensed under the Stability AI Community License, "
    "Copyright (c) Stability AI Ltd. All Rights Reserved. https://stability.ai/license"
)


def run(
    settings: Settings,
    store: Store,
    progress: Progress,
    *,
    weights: Path,
    dataset: Path,
    evaluation: Path,
    release: Path,
    report: Path,
    metrics: Path,
) -> Result:
    """Registers and writes the release.

    Raises:
        ConsentError: a contributor does not agree to a release any more.
        ModelError: weights, dataset and evaluation do not belong together, or the stored weights are damaged.
        RegistryError: MLflow is away.
    """
    pointer = _read(weights, WeightsPointer)
    judged = _read(evaluation, Evaluation)
    rows = manifest.load(dataset, "datasets", DatasetRow)
    recordings = recordings_of(rows)
    agreement = governance.require(store, "register", recordings)
    _check(store, pointer, judged, rows)
    heard = store.fetch(judged.report).read_text(encoding="utf-8") if judged.report else ""
    progress(0.3, "registering in MLflow")
    made = _register(settings, store, agreement, _release(settings, agreement, pointer, judged, rows))
    made.save(store)
    aliases, why = _aliases(settings, store, agreement, made)
    progress(0.9, f"version {made.version} is {' and '.join(aliases)}{f': {why}' if why else ''}")
    page = card.html(made, _people(agreement), settings.intended_use, aliases, why, heard)
    report.write_text(page, encoding="utf-8")
    write_whole(release, made.model_dump_json(indent=1) + "\n")
    return Result(
        parameters={"version": made.version},
        metrics={
            "version": int(made.version),
            "champion": int("champion" in aliases),
            "contributors": len(made.lineage.contributors),
        },
        metadata={"release": {"name": made.name, "version": made.version, "digest": made.digest}},
    )


def _read(path: Path, model: type[_Pointer]) -> _Pointer:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as e:
        raise ManifestError(f"no {model.__name__} can be read", where=str(path), cure="run the step before again") from e


def _check(store: Store, pointer: WeightsPointer, judged: Evaluation, rows: Manifest[DatasetRow]) -> None:
    """Everything a release names is there and belongs together; asked before MLflow hears of it."""
    if pointer.dataset != rows.digest:
        raise ModelError(
            "these weights were not trained on this dataset", where=pointer.weights, cure="pass the dataset of their run"
        )
    if digest_in(pointer.weights) != pointer.weights_digest:
        raise ModelError("the weights' key does not carry their digest", where=pointer.weights, cure="run unwrap again")
    if judged.weights not in ("", pointer.weights_digest) or (judged.weights and judged.adapter != pointer.adapter_digest):
        raise ModelError("this evaluation is of other weights", where=pointer.weights, cure="run evaluate on these weights")
    for key in (pointer.weights, pointer.config, *pointer.files.values(), pointer.adapter, judged.report):
        if key:
            store.fetch(key)  # raises when it is not there, or when its bytes are not what its digest promises


def _release(
    settings: Settings, agreement: Agreement, pointer: WeightsPointer, judged: Evaluation, rows: Manifest[DatasetRow]
) -> Release:
    lineage = Lineage(
        dataset=rows.digest,
        segments=tuple(sorted({row.segment.id for row in rows.rows})),
        recordings=recordings_of(rows),
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
        notice=notice_for(agreement, pointer.base),
        evaluation=judged,
    )


def notice_for(agreement: Agreement, base: str) -> str:
    """The notice a release on this base carries. Stable Audio's is there also when a folder or mirror hides the full name."""
    last = base.rstrip("/").rpartition("/")[2]
    given = agreement.notice_for(base) or next(
        (words for name, words in agreement.base_model_notices.items() if name.rpartition("/")[2] == last), ""
    )
    return given or (_STABILITY if "stable-audio" in base.lower() or base.startswith("stabilityai/") else "")


def _register(settings: Settings, store: Store, agreement: Agreement, made: Release) -> Release:
    """The registered release; the same weights keep the version they have."""
    people = _people(agreement)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = {
            "card.md": card.markdown(made, people, settings.intended_use),
            "card.html": card.html(made, people, settings.intended_use),
            "NOTICE": card.notice_text(made, people),
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


def _aliases(settings: Settings, store: Store, agreement: Agreement, made: Release) -> tuple[list[str], str]:
    """candidate always; champion only when the gate passed and consent covers everybody; else why not."""
    releases.set_alias(made.name, "candidate", made.version)
    why = _objection(settings, store, agreement, made)
    if why:
        return ["candidate"], why
    releases.set_alias(made.name, "champion", made.version)
    return ["candidate", "champion"], ""


def _objection(settings: Settings, store: Store, agreement: Agreement, made: Release) -> str:
    """Why this release does not become champion, or an empty string."""
    if not settings.champion:
        return "the knob champion is off"
    if not made.evaluation.passed:
        return "the gate did not pass: " + ("; ".join(made.evaluation.reasons) or "no reason given")
    recordings = made.lineage.recordings
    decision = governance.ask("champion", agreement, governance.consents_for(store, recordings), recordings)
    if not decision.allowed:
        return "; ".join(decision.reasons)
    reigning = releases.version_at(made.name, "champion")
    if reigning is not None and int(reigning) > int(made.version):
        return f"version {reigning} is newer and reigns"
    return ""


def _people(agreement: Agreement) -> dict[str, str]:
    return {member.id: member.name for member in agreement.members}
