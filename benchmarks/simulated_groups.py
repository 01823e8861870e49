"""Simulated groups for benchmarks of the gate: takes of the synthesizer in a group's own sound, encoded once, split and tuned many times.

All lies in one folder and is kept: a second call with the same folder and seed renders and encodes nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from audiotune.audio.sound import RENDER_RATE_HZ, Frames, Sound
from audiotune.audio.synthesizer import ENVELOPES, REGISTERS, TIMBRES, Patch, make_random_patch, play_patch
from audiotune.domain.dataset import Caption, DatasetRow, LatentRow
from audiotune.domain.manifest import Manifest, load_manifest
from audiotune.domain.release import WeightsPointer
from audiotune.domain.segment import Segment, segment_id
from audiotune.governance import Agreement, load_agreement, publish_agreement
from audiotune.governance.consent import record_standing_consents
from audiotune.reporting.progress import ignore_progress
from audiotune.stable_audio.base_models import find_shipped_folder, list_text_encoder_files, resolve_base
from audiotune.store import FolderStore, Store
from audiotune.store.port import compute_digest, digest_from_key
from components.encode.settings import Settings as EncodeSettings
from components.encode.step import run_step as encode
from components.finetune.settings import Settings as FinetuneSettings
from components.finetune.step import run_step as finetune

AGREEMENT = Path(__file__).resolve().parents[1] / "agreement.example.toml"
SOUNDS_A_TAKE = 3
_CONTRIBUTOR = "ana"


@dataclass(frozen=True)
class GroupSound:
    """What all sounds of a group share: how they are played, and the amplifier (a bell around `peak_hz`, then a fall)."""

    drive: float
    detune: float
    breath: float
    ratio: float
    peak_hz: float
    fall_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> GroupSound:
        low, high = np.array([[0.4, 6.0, 0.05, 0.0, 200.0, 6.0], [0.9, 22.0, 0.3, 5.0, 900.0, 16.0]])
        values = dict(zip(cls.__dataclass_fields__, map(float, rng.uniform(low, high))))
        return cls(**{**values, "ratio": float(rng.choice([0.71, 1.41, 2.76, 3.5]))})

    def play(self, patch: Patch, duration_s: float, rng: np.random.Generator) -> Frames:
        own = replace(patch, drive=self.drive, detune=self.detune, breath=self.breath, vibrato=0.0, glide=0.0)
        own = replace(own, ratio=self.ratio, index=4.0) if own.timbre == "fm" else own
        played = play_patch(own, duration_s, RENDER_RATE_HZ, int(rng.integers(2**31))).data[0]
        hz = np.fft.rfftfreq(len(played), 1 / RENDER_RATE_HZ)
        bell = 8.0 * np.exp(-0.5 * (np.log2(np.maximum(hz, 1.0) / self.peak_hz) / 0.7) ** 2)
        gain_db = bell - self.fall_db * np.log2(np.maximum(hz, 1500.0) / 1500.0)
        filtered = np.fft.irfft(np.fft.rfft(played) * 10.0 ** (np.maximum(gain_db, -30.0) / 20.0), len(played))
        loud = filtered * (0.7 / max(float(np.abs(filtered).max()), 1e-9))
        return (loud + 0.0005 * rng.standard_normal(len(loud))).astype(np.float32)


@dataclass(frozen=True)
class SplitGroup:
    """A group's dataset and latents with one choice of held-out recordings."""

    dataset: Path
    latents: Path


