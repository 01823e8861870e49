"""A group with everything that a withdrawal reaches: joint takes, two datasets, releases, an adapter, checkpoints, evaluations, sounds.

No sound in it can be heard: blobs are a few bytes. Takes: `ben alone`, `both` (ana and ben), `ana alone`, `chi alone`. One segment of
`ben alone` and one of `chi alone` have the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from audiotune.domain.checkpoint import Checkpoint
from audiotune.domain.dataset import Caption, DatasetRow, LatentRow
from audiotune.domain.generation import AppliedAdapter, GenerationRecord, record_key
from audiotune.domain.lineage import bind_weights, build_lineage
from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Recording
from audiotune.domain.release import Evaluation, Release, TrainingRecord, WeightsPointer
from audiotune.domain.segment import Segment
from audiotune.domain.upload import Upload, UploadedFile
from audiotune.governance import Agreement, publish_agreement
from audiotune.governance.consent import record_standing_consents
from audiotune.store.layout import CUTS, DESCRIPTIONS, EVALUATED_SOUNDS, EVALUATIONS, LATENTS
from audiotune.store.port import Store, compute_digest, digest_from_key
from tests.fakes import described_store
from tests.fakes.described_store import digest
from tests.fakes.memory_registry import MemoryRegistry

TAKES = {"ben alone": ("ben",), "both": ("ana", "ben"), "ana alone": ("ana",), "chi alone": ("chi",)}


@dataclass
class WithdrawalGroup:
    """What was made. Releases: `jam` 1 (of ana and chi), 2 (of all; the champion) and `tape` 1 (an adapter of all)."""

    store: Store
    registry: MemoryRegistry
    agreement: Agreement
    takes: dict[str, Recording]
    segments: list[Segment]
    datasets: dict[str, Manifest[DatasetRow]]
    releases: dict[str, Release]
    latents: dict[str, str]
    prefix: str
    runs: Mapping[str, str]

    def id_of(self, *names: str) -> tuple[str, ...]:
        return tuple(self.takes[name].id for name in names)


def make_withdrawal_group(
    store: Store, group: Agreement | None = None, *, prefix: str = "", runs: Mapping[str, str] = MappingProxyType({})
) -> WithdrawalGroup:
    """The group. `prefix` begins the names of its releases; `runs`: title -> id of its training's run."""
    agreement = group or described_store.agreement()
    publish_agreement(store, agreement)
    takes = {name: _bring_take(store, name, people) for name, people in TAKES.items()}
    for take in takes.values():
        record_standing_consents(store, agreement, take.id, take.contributors)
    key = Manifest("recordings", list(takes.values()), {"source": "tests"}).save(store)
    segments = [segment for take in takes.values() for segment in _cut_take(store, take)]
    cut = Manifest("segments", segments, {"recordings": key}).save(store)
    datasets = {
        "some": _make_dataset(store, takes, [s for s in segments if "ben" not in _people(takes, s)], cut, agreement),
        "all": _make_dataset(store, takes, segments, cut, agreement),
    }
    latents = {segment.id: _encode(store, segment) for segment in segments}
    for dataset in datasets.values():
        _keep_latents(store, dataset, latents)
    made = WithdrawalGroup(store, MemoryRegistry(), agreement, takes, segments, datasets, {}, latents, prefix, runs)
    _release(made, "jam 1", "some", b"weights one")
    _release(made, "jam 2", "all", b"weights two", "champion", "candidate")
    _release(made, "tape 1", "all", b"base", "champion", adapter=b"adapter")
    for name, release, adapters in (("first", "jam 1", ()), ("second", "jam 2", ()), ("third", "jam 1", ("tape 1",))):
        _keep_sound(made, name, release, adapters)
    return made


def _people(takes: dict[str, Recording], segment: Segment) -> tuple[str, ...]:
    return next(take.contributors for take in takes.values() if take.id == segment.recording)


def _bring_take(store: Store, name: str, people: tuple[str, ...]) -> Recording:
    data = f"the sound of {name}".encode()
    blob, fingerprint = store.put_blob(data, ".wav"), store.put_blob(f"print of {name}".encode(), ".fp")
    take = described_store.recording(
        name, id=compute_digest(data), blob=blob, fingerprint=fingerprint, contributors=people, licence="LicenseRef-members-only"
    )
    store.put(DESCRIPTIONS.key("5", f"{take.id}.json"), b"{}")
    upload = Upload(
        id=f"20260101T000000-{digest(name)[:8]}", uploaded_by=people[0], contributors=people,
        files=(UploadedFile(name=f"{name}.wav", blob=blob, size=len(data)),),
    )  # fmt: skip
    store.put(upload.key, upload.model_dump_json().encode())
    return take


def _cut_take(store: Store, take: Recording) -> list[Segment]:
    shared = "a hit" if take.name in ("ben alone", "chi alone") else f"a hit of {take.name}"
    blobs = (store.put_blob(shared.encode(), ".flac"), store.put_blob(f"a tone of {take.name}".encode(), ".flac"))
    rows = [described_store.segment(take, place, blob) for place, blob in enumerate(blobs)]
    store.put(CUTS.key(f"{digest(take.name)}.jsonl"), Manifest("cuts", rows, {"recording": take.id, "peaks": ""}).to_bytes())
    return rows


