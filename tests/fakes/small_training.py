"""A very small training world: a random base of upstream's parts, tones with captions, their latents. Made in seconds."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from audiotune.audio.sound import read_sound
from audiotune.domain.dataset import Caption, DatasetRow, LatentRow
from audiotune.domain.manifest import Manifest, load_manifest
from audiotune.domain.segment import Segment
from audiotune.reporting.progress import ignore_progress
from audiotune.store import FolderStore
from tests.fakes import seeded_store

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SmallTraining:
    """What was made; manifests lie in `folder`."""

    folder: Path
    store: FolderStore
    base: Path
    dataset: Path

    def encoded(self) -> Path:
        """The latents manifest, made by the encode step."""
        from components.encode.settings import Settings
        from components.encode.step import run_step

        latents = self.folder / "latents.jsonl"
        run_step(
            Settings(base=str(self.base)),
            self.store,
            ignore_progress,
            dataset=self.dataset,
            latents=latents,
            metrics=self.folder / "m",
        )
        return latents

    def latents(self) -> Manifest[LatentRow]:
        return load_manifest(self.folder / "latents.jsonl", "latents", LatentRow)


def base_folder(folder: Path, objective: str = "v", seed: int = 0) -> Path:
    """A folder with a random base: config, weights, tokenizer."""
    from audiotune.store import tensor_files
    from tests.fakes.random_model import make_random_config, make_random_model

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(REPOSITORY / "bases" / "tiny" / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    (folder / "model_config.json").write_text(json.dumps(make_random_config(objective)))
    state = make_random_model(seed, objective).model.state_dict()
    tensor_files.write_tensors(
        folder / "model.safetensors", {name: tensor_files.wrap_tensor(tensor) for name, tensor in state.items()}
    )
    return folder


def make_small_training(folder: Path, *, segment_s: float = 0.9, segments_each: int = 4, objective: str = "v") -> SmallTraining:
    """Store, base and dataset; the last segment of each recording is shorter, so that lengths differ."""
    seeded = seeded_store.seed(folder / "store", segments_each=segments_each, segment_s=segment_s)
    words = dict(zip((r.id for r in seeded.recordings), ("low drone", "bright pluck", "high metallic bell")))
    people = {r.id: r.contributors for r in seeded.recordings}
    rows = [
        DatasetRow(
            segment=_shortened(seeded.store, segment) if place % segments_each == segments_each - 1 else segment,
            caption=Caption(text=words[segment.recording], variants=(f"{words[segment.recording]} with decay",)),
            split="held_out" if place % segments_each == 0 else "train",
            contributors=people[segment.recording],
            licence="LicenseRef-members-only",
        )
        for place, segment in enumerate(seeded.segments)
    ]
    dataset = Manifest("datasets", rows, {"agreement": seeded.agreement.digest}).write(folder / "dataset.jsonl")
    return SmallTraining(folder, seeded.store, base_folder(folder / "base", objective), dataset)


def _shortened(store: FolderStore, segment: Segment) -> Segment:
    """The same segment rendered to its first half."""
    half = read_sound(store.fetch(segment.blob)).cut(0, segment.frames // 2)
    return segment.model_copy(update={"blob": store.put_blob(half.to_bytes("FLAC"), ".flac"), "frames": half.frames})
