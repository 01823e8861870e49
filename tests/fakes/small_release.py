"""A release to serve, made of the tiny base as it ships: real weights, real registry, no training."""

from __future__ import annotations

from pathlib import Path

from audiotune import governance
from audiotune.domain.dataset import Caption, DatasetRow
from audiotune.domain.lineage import bind_weights, build_lineage
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, Release, WeightsPointer
from audiotune.domain.segment import Segment
from audiotune.governance import Consent, load_agreement
from audiotune.registry import releases
from audiotune.stable_audio.base_models import list_text_encoder_files, resolve_base
from audiotune.store.port import Store, digest_from_key

AGREEMENT = Path(__file__).resolve().parents[2] / "agreement.example.toml"
RECORDING = "7" * 64


def publish(store: Store, name: str = "ours", alias: str = "champion") -> Release:
    """Registers a release of the tiny base, as if it had been trained on a recording of ana, who has agreed."""
    agreement = load_agreement(AGREEMENT)
    governance.publish_agreement(store, agreement)
    if not governance.read_consents(store, [RECORDING]):
        governance.record_consent(
            store,
            Consent(
                recording=RECORDING,
                contributor="ana",
                uses=("store", "train", "release", "generate"),
                basis="test",
                agreement=agreement.digest,
            ),
        )
    dataset = _make_dataset()
    dataset.save(store)
    base = resolve_base(store, "tiny")
    weights = store.put_blob(base.weights_path, ".safetensors")
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


def _make_dataset() -> Manifest[DatasetRow]:
    """One segment, whose sound nobody opens."""
    segment = Segment(
        id="5" * 64, recording=RECORDING, start_frame=0, end_frame=44_100, sample_rate_hz=44_100, fade_out_s=0.01,
        blob="blobs/none", frames=44_100, loudness_lufs=-20.0,
    )  # fmt: skip
    row = DatasetRow(segment=segment, caption=Caption(text="a tone"), split="train", contributors=("ana",), licence="ours")
    return Manifest("datasets", [row])