class SimulatedGroup:
    """One group: 36 takes of three sounds, one for each register and each of its four envelopes and three timbres.

    Args:
        folder: shared by groups; each has a folder of its own inside.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder / f"group-{seed}", seed
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = FolderStore(self.folder / "store")
        if not (self.folder / "latents").exists():
            self._make_material()
        self._dataset = load_manifest(self.folder / "dataset", "datasets", DatasetRow)
        self._latents = load_manifest(self.folder / "latents", "latents", LatentRow)

    def split(self, seed: int, held_out: float = 0.2, shuffled: bool = False, base: str = "tiny") -> SplitGroup:
        """The material with this share of its recordings held out.

        Args:
            shuffled: each training segment has the captions of another.
            base: the tiny base, or a folder with another that has the same autoencoder and words.
        """
        recordings = sorted({row.recording for row in self._latents.rows})
        held = set(np.random.default_rng(seed).permutation(recordings)[: round(held_out * len(recordings))])
        split = {id: "held_out" if id in held else "train" for id in recordings}
        rows = [row.model_copy(update={"split": split[row.segment.recording]}) for row in self._dataset.rows]
        dataset = Manifest("datasets", rows, self._dataset.meta)
        encoded = [row.model_copy(update={"split": split[row.recording]}) for row in self._latents.rows]
        encoded = shuffle_captions(encoded, seed) if shuffled else encoded
        known = {"base": base, "base_digest": resolve_base(self.store, base).digest, "dataset": dataset.digest}
        at = self.folder / f"split-{seed}-{'shuffled' if shuffled else 'true'}-{Path(base).name}"
        dataset.save(self.store)
        return SplitGroup(
            dataset.write(at.with_suffix(".dataset")),
            Manifest("latents", encoded, {**self._latents.meta, **known}).write(at.with_suffix(".latents")),
        )

    def tune(self, at: Path, split: SplitGroup, **settings: Any) -> Path:
        """Fine-tunes and logs nowhere; returns the checkpoint pointer, which lies in the folder `at`."""
        at.mkdir(parents=True, exist_ok=True)
        quiet = {"validate_rows": 0, "demos": 0, "experiment": "", "threads": 1}
        known = FinetuneSettings.model_validate({"batch_size": 16, "learning_rate": 2e-4, **quiet, **settings})
        paths = {name: at / name for name in ("checkpoint", "report", "metrics")}
        finetune(known, self.store, ignore_progress, latents=split.latents, dataset=split.dataset, **paths)
        return paths["checkpoint"]

    def point_to_base(self, target: Path, split: SplitGroup, base: str = "tiny") -> Path:
        """A weights pointer to the base itself, as a training of no steps would leave it."""
        found = resolve_base(self.store, base)
        weights = self.store.put_blob(found.weights_path, ".safetensors")
        target.parent.mkdir(parents=True, exist_ok=True)
        pointer = WeightsPointer(
            weights=weights,
            weights_digest=digest_from_key(weights) or "",
            config=self.store.put_blob(found.folder / "model_config.json", ".json"),
            files={
                str(p.relative_to(found.folder)): self.store.put_blob(p, p.suffix) for p in list_text_encoder_files(found.folder)
            },
            base=base,
            base_digest=found.digest,
            dataset=load_manifest(split.dataset, "datasets", DatasetRow).digest,
        )
        target.write_text(pointer.model_dump_json())
        return target

    def _make_material(self) -> None:
        agreement = load_agreement(AGREEMENT)
        publish_agreement(self.store, agreement)
        rows = [row for take in self._play_takes() for row in _cut_take(self.store, agreement, *take)]
        dataset = Manifest("datasets", rows, {"agreement": agreement.digest}).write(self.folder / "dataset")
        paths = {"dataset": dataset, "latents": self.folder / "latents", "metrics": self.folder / "metrics"}
        encode(EncodeSettings(), self.store, ignore_progress, **paths)

    def _play_takes(self) -> Iterator[tuple[str, list[Frames]]]:
        """Caption and sounds of each take."""
        rng = np.random.default_rng(self.seed)
        own = GroupSound.draw(rng)
        envelopes, timbres = (rng.permutation(words)[:count] for words, count in ((ENVELOPES, 4), (TIMBRES, 3)))
        for register in REGISTERS:
            for envelope in map(str, envelopes):
                for timbre in map(str, timbres):
                    patch = make_random_patch(rng, register=register, envelope=envelope, timbre=timbre)
                    moved = [patch.move_to_register(register, rng) for _ in range(SOUNDS_A_TAKE)]
                    yield patch.make_caption(), [own.play(one, float(rng.uniform(0.9, 1.8)), rng) for one in moved]


def shuffle_captions(rows: list[LatentRow], seed: int) -> list[LatentRow]:
    """The same rows; each of the training has the captions of another."""
    order = np.random.default_rng(seed).permutation([i for i, row in enumerate(rows) if row.split == "train"])
    mixed = iter(order)
    return [row if row.split != "train" else _take_captions(row, rows[next(mixed)]) for row in rows]


def _take_captions(row: LatentRow, other: LatentRow) -> LatentRow:
    return row.model_copy(update={"captions": other.captions, "embeddings": other.embeddings})


def draw_base(folder: Path, seed: int) -> Path:
    """The tiny base with a diffusion model of random weights, each tensor with the spread of the trained one."""
    import torch
    from safetensors.torch import load_file, save_file

    target = folder / f"random-{seed}"
    if not target.exists():
        partial = folder / f"random-{seed}.part"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(find_shipped_folder() / "tiny", partial)
        (partial / "model.safetensors").chmod(0o644)
        tensors, generator = load_file(partial / "model.safetensors"), torch.Generator().manual_seed(seed)
        save_file({name: _draw_like(name, tensor, generator) for name, tensor in tensors.items()}, partial / "model.safetensors")
        partial.rename(target)
    return target


def read_finished_runs(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a benchmark's file; none if it does not exist."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()] if path.exists() else []


def _draw_like(name: str, tensor: Any, generator: Any) -> Any:
    """The autoencoder, the conditioner and single numbers stay."""
    import torch

    is_drawn = name.startswith("model.") and tensor.is_floating_point() and tensor.numel() > 1
    return torch.randn(tensor.shape, generator=generator) * tensor.std() if is_drawn else tensor


def _cut_take(store: Store, agreement: Agreement, caption: str, sounds: list[Frames]) -> Iterator[DatasetRow]:
    recording = compute_digest(np.concatenate(sounds).tobytes())
    record_standing_consents(store, agreement, recording, (_CONTRIBUTOR,))
    start = 0
    for data in sounds:
        end = start + len(data)
        segment = Segment(
            id=segment_id(recording, start, end, 0.0, 0.0, 0.0),
            recording=recording,
            start_frame=start,
            end_frame=end,
            sample_rate_hz=RENDER_RATE_HZ,
            blob=store.put_blob(Sound(data[None], RENDER_RATE_HZ).to_bytes("FLAC"), ".flac"),
            frames=len(data),
        )
        start = end
        yield DatasetRow(
            segment=segment,
            caption=Caption(text=caption),
            split="train",
            contributors=(_CONTRIBUTOR,),
            licence=agreement.recordings_licence,
        )