def _make_dataset(
    store: Store, takes: dict[str, Recording], segments: list[Segment], cut: str, agreement: Agreement
) -> Manifest[DatasetRow]:
    rows = [
        DatasetRow(
            segment=segment, caption=Caption(text="a tone", annotators=("ana",)), split="train",
            contributors=_people(takes, segment), licence="LicenseRef-members-only",
        )
        for segment in segments
    ]  # fmt: skip
    made = Manifest("datasets", rows, {"agreement": agreement.digest, "segments": cut, "settings": {"segments": cut}})
    made.save(store)
    return made


def _encode(store: Store, segment: Segment) -> str:
    key = store.put_blob(f"latents of {segment.blob}".encode(), ".safetensors")
    part = {"latents": key, "latent_frames": 2, "seconds": 1.0}
    store.put(LATENTS.key("base-v1", f"{digest(segment.blob)}.json"), json.dumps([part]).encode())
    return key


def _keep_latents(store: Store, dataset: Manifest[DatasetRow], latents: dict[str, str]) -> None:
    rows = [
        LatentRow(
            segment=row.segment.id, recording=row.segment.recording, split=row.split, latents=latents[row.segment.id],
            latent_frames=2, seconds=1.0, captions=("a tone",),
        )
        for row in dataset.rows
    ]  # fmt: skip
    Manifest("latents", rows, {"dataset": dataset.digest, "base_digest": "b" * 64}).save(store)


def _release(made: WithdrawalGroup, title: str, of: str, weights: bytes, *aliases: str, adapter: bytes = b"") -> None:
    store, dataset, (name, version) = made.store, made.datasets[of], title.split()
    key = store.put_blob(weights, ".safetensors")
    added = store.put_blob(adapter, ".safetensors") if adapter else ""
    pointer = WeightsPointer(
        weights=key, weights_digest=digest_from_key(key) or "", config=store.put_blob(b"{}", ".json"), adapter=added,
        base="tiny", base_digest="b" * 64, dataset=dataset.digest, run=made.runs.get(title, ""), recipe={"steps": 30, "base": "tiny"},
    )  # fmt: skip
    bind_weights(store, pointer)
    _keep_checkpoint(store, title, dataset.digest)
    report = store.put_blob(f"report of {title}".encode(), ".html")
    judged = Evaluation(metrics={}, passed=True, report=report, weights=pointer.weights_digest, adapter=pointer.adapter_digest)
    store.put(EVALUATIONS.key(f"{digest(title)}.json"), judged.model_dump_json().encode())
    sound = store.put_blob(f"sound of {title}".encode(), ".flac")
    heard = {"sound": sound, "latents": [], "weights": pointer.identity}
    store.put(EVALUATED_SOUNDS.key(f"{digest(title)}.json"), json.dumps(heard).encode())
    steps = ("annotate_merge", "encode", "finetune", "unwrap", "evaluate", "register")
    release = Release(
        name=made.prefix + name, version=version, weights=pointer, lineage=build_lineage(dataset, pointer, made.agreement.digest),
        licence="x", notice="", evaluation=judged, made=datetime(2026, 1, int(version), tzinfo=UTC),
        training=TrainingRecord(settings={step: {"of": title} for step in steps}, took_s=5400) if title == "jam 2" else None,
    )  # fmt: skip
    release.save(store)
    made.registry.add(release, *aliases)
    made.releases[title] = release


def _keep_checkpoint(store: Store, title: str, dataset: str) -> None:
    kept = Checkpoint(
        run_key=digest(title), step=30, final=True, weights=store.put_blob(f"tensors of {title}".encode(), ".safetensors"),
        optimizer=store.put_blob(f"moments of {title}".encode(), ".state.safetensors"), kind="full", base="tiny",
        base_digest="b" * 64, dataset=dataset, latents="c" * 64, run=f"run-of-{title.replace(' ', '-')}",
    )  # fmt: skip
    kept.save(store)
    store.put(kept.report_key, b"<!doctype html>")


def _keep_sound(made: WithdrawalGroup, name: str, title: str, adapters: tuple[str, ...]) -> None:
    release = made.releases[title]
    applied = tuple(
        AppliedAdapter(release=other.name, version=other.version, digest=other.weights.adapter_digest, strength=1)
        for other in map(made.releases.__getitem__, adapters)
    )
    record = GenerationRecord(
        sound=digest(name), blob=f"sounds/{digest(name)}.wav", format="wav", prompt="x", seconds=1, steps=1, guidance=1, seed=1,
        sampler="euler", release=release.name, version=release.version, digest=release.digest, adapters=applied, member="ana",
    )  # fmt: skip
    for key in (record_key(record.sound), *record.maker_keys):
        made.store.put(key, record.model_dump_json().encode() if key == record_key(record.sound) else b"")
