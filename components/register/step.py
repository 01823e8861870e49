"""Registers weights and their evaluation as a release. Consent and all inputs are checked first."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from audiotune import governance
from audiotune.domain import manifest
from audiotune.domain.dataset import DatasetRow, contributors_by_recording
from audiotune.domain.lineage import bind_weights, build_lineage, read_dataset
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, Release, TrainingRecord, WeightsPointer
from audiotune.errors import ConsentError, ManifestError, ModelError, StoreError
from audiotune.governance import Agreement
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.release_standing import find_decided_champion, list_objections
from audiotune.governance.writer import open_governance_writer
from audiotune.registry import releases
from audiotune.registry.runs import find_run_duration
from audiotune.reporting.evaluation_words import describe_metrics
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.known_bases import find_known_base
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.port import Store, digest_from_key
from audiotune.withdrawal.housekeeping import follow_release_consent
from components.executor import StepResult
from components.register import model_card
from components.register.settings import Settings

_Pointer = TypeVar("_Pointer", bound=BaseModel)
_LONGEST_NOTICE = 2000  # characters on the card; the whole file is beside the weights
_STABLE_AUDIO = "stable-audio-open-1.0"


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
        ConsentError: a contributor does not or no longer agree to a release.
        ModelError: weights, dataset and evaluation do not belong together, or the stored weights are damaged.
        LineageError: the store says that these weights were trained on another dataset.
        RegistryError: MLflow does not answer.
    """
    evaluated = _read_input(evaluation, Evaluation)
    pointer = _choose_weights(_read_input(weights, WeightsPointer), evaluated)
    rows = manifest.load_manifest(dataset, "datasets", DatasetRow)
    recordings = contributors_by_recording(rows)
    agreement = governance.require_permission(store, "register", recordings)
    _check_inputs(store, pointer, evaluated, rows)
    _keep_lineage(store, pointer, rows)
    evaluation_page = store.fetch(evaluated.report).read_text(encoding="utf-8") if evaluated.report else ""
    people = {member.id: member.name for member in agreement.members}
    progress(0.3, "registering in MLflow")
    agreement = governance.require_permission(store, "register", recordings)  # large files were read since it was asked
    notice = choose_notice(agreement, pointer.base, _read_notices(store, pointer))
    registered = _register_release(settings, store, people, _build_release(settings, agreement, notice, pointer, evaluated, rows))
    _require_still(store, registered, recordings)
    registered.save(store)
    why = _find_objection(settings, store, registered)
    aliases = ["candidate"] if why else ["candidate", "champion"]
    for alias in aliases:
        releases.set_alias(registered.name, alias, registered.version)
    _require_after(store, registered, recordings)
    progress(0.9, f"version {registered.version} is {' and '.join(aliases)}{f': {why}' if why else ''}")
    page = model_card.render_html(registered, people, settings.intended_use, aliases, why, evaluation_page)
    report.write_text(page, encoding="utf-8")
    write_atomic_file(release, registered.model_dump_json(indent=1) + "\n")
    return StepResult(
        parameters={"version": registered.version},
        metrics={
            "version": int(registered.version),
            "champion": int("champion" in aliases),
            "contributors": len(registered.lineage.contributors),
        },
        metadata={"release": {"name": registered.name, "version": registered.version, "digest": registered.digest}},
    )


def _read_input(path: Path, model: type[_Pointer]) -> _Pointer:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as e:
        raise ManifestError(f"no {model.__name__} can be read", where=str(path), cure="run the step before again") from e


def _choose_weights(unwrapped: WeightsPointer, evaluated: Evaluation) -> WeightsPointer:
    """The unwrapped weights, or those of an earlier checkpoint of the same run, if evaluate chose them."""
    chosen = evaluated.chosen
    if chosen is None:
        return unwrapped
    same = ("dataset", "base", "base_digest", "config", "run")
    if not unwrapped.earlier or any(getattr(chosen, name) != getattr(unwrapped, name) for name in same):
        raise ModelError(
            "the evaluation chose weights of another training", where=chosen.weights, cure="run evaluate on these weights"
        )
    return chosen


def _check_inputs(store: Store, pointer: WeightsPointer, evaluated: Evaluation, rows: Manifest[DatasetRow]) -> None:
    """Checks, before anything is registered, that all parts of a release exist and belong together."""
    if pointer.dataset != rows.digest:
        raise ModelError(
            "these weights were not trained on this dataset", where=pointer.weights, cure="pass the dataset of their run"
        )
    if digest_from_key(pointer.weights) != pointer.weights_digest:
        raise ModelError("the weights' key does not carry their digest", where=pointer.weights, cure="run unwrap again")
    if evaluated.weights and (evaluated.weights, evaluated.adapter) != (pointer.weights_digest, pointer.adapter_digest):
        raise ModelError("this evaluation is of other weights", where=pointer.weights, cure="run evaluate on these weights")
    for key in filter(None, (*pointer.list_files().values(), evaluated.report)):
        store.fetch(key)  # raises when it does not exist or its bytes do not match its digest


def _keep_lineage(store: Store, pointer: WeightsPointer, rows: Manifest[DatasetRow]) -> None:
    """The service asks the store, not the registry, who is heard in weights: the store must know it before they are registered."""
    if not store.exists(rows.key):
        rows.save(store)
    read_dataset(store, rows.digest)  # raises when what the store has is damaged
    bind_weights(store, pointer)


def _build_release(
    settings: Settings,
    agreement: Agreement,
    notice: str,
    pointer: WeightsPointer,
    evaluated: Evaluation,
    rows: Manifest[DatasetRow],
) -> Release:
    return Release(
        name=settings.name,
        weights=pointer,
        lineage=build_lineage(rows, pointer, agreement.digest),
        licence=agreement.weights_licence,
        notice=notice,
        evaluation=evaluated.model_copy(update={"settings": {}, "chosen": None}),
        training=_record_training(settings, pointer, evaluated, rows),
    )


