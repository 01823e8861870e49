"""The metrics of an evaluation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from audiotune.audio import distance
from audiotune.audio.fingerprint import FingerprintIndex
from audiotune.audio.loudness import measure_integrated_lufs
from audiotune.audio.sound import Sound
from components.evaluate import confidence
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
    """Recorded segments, and the sounds of both models for their captions with the same seeds."""

    targets: list[MeasuredSound] = field(default_factory=list)
    before: list[MeasuredSound] = field(default_factory=list)
    after: list[MeasuredSound] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingMatch:
    """The training segment that a sound is most similar to.

    Attributes:
        like: its likeness (`distance.compute_likeness`), up to 1.
        same: a training segment with the fingerprint of the sound, or None.
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
    """KAD of both models' sounds to the reference; also of the training segments, which a perfect model could reach.

    `kad_gain`: how much it fell, and what luck gives. `kad_of_recordings`: how far apart parts of the training recordings are themselves.
    `variety_share`: how different the sounds are from each other, against the recordings with their captions. `effect_kad`: how far apart
    the sounds of both models are, beside what other seeds would give.
    """
    rows = embed_sound_sets(settings, reference, made.before, made.after, made.targets, *([train] if len(train) > 1 else []))
    held, before, after, targets = rows[:4]
    kad = {"kad_before": before, "kad_after": after} | ({"kad_of_training_segments": rows[4]} if len(rows) > 4 else {})
    values = {name: distance.compute_kad(held, other, settings.kernel) for name, other in kad.items()}
    values |= confidence.measure_kad_gain(held, before, after, settings.kernel)
    width = distance.compute_median_distance(held)
    values |= confidence.measure_effect(before, after, width, settings.kernel)
    values["variety_share"] = confidence.measure_variety_share(after, targets)
    if len(rows) > 4:
        recordings, held_out = [one.recording for one in train], len({one.recording for one in reference})
        apart = confidence.bound_recorded_kad(rows[4], recordings, width, held_out, settings.kernel)
        values |= {} if apart is None else {"kad_of_recordings": apart}
    return values


def compute_log_mel_distances(made: SoundComparison, suffix: str = "") -> MetricValues:
    """Mean log-mel distance in dB between each sound and the segment with its caption and length."""

    def mean(sounds: Sequence[MeasuredSound]) -> float:
        return float(np.mean([distance.measure_mel_distance(one.mel, target.mel) for one, target in zip(sounds, made.targets)]))

    if not made.targets:
        return {}
    return {f"log_mel_distance{suffix}_before": mean(made.before), f"log_mel_distance{suffix}_after": mean(made.after)}


def measure_change(made: SoundComparison) -> MetricValues:
    """Mean log-mel distance in dB between the sounds of both models for the same words and seeds; 0 where they are the same."""
    return {"effect_db": float(np.mean([distance.measure_mel_distance(a.mel, b.mel) for a, b in zip(made.before, made.after)]))}


def measure_sound_faults(after: Sequence[MeasuredSound], reference: Sequence[MeasuredSound]) -> MetricValues:
    """Loudness, silence, clipping and flatness of the tuned model's sounds; flatness of the recordings and of white noise."""
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
    """Each sound with the most similar training segment; empty when there is none."""
    if not train or not sounds:
        return []
    table = distance.compute_likeness([one.mel for one in sounds], [one.mel for one in train])
    index: FingerprintIndex[int] = FingerprintIndex()
    for number, one in enumerate(train):
        index.add(number, one.words)
    matches = []
    for heard, row in zip(sounds, table):
        best, same = int(row.argmax()), index.find(heard.words)
        matches.append(TrainingMatch(heard, train[best], float(row[best]), train[same[0][0]] if same else None))
    return matches


def measure_copying(settings: Settings, made: Sequence[TrainingMatch], held_out: Sequence[TrainingMatch]) -> MetricValues:
    """Share of copies and likeness of the sounds; also of held-out recordings, which cannot be copies."""
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
    """Share of seeds at which the high prompt sounds higher than the low one, decays sooner, and does both."""
    higher = [distance.measure_centroid_hz(h) > distance.measure_centroid_hz(w) for w, h in zip(low, high)]
    sooner = [distance.measure_sustain_db(h) < distance.measure_sustain_db(w) for w, h in zip(low, high)]
    return {
        "probe_centroid_share": _share_of_true(higher),
        "probe_envelope_share": _share_of_true(sooner),
        "probe_share": _share_of_true(a and b for a, b in zip(higher, sooner)),
    }


def make_white_noise(like: Sound) -> Sound:
    """White noise of the same length and rate, the reference for flatness."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, like.frames))
    return Sound(noise.astype(np.float32), like.sample_rate_hz)


def _is_clipped(sound: Sound) -> bool:
    return bool((np.abs(sound.data) >= _FULL_SCALE).mean() > _CLIPPED_SHARE)


def _share_of_true(flags: Iterable[bool]) -> float:
    return float(np.mean(list(flags)))
