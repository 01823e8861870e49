"""Metrics: from sounds to numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from audiotune.audio import distance
from audiotune.audio.fingerprint import FingerprintIndex, FingerprintWords
from audiotune.audio.loudness import measure_integrated_lufs
from audiotune.audio.sound import Sound
from components.evaluate.embeddings import embed_sound_sets
from components.evaluate.measured_sounds import MeasuredSound
from components.evaluate.settings import Settings

MetricValues = dict[str, float]

_SILENT_LUFS = -60.0
_FULL_SCALE = 0.999
_CLIPPED_SHARE = 0.01  # of a sound's frames at full scale, from which it counts as clipped
_AS_FLAT_AS_NOISE = 0.6  # share of white noise's flatness


@dataclass(frozen=True)
class SoundComparison:
    """Captions of recorded segments, and what both models made of them with the same seeds."""

    targets: list[MeasuredSound] = field(default_factory=list)
    before: list[MeasuredSound] = field(default_factory=list)
    after: list[MeasuredSound] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingMatch:
    """How near a sound comes to what was trained with.

    Attributes:
        nearest: the training segment it is most like.
        like: how like (`distance.compute_likeness`), up to 1.
        same: a training segment whose fingerprint it carries, or None.
    """

    heard: MeasuredSound
    nearest: MeasuredSound
    like: float
    same: MeasuredSound | None

    def is_copy(self, settings: Settings) -> bool:
        return self.same is not None or self.like >= settings.gate_like


def compute_kad(
    settings: Settings, reference: Sequence[MeasuredSound], train: Sequence[MeasuredSound], made: SoundComparison
) -> MetricValues:
    """KAD of both models' sounds to the reference; of the training segments, too, as what a perfect model could reach."""
    rows = embed_sound_sets(settings, reference, made.before, made.after, *([train] if len(train) > 1 else []))
    names = ("kad_before", "kad_after", "kad_of_training_segments")
    return {name: distance.compute_kad(rows[0], other, settings.kernel) for name, other in zip(names, rows[1:])}


def compute_log_mel_distances(made: SoundComparison, suffix: str = "") -> MetricValues:
    """Mean log-mel distance in dB of each sound to the segment whose caption and length it was made with."""

    def mean(sounds: Sequence[MeasuredSound]) -> float:
        return float(np.mean([distance.measure_mel_distance(one.mel, target.mel) for one, target in zip(sounds, made.targets)]))

    if not made.targets:
        return {}
    return {f"log_mel_distance{suffix}_before": mean(made.before), f"log_mel_distance{suffix}_after": mean(made.after)}


def measure_sound_faults(after: Sequence[MeasuredSound], reference: Sequence[MeasuredSound]) -> MetricValues:
    """Loudness, silence, clipping and noise of the tuned model's sounds; noise of the recordings and of white noise beside it."""
    loudness = [measure_integrated_lufs(one.sound) for one in after]
    heard = [value for value in loudness if value is not None and value > _SILENT_LUFS]
    white = float(np.median([distance.measure_flatness(make_white_noise(one.sound)) for one in after]))
    flat, recorded = ([distance.measure_flatness(one.sound) for one in sounds] for sounds in (after, reference))
    values = {
        "silent_share": 1 - len(heard) / len(after),
        "clipped_share": _share_of_true(_is_clipped(one.sound) for one in after),
        "flatness": float(np.median(flat)),
        "flatness_of_recordings": float(np.median(recorded)),
        "flatness_of_noise": white,
        "noise_share": _share_of_true(value > _AS_FLAT_AS_NOISE * white for value in flat),
        "noise_share_of_recordings": _share_of_true(value > _AS_FLAT_AS_NOISE * white for value in recorded),
    }
    return {**values, "loudness_lufs": float(np.median(heard))} if heard else values


def find_training_matches(sounds: Sequence[MeasuredSound], train: Sequence[MeasuredSound]) -> list[TrainingMatch]:
    """Each sound with the training segment it is most like; empty when there is none."""
    if not train or not sounds:
        return []
    table = distance.compute_likeness([one.mel for one in sounds], [one.mel for one in train])
    index: FingerprintIndex[int] = FingerprintIndex()
    for number, one in enumerate(train):
        index.add(number, one.words)
    found = []
    for heard, row in zip(sounds, table):
        best = int(row.argmax())
        found.append(TrainingMatch(heard, train[best], float(row[best]), _find_fingerprint_match(index, heard.words, train)))
    return found


def measure_copying(settings: Settings, made: Sequence[TrainingMatch], held_out: Sequence[TrainingMatch]) -> MetricValues:
    """Share of sounds that are copies, and how like they are; the same of held-out recordings, who cannot have copied."""
    if not made:
        return {}
    values = {
        "copied_share": _share_of_true(one.is_copy(settings) for one in made),
        "likeness_to_training": float(np.median([one.like for one in made])),
        "likeness_to_training_highest": max(one.like for one in made),
    }
    if held_out:
        values["copied_share_of_held_out"] = _share_of_true(one.is_copy(settings) for one in held_out)
        values["likeness_of_held_out"] = float(np.median([one.like for one in held_out]))
    return values


def measure_prompt_separation(low: Sequence[Sound], high: Sequence[Sound]) -> MetricValues:
    """Share of seeds at which the high prompt lies above the low one, dies sooner, and does both."""
    higher = [distance.measure_centroid_hz(h) > distance.measure_centroid_hz(w) for w, h in zip(low, high)]
    sooner = [distance.measure_sustain_db(h) < distance.measure_sustain_db(w) for w, h in zip(low, high)]
    return {
        "probe_centroid_share": _share_of_true(higher),
        "probe_envelope_share": _share_of_true(sooner),
        "probe_share": _share_of_true(a and b for a, b in zip(higher, sooner)),
    }


def make_white_noise(like: Sound) -> Sound:
    """Noise of the same length and rate, to measure flatness against."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, like.frames))
    return Sound(noise.astype(np.float32), like.sample_rate_hz)


def _find_fingerprint_match(
    index: FingerprintIndex[int], words: FingerprintWords, train: Sequence[MeasuredSound]
) -> MeasuredSound | None:
    found = index.find(words)
    return train[found[0][0]] if found else None


def _is_clipped(sound: Sound) -> bool:
    return bool((np.abs(sound.data) >= _FULL_SCALE).mean() > _CLIPPED_SHARE)


def _share_of_true(flags: Iterable[bool]) -> float:
    return float(np.mean(list(flags)))
