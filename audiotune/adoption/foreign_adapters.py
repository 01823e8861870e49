"""Adapters given to other programs, and adapters of others brought in, with whose work they are and under what licence."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audiotune import governance
from audiotune.domain.foreign_origin import ForeignOrigin
from audiotune.domain.lineage import LineageChecker, bind_weights, build_foreign_lineage, find_datasets_of_adapter
from audiotune.domain.release import Evaluation, Release, find_card
from audiotune.errors import AgreementError, ModelError, RegistryError
from audiotune.governance import Agreement
from audiotune.governance.release_standing import require_release_permission
from audiotune.registry import releases
from audiotune.stable_audio.adapter_files import AdapterFormat, read_foreign_adapter, write_foreign_adapter
from audiotune.stable_audio.adapters import describe_adapter, read_adapter
from audiotune.stable_audio.base_models import resolve_base
from audiotune.stable_audio.known_bases import find_known_base
from audiotune.stable_audio.release_weights import point_to_weights
from audiotune.stable_audio.weight_merging import LoraWeights, collect_adapter_tensors
from audiotune.store import tensor_files
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.port import Store, compute_digest

_OURS = "audio_tune"  # metadata of files that we export: what they are, as JSON
_UNMEASURED = "it came from outside, and nobody measured it"


@dataclass(frozen=True)
class ImportedAdapter:
    """An adapter of others in the store."""

    key: str
    weights: LoraWeights
    origin: ForeignOrigin


def export_adapter(store: Store, name: str, version: str, program: AdapterFormat, to: Path) -> Path:
    """Writes the adapter of a release as another program reads it; everybody heard in it must have agreed to releases.

    Raises:
        RegistryError: no such release. ModelError: it is no adapter, or the file exists.
        ConsentError, AgreementError, LineageError: as everywhere.
    """
    card = find_card(store, name, version)
    if card is None:
        raise RegistryError(
            f"the store has no release {name}:{version}", where=store.url, cure="write NAME:VERSION, as in grit:2"
        )
    if not card.weights.adapter:
        cure = 'train it in mode "lora" with `lora = "keep"` in [unwrap]'
        raise ModelError(f"{name}:{version} is no adapter: it was merged, or tuned as a whole", cure=cure)
    if to.exists() or to.with_name(f"{to.name}.safetensors").exists():
        raise ModelError("there is something already", where=str(to), cure="name a new file or folder")
    LineageChecker(store).require(card)
    if not card.lineage.is_of_others:
        require_release_permission(store, "export", card)
    facts = {"release": name, "version": version, "digest": card.weights.adapter_digest, "base": card.weights.base}
    metadata = {_OURS: json.dumps(facts), "licence": card.licence, "notice": card.notice}
    weights = read_adapter(store.fetch(card.weights.adapter))
    with tensor_files.open_tensors(store.fetch(card.weights.weights)) as base:
        written = write_foreign_adapter(weights, base, to, program, metadata)
    if program == "peft":
        write_atomic_file(written / "NOTICE", f"{name} version {version}\nLicence: {card.licence}\n{card.notice}\n")
    return written


def import_adapter(store: Store, path: Path, base_name: str, by: str, licence: str) -> ImportedAdapter:
    """Puts an adapter of others into the store: to begin a training with, or to be registered.

    Raises:
        ModelError: no adapter of this base, a kind that is not kept as matrices, one without any effect, or one that the group made itself.
    """
    base = resolve_base(store, base_name)
    with tensor_files.open_tensors(base.weights_path) as tensors:
        found = read_foreign_adapter(path, tensors)
        _require_foreign(store, path, found.metadata)
        if found.weights.kind == "lora" and not any(b.load().any() for _, b in found.weights.pairs.values()):
            cure = "it was kept before its first step, or of another run: bring the trained one"
            raise ModelError("this adapter changes nothing: every B is zero", where=str(path), cure=cure)
        weights_file = path if path.is_file() else next(file for file in sorted(path.glob("adapter_model.*")))
        origin = ForeignOrigin(by=by, licence=licence, file=path.name, digest=compute_digest(weights_file), program=found.program)
        adapter = collect_adapter_tensors(found.weights, tensors)
        key = tensor_files.store_tensors(store, adapter, describe_adapter(found.weights.scale, origin))
    return ImportedAdapter(key, found.weights, origin)


def register_adapter(store: Store, imported: ImportedAdapter, base_name: str, name: str) -> Release:
    """Registers an adapter of others as a candidate. Nobody of the group is heard in it: its lineage names its maker instead.

    Raises AgreementError: the group has none. Raises RegistryError: MLflow does not answer.
    """
    agreement = governance.read_current_agreement(store)
    if agreement is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="ingest with --agreement agreement.toml first")
    base = resolve_base(store, base_name)
    weights = store.put_blob(base.weights_path, ".safetensors")
    facts = {"adapter": imported.key, "origin": imported.origin, "dataset": ""}
    pointer = point_to_weights(store, weights, base.folder, base_name, base.digest, **facts)
    bind_weights(store, pointer)
    made = Release(
        name=name,
        weights=pointer,
        lineage=build_foreign_lineage(pointer, agreement.digest),
        licence=imported.origin.licence,
        notice=f"Adapter by {imported.origin.by} ({imported.origin.licence}). {_find_notice(agreement, base_name)}".strip(),
        evaluation=Evaluation(metrics={}, passed=False, reasons=(_UNMEASURED,)),
    )
    registered = releases.register_release(made, {})
    registered.save(store)
    releases.set_alias(registered.name, "candidate", registered.version)
    return registered


def _require_foreign(store: Store, path: Path, metadata: Mapping[str, str]) -> None:
    """Refuses an adapter that the group trained itself: its people would be asked no more."""
    facts: dict[str, str] = {}
    with contextlib.suppress(ValueError):
        facts = json.loads(metadata.get(_OURS, "{}"))
    digest = facts.get("digest") or (compute_digest(path) if path.is_file() else "")
    if find_datasets_of_adapter(store, digest):
        named = f" {facts['release']}:{facts['version']}" if "release" in facts else ""
        cure = "use the release; its people are asked, and a withdrawal finds it"
        raise ModelError(f"this is the group's own adapter{named}", where=str(path), cure=cure)


def _find_notice(agreement: Agreement, base: str) -> str:
    """What a release on this base must carry."""
    known = find_known_base(base)
    return agreement.find_notice(base) or (known.licence.notice if known else "")
