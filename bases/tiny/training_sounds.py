"""The training data of the tiny base: sounds of the synthesizer as spectral features, and captions."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotune.audio.sound import Frames
from audiotune.audio.synthesizer import Patch, make_random_patch, play_patch
from bases.tiny.caption_words import write_caption

RATE_HZ, RATIO = 22_050, 1024
LENGTHS = (16, 20, 24, 32, 40, 48, 56, 64)  # latent frames: 0.74 to 2.97 s
CAPTIONS = 6  # different captions per sound
HELD_OUT_SEED = 90_000_000  # seeds from here on are not used for training


@dataclass(frozen=True, slots=True)
class SynthesizedSounds:
    """Sounds of one length.

    Attributes:
        features: float16 [sounds, spectral frames, FEATURES].
        captions: CAPTIONS captions of each sound.
    """

    features: NDArray[np.float16]
    captions: list[list[str]]


def render_sound(seed: int, length: int) -> tuple[Frames, Patch]:
    """One sound [samples] of `length` latent frames, with random level and sometimes room noise, and its patch."""
    rng = np.random.default_rng(seed)
    patch = make_random_patch(rng)
    frames = length * RATIO
    audio = np.zeros(frames, dtype=np.float32)
    played = play_patch(patch, frames / RATE_HZ, RATE_HZ, seed).data[0]
    audio[: len(played)] = played[:frames]
    audio *= 10 ** (rng.uniform(-16, 2) / 20)
    if rng.random() < 0.25:
        audio += 10 ** (rng.uniform(-72, -52) / 20) * rng.standard_normal(frames).astype(np.float32)
    return audio, patch


def render_sounds(folder: Path, sounds: int, seed: int, workers: int = 2) -> None:
    """Renders `sounds` sounds into one .npy and one .json per length; keeps existing files."""
    folder.mkdir(parents=True, exist_ok=True)
    each = sounds // len(LENGTHS)
    jobs = [(folder, length, each, seed + i * 1_000_000) for i, length in enumerate(LENGTHS)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(_render_length, jobs))


def load_sounds(folder: Path) -> dict[int, SynthesizedSounds]:
    """All sounds by length, memory-mapped."""
    return {
        length: SynthesizedSounds(
            np.load(folder / f"{length}.npy", mmap_mode="r"), json.loads((folder / f"{length}.json").read_text())
        )
        for length in LENGTHS
        if (folder / f"{length}.json").exists()
    }


def _render_length(job: tuple[Path, int, int, int]) -> None:
    folder, length, count, seed = job
    if (folder / f"{length}.json").exists():
        return
    import torch

    torch.set_num_threads(1)
    from audiotune.stable_audio import spectral_features

    features = np.empty((count, 2 * length, spectral_features.FEATURES), dtype=np.float16)
    captions: list[list[str]] = []
    for i in range(count):
        audio, patch = render_sound(seed + i, length)
        features[i] = spectral_features.join_features(spectral_features.analyse_audio(torch.from_numpy(audio)[None]))[0].numpy()
        words = np.random.default_rng(seed + i)
        captions.append([write_caption(patch, words) for _ in range(CAPTIONS)])
    np.save(folder / f"{length}.npy", features)
    (folder / f"{length}.json").write_text(json.dumps(captions))
