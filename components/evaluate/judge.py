"""From sounds to numbers, and from numbers to the gate's word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiotune import distance
from audiotune.fingerprint import fingerprint, matches
from audiotune.loudness import integrated_lufs
from audiotune.sound import Sound
from components.evaluate.material import Recorded, white_noise
from components.evaluate.settings import Settings

_SILENT_LUFS = -60.0
_AS_FLAT_AS_NOISE = 0.6  # share of white noise's flatness


@dataclass(frozen=True)
class Likeness:
    """A made sound and the training segment nearest to it. `copied`: their fingerprints match; `distance` is in mel embeddings."""

    sound: Sound
    prompt: str
    nearest: Recorded
    distance: float
    copied: bool


def nearness(before: Sequence[Sound], after: Sequence[Sound], targets: Sequence[Recorded]) -> dict[str, float]:
    """KAD and log-mel distance of both models' sounds to the recorded segments whose captions they were made of."""
    real = distance.stacked([target.sound for target in targets])
    values = {}
    for name, sounds in (("before", before), ("after", after)):
        values[f"kad_{name}"] = distance.kad(real, distance.stacked(sounds))
        values[f"log_mel_distance_{name}"] = float(
            np.mean([distance.log_mel_distance(sound, target.sound) for sound, target in zip(sounds, targets)])
        )
    return values


def sanity(sounds: Sequence[Sound]) -> dict[str, float]:
    """Loudness, silence and noise."""
    loudness = [integrated_lufs(sound) for sound in sounds]
    heard = [value for value in loudness if value is not None and value > _SILENT_LUFS]
    flatness = [distance.flatness(sound) for sound in sounds]
    noise = distance.flatness(white_noise(sounds[0]))
    values = {
        "silent_share": 1 - len(heard) / len(sounds),
        "flatness": float(np.median(flatness)),
        "flatness_of_noise": noise,
        "noise_share": float(np.mean([value > _AS_FLAT_AS_NOISE * noise for value in flatness])),
    }
    return {**values, "loudness_lufs": float(np.median(heard))} if heard else values


def likenesses(made: Sequence[Sound], prompts: Sequence[str], train: Sequence[Recorded]) -> list[Likeness]:
    """Each made sound with its nearest training segment; empty when there is none."""
    if len(train) < 2:
        return []
    rows, apart = distance.nearest(distance.stacked(made), distance.stacked([one.sound for one in train]))
    prints = [fingerprint(one.sound) for one in train]
    found = []
    for sound, prompt, row, far in zip(made, prompts, rows, apart):
        own = fingerprint(sound)
        copied = any(matches(own, other) is not None for other in prints)
        found.append(Likeness(sound, prompt, train[int(row)], float(far), copied))
    return found


def copying(found: Sequence[Likeness]) -> dict[str, float]:
    """Share of sounds that copy a training segment, and how far the nearest ones are."""
    if not found:
        return {}
    return {
        "copied_share": float(np.mean([one.copied for one in found])),
        "nearest_training_distance": float(np.median([one.distance for one in found])),
    }


def separation(low: Sequence[Sound], high: Sequence[Sound]) -> dict[str, float]:
    """Share of seeds at which the high prompt lies above the low one, and dies sooner."""
    return {
        "probe_centroid_share": float(np.mean([distance.centroid_hz(h) > distance.centroid_hz(w) for w, h in zip(low, high)])),
        "probe_envelope_share": float(np.mean([distance.sustain(h) < distance.sustain(w) for w, h in zip(low, high)])),
    }


def gate(settings: Settings, values: dict[str, float]) -> tuple[str, ...]:
    """Why the model should not become champion; empty when it may."""
    gap = values.get("loss_held_out", 0.0) / values["loss_train"] - 1 if values.get("loss_train") else 0.0
    faults = (
        (
            values["kad_after"] >= settings.gate_nearer * values["kad_before"],
            f"it is not nearer to the recordings than its base (KAD {values['kad_before']:.3g} before, {values['kad_after']:.3g} after)",
        ),
        (values["silent_share"] > settings.gate_silent, f"{values['silent_share']:.0%} of its sounds are silent"),
        (values["noise_share"] > settings.gate_noise, f"{values['noise_share']:.0%} of its sounds are noise"),
        (
            values.get("copied_share", 0.0) > settings.gate_copies,
            f"{values.get('copied_share', 0.0):.0%} of its sounds copy a training segment",
        ),
        (gap > settings.gate_gap, f"its loss on held-out segments is {gap:.0%} above that on training segments"),
    )
    return tuple(words for wrong, words in faults if wrong)