def _record_training(
    settings: Settings, pointer: WeightsPointer, evaluated: Evaluation, rows: Manifest[DatasetRow]
) -> TrainingRecord:
    """The settings of all steps, as far as they wrote them down: a retraining takes them again."""
    steps = {
        "annotate_merge": rows.meta.get("settings"),
        "finetune": pointer.recipe,
        "unwrap": {"ema": pointer.ema, "lora": "keep" if pointer.adapter else "merge"},
        "register": settings.model_dump(mode="json"),
        **evaluated.settings,
    }
    return TrainingRecord(settings={step: dict(of) for step, of in steps.items() if of}, took_s=find_run_duration(pointer.run))


def _read_notices(store: Store, pointer: WeightsPointer) -> dict[str, str]:
    """The words of the licence and notice files that came with the base, file name -> text."""
    return {name: store.get(key).decode("utf-8", errors="replace") for name, key in sorted(pointer.notices.items())}


def choose_notice(agreement: Agreement, base: str, files: Mapping[str, str] | None = None) -> str:
    """The notice for releases of this base: the agreement's, else what lies beside the base.

    Args:
        base: its name. Stable Audio is recognised also by the name of a folder or mirror.
        files: licence and notice files of the base, file name -> text: a folder of any name keeps its notice.
    """
    files = files or {}
    last = base.rstrip("/").rpartition("/")[2]
    notices = {name.rpartition("/")[2]: words for name, words in reversed(agreement.base_model_notices.items())}
    notice = agreement.find_notice(base) or notices.get(last, "")
    if notice:
        return notice
    beside = [" ".join(text.split()) for name, text in files.items() if name.lower().startswith("notice")]
    licensed = any("Stability AI Community License" in " ".join(text.split()) for text in files.values())
    stable = licensed or "stable-audio" in base.lower() or base.startswith("stabilityai/")
    known = find_known_base(base) or find_known_base(last) or (find_known_base(_STABLE_AUDIO) if stable else None)
    if known and known.licence.notice:
        beside.insert(0, known.licence.notice)
    return " ".join(beside)[:_LONGEST_NOTICE]


def _register_release(settings: Settings, store: Store, people: dict[str, str], release: Release) -> Release:
    """The registered release; weights that are registered already keep their version."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = {
            "card.md": model_card.render_markdown(release, people, settings.intended_use),
            "card.html": model_card.render_html(release, people, settings.intended_use),
            "NOTICE": model_card.render_notice(release, people),
            "recipe.json": json.dumps(release.weights.recipe, indent=1, sort_keys=True),
            "evaluation.json": release.evaluation.model_dump_json(indent=1),
        }
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        paths = {file: folder / file for file in texts}
        paths |= {f"base/{name}": store.fetch(key) for name, key in release.weights.notices.items()}
        paths["model_config.json"] = store.fetch(release.weights.config)
        if release.evaluation.report:
            paths["evaluation.html"] = store.fetch(release.evaluation.report)
        return releases.register_release(release, paths, release.weights.run)


def _require_still(store: Store, release: Release, recordings: Mapping[str, tuple[str, ...]]) -> None:
    """Who withdrew while MLflow took the release in is not in a version: it is deleted, unless it was registered before."""
    try:
        governance.require_permission(store, "register", recordings)
    except ConsentError:
        if not store.exists(release.key):
            releases.delete_version(release.name, release.version)
        raise


def _require_after(store: Store, release: Release, recordings: Mapping[str, tuple[str, ...]]) -> None:
    """Nothing can be written into MLflow and asked of the ledger at once: who withdrew before the aliases stood is heard now.

    Aliases go back to what may play, and the version says why it may not.
    """
    try:
        governance.require_permission(store, "register", recordings)
    except ConsentError:
        follow_release_consent(store, releases, release.name)
        raise


def _find_objection(settings: Settings, store: Store, release: Release) -> str:
    """The reason why this release does not become champion, or an empty string."""
    if not settings.champion:
        return "the setting champion is off"
    if not release.evaluation.passed:
        return "the gate did not pass: " + ("; ".join(release.evaluation.reasons) or "no reason given")
    if objections := list_objections(store, open_ledger(store).read_state(), release, "champion"):
        return "; ".join(objections)
    reigning = releases.find_version_by_alias(release.name, "champion")
    if reigning is not None and int(reigning) > int(release.version):
        return f"version {reigning} is newer and reigns"
    return _ask_group(store, release)


def _ask_group(store: Store, release: Release) -> str:
    """Why the group's word is missing; empty where it said yes, or the agreement asks for none. Opens the proposal itself.

    Once the group accepts it, the generation service plays this version; `housekeeping` moves MLflow's alias.
    """
    measured = "; ".join(describe_metrics(release.evaluation.metrics)) or "nothing was measured"
    change = {"release": release.name, "version": release.version}
    title = f"Let version {release.version} of {release.name} play"
    try:
        asked = open_governance_writer(store).request_decision("champion", title, f"It passed its gate: {measured}.", change)
    except StoreError as e:
        return f"the group could not be asked ({e.what}); run register again"
    if asked is None:
        return ""
    if asked.outcome != "accepted":
        return f"the group decides: proposal {asked.id} is open until {asked.ends:%Y-%m-%d %H:%M} UTC"
    decided = find_decided_champion(open_ledger(store).read_state(), release.name)
    return "" if decided == release.version else f"the group decided on version {decided} since"
