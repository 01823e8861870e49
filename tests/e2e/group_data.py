"""A group's data, made and read again inside the pods: `python - make` and `python - read`, this file on stdin.

In the studio's pod `make` runs the steps ingest and segment on synthesized recordings and annotates every segment. In the registry's pod
`register` registers a model version with a file of its own, with the key that may write. `read` and `registered` read all of it back,
every blob to its last byte, and print it as JSON: equal output means equal data. Each imports only what the image of its pod holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TAKES, MEMBER, PASSWORD, MODEL = 2, "ana", "a password that Ana chose", "group-model"
AGREEMENT = """group = "drill"
version = 1
recordings_licence = "CC0-1.0"
accepted_licences = ["CC0-1.0"]
weights_licence = "CC0-1.0"
allowed_uses = ["store", "train", "release", "generate"]
[[members]]
id = "ana"
name = "Ana"
consents_to = ["store", "train", "release", "generate"]
"""


def make_group_data() -> dict[str, Any]:
    """What the studio's pod may write; the member's account is made in the governance service's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_takes(folder / "takes")
        (folder / "agreement.toml").write_text(AGREEMENT)
        _run_step(
            "ingest", folder, "--source", folder / "takes", "--agreement", folder / "agreement.toml", "--contributors", MEMBER
        )
        _run_step("segment", folder, "--recordings", folder / "recordings", "--min-s", "0.3", "--max-s", "4")
        _annotate(folder / "segments")
    return {}


def _write_takes(folder: Path) -> None:
    import numpy as np

    from audiotune.audio.sound import Sound
    from audiotune.audio.synthesizer import make_random_patch, play_patch

    rng = np.random.default_rng(11)
    for number in range(TAKES):
        patch = make_random_patch(rng, register="low", envelope="pluck")
        silence = np.zeros(32_000, np.float32)
        sounds = [play_patch(patch, 1.0, 32_000, number * 10 + part).data[0] for part in range(2)]
        frames = np.concatenate([part for sound in sounds for part in (silence, sound)] + [silence])
        Sound(frames[None], 32_000).write(folder / f"take_{number}.wav", "PCM_16")


def _run_step(step: str, folder: Path, *words: object) -> None:
    out = {"ingest": ("recordings", "report", "metrics"), "segment": ("segments", "report", "metrics")}[step]
    given = [str(word) for word in (*words, *(part for name in out for part in (f"--{name}", folder / name)))]
    done = subprocess.run([sys.executable, "-m", f"components.{step}", *given], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{step}: {done.stderr[-1500:]}")


def _annotate(segments: Path) -> None:
    from audiotune.domain import annotation, manifest
    from audiotune.domain.segment import Segment
    from audiotune.store import open_store

    store = open_store()
    for segment in manifest.load_manifest(segments, "segments", Segment).rows:
        annotation.save_annotation(store, annotation.Annotation(segment=segment.id, member=MEMBER, words="as it was heard"))


def register_model() -> dict[str, Any]:
    import mlflow

    client = _connect()
    mlflow.set_experiment(MODEL)
    with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
        mlflow.log_metric("loss", 0.25)
        card = Path(folder) / "card.md"
        card.write_text("# A release\nmade for the drill\n")
        mlflow.log_artifact(str(card))
    client.create_registered_model(MODEL)
    version = client.create_model_version(MODEL, f"{run.info.artifact_uri}/card.md", run.info.run_id)
    client.set_registered_model_alias(MODEL, "champion", version.version)
    return {}


def _connect() -> Any:
    """A client of the server in this pod."""
    os.environ |= {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
        "MLFLOW_TRACKING_TOKEN": os.environ["AUDIOTUNE_REGISTRY_WRITE_KEY"],
    }
    from audiotune.registry.connection import get_mlflow_client

    return get_mlflow_client()


def read_group_data() -> dict[str, Any]:
    from audiotune.access import accounts
    from audiotune.domain import annotation
    from audiotune.store import open_store
    from audiotune.store.layout import PREFIXES, find_prefix
    from audiotune.store.port import Store, StoreEntry

    def list_readable(store: Store, top: str) -> list[StoreEntry]:
        """What the studio's user may read below a folder."""
        paths = sorted({row.path for row in PREFIXES if row.path.startswith(top) and row.allows("studio", "list")})
        found = {entry.key: entry for path in paths for entry in store.list(path)}
        return [entry for key, entry in sorted(found.items()) if (row := find_prefix(key)) and row.allows("studio", "get")]

    store = open_store()
    blobs = {}
    for entry in list_readable(store, "blobs/"):
        digest = hashlib.sha256(store.get(entry.key)).hexdigest()
        if digest not in entry.key:
            sys.exit(f"{entry.key} does not hold what its name says: {digest}")
        blobs[entry.key] = digest
    read = {
        name: {entry.key: hashlib.sha256(store.get(entry.key)).hexdigest() for entry in list_readable(store, name)}
        for name in ("manifests/", "annotations/", "governance/")
    }
    if accounts.verify_password(store, MEMBER, PASSWORD) is None:
        sys.exit(f"{MEMBER}'s password is no longer valid")
    return {
        "blobs": blobs,
        **read,
        "words": sorted(
            annotation.Annotation.model_validate_json(store.get(entry.key)).words for entry in store.list("annotations/")
        ),
        "members": sorted(f"{a.member} {a.role}" for a in accounts.list_accounts(store)),
    }


def read_registered() -> dict[str, Any]:
    import mlflow

    client = _connect()
    version = client.get_model_version_by_alias(MODEL, "champion")
    run = client.get_run(version.run_id)
    card = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/card.md")
    return {"mlflow": {"version": version.version, "run": run.info.run_id, "metrics": run.data.metrics, "card": card}}


VERBS = {"make": make_group_data, "read": read_group_data, "register": register_model, "registered": read_registered}

if __name__ == "__main__":
    print(json.dumps(VERBS[sys.argv[1]](), sort_keys=True))
