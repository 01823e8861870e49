"""A release to serve, made of the tiny base as it ships: real weights, real registry, no training."""

from __future__ import annotations

from pathlib import Path

from audiotune import governance
from audiotune.domain.release import Evaluation, Lineage, Release, WeightsPointer
from audiotune.governance import Consent, load_agreement
from audiotune.registry import releases
from audiotune.stable_audio.base_models import list_text_encoder_files, resolve_base
from audiotune.store.port import Store, digest_from_key

AGREEMENT = Path(__file__).resolve().parents[2] / "agreement.example.toml"
RECORDING = "7" * 64


def publish(store: Store, name: str = "ours", alias: str = "champion", dataset: str = "d" * 64) -> Release:
    """Registers a release of the tiny base; ana is heard in it and has agreed."""
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
        dataset=dataset,
    )
    lineage = Lineage(
        dataset=dataset,
        segments=("5" * 64,),
        recordings={RECORDING: ("ana",)},
        base="tiny",
        base_digest=base.digest,
        agreement=agreement.digest,
    )
    made = Release(
        name=name,
        weights=pointer,
        lineage=lineage,
        licence="ours",
        notice="",
        evaluation=Evaluation(metrics={"kad_after": 1.0}, passed=True),
    )
    made = releases.register_release(made, {})
    releases.set_alias(name, alias, made.version)
    return made
