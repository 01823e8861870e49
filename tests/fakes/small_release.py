"""A release to serve, made of the tiny base as it ships: real weights, real registry, no training."""

from __future__ import annotations

import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

from audiotune import governance
from audiotune.domain.dataset import Caption, DatasetRow
from audiotune.domain.lineage import bind_weights, build_lineage
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, Release, WeightsPointer
from audiotune.domain.segment import Segment
from audiotune.governance import Consent, load_agreement
from audiotune.governance.agreement_record import Use
from audiotune.registry import releases
from audiotune.stable_audio.base_models import resolve_base
from audiotune.stable_audio.model_folder import list_text_encoder_files
from audiotune.store.port import Store, compute_digest, digest_from_key

AGREEMENT = Path(__file__).resolve().parents[2] / "agreement.example.toml"
RECORDING = "7" * 64


def publish(store: Store, name: str = "ours", alias: str = "champion", member: str = "ana") -> Release:
    """Registers a release of the tiny base, as if it had been trained on a recording of a member, who has agreed.

    Those of different members differ in their weights' digests only.
    """
    agreement, recording = load_agreement(AGREEMENT), find_recording(member)
    governance.publish_agreement(store, agreement)
    if not governance.read_consents(store, [recording]):
        say(store, member, "store", "train", "release", "generate")
    dataset = _make_dataset(member)
    dataset.save(store)
    base = resolve_base(store, "tiny")
    weights = _store_weights(store, base.weights_path, member)
    pointer = WeightsPointer(
        weights=weights,
        weights_digest=digest_from_key(weights) or "",
        config=store.put_blob((base.folder / "model_config.json").read_bytes(), ".json"),
        files={
            str(p.relative_to(base.folder)): store.put_blob(p, p.suffix.lower()) for p in list_text_encoder_files(base.folder)
        },
        base="tiny",
        base_digest=base.digest,
        dataset=dataset.digest,
    )
    bind_weights(store, pointer)
    made = Release(
        name=name,
        weights=pointer,
        lineage=build_lineage(dataset, pointer, agreement.digest),
        licence="ours",
        notice="",
        evaluation=Evaluation(metrics={"kad_after": 1.0}, passed=True),
    )
    made = releases.register_release(made, {})
    releases.set_alias(name, alias, made.version)
    return made


def find_recording(member: str) -> str:
    """The recording that a member's release was trained on."""
    return RECORDING if member == "ana" else compute_digest(member.encode())


def say(store: Store, member: str, *uses: Use) -> None:
    """Records what a member agrees to for their recording; nothing takes all of it back."""
    agreement = governance.read_current_agreement(store)
    assert agreement is not None
    facts = {"recording": find_recording(member), "contributor": member, "uses": uses, "agreement": agreement.digest}
    governance.record_consent(store, Consent.model_validate({**facts, "basis": "test"}))


def _store_weights(store: Store, path: Path, member: str) -> str:
    if member == "ana":
        return store.put_blob(path, ".safetensors")
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        save_file(load_file(path), copy.name, metadata={"member": member})
        return store.put_blob(Path(copy.name), ".safetensors")


def _make_dataset(member: str) -> Manifest[DatasetRow]:
    """One segment, whose sound nobody opens."""
    segment = Segment(
        id="5" * 64, recording=find_recording(member), start_frame=0, end_frame=44_100, sample_rate_hz=44_100, fade_out_s=0.01,
        blob="blobs/none", frames=44_100, loudness_lufs=-20.0,
    )  # fmt: skip
    row = DatasetRow(segment=segment, caption=Caption(text="a tone"), split="train", contributors=(member,), licence="ours")
    return Manifest("datasets", [row])
