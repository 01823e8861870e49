"""Patch: the settings of the modules, and the words that describe them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

REGISTERS = {"low": (45.0, 130.0), "mid": (180.0, 520.0), "high": (720.0, 2000.0)}  # Hz, fundamental
ENVELOPES = ("drone", "pluck", "pulse", "swell", "sequence")
TIMBRES = ("sine", "triangle", "saw", "square", "fm", "ring", "noise", "resonant", "hum")

_SCALE = (0, 3, 5, 7, 10, 12)  # semitones above the root: a minor pentatonic


@dataclass(frozen=True, slots=True)
class Patch:
    """Settings of one sound.

    Attributes:
        register: "low", "mid" or "high"; decides the range of `frequency_hz`.
        envelope: one of ENVELOPES, how loudness moves.
        timbre: one of TIMBRES, what oscillates.
        frequency_hz: fundamental; for noise the centre of its band.
        brightness: cutoff of the filter, 0 (dark) to 1 (bright).
        resonance: of the filter, 0 to 0.95.
        drive: 0 (clean) to 1 (harsh).
        detune: of a second oscillator, in cents; 0 is one oscillator.
        ratio: modulator over carrier frequency, of fm and ring.
        index: depth of fm in radians.
        rate_hz: of pulses, notes of a sequence, tremolo and vibrato.
        vibrato: depth in cents. tremolo: depth 0 to 1.
        glide: semitones over the whole sound, + is rising.
        breath: level of added noise, 0 to 1.
        steps: semitones above the root of a sequence's notes.
    """

    register: str
    envelope: str
    timbre: str
    frequency_hz: float
    brightness: float = 0.5
    resonance: float = 0.1
    drive: float = 0.0
    detune: float = 0.0
    ratio: float = 2.0
    index: float = 2.0
    rate_hz: float = 4.0
    vibrato: float = 0.0
    tremolo: float = 0.0
    glide: float = 0.0
    breath: float = 0.0
    steps: tuple[int, ...] = ()

    def list_words(self) -> tuple[str, ...]:
        """Words that are true of the sound: register, envelope, timbre, then qualities."""
        return (self.register, self.envelope, self.timbre, *(word for word, true in self._list_qualities() if true))

    def make_caption(self) -> str:
        """One phrase, e.g. "low dark warm saw drone"."""
        register, envelope, timbre, *qualities = self.list_words()
        return " ".join([register, *qualities, timbre, envelope])

    def _list_qualities(self) -> tuple[tuple[str, bool], ...]:
        metallic = self.timbre == "ring" or (self.timbre == "fm" and not float(self.ratio).is_integer())
        return (
            ("dark", self.brightness < 0.3),
            ("bright", self.brightness > 0.7),
            ("harsh", self.drive > 0.5),
            ("metallic", metallic),
            ("hollow", self.timbre == "square" and self.drive <= 0.5),
            ("warm", self.detune > 5 and self.brightness <= 0.7 and self.drive <= 0.5),
            ("soft", self.timbre in ("sine", "triangle") and self.drive == 0 and self.breath == 0),
            ("airy", self.breath > 0.1 and self.timbre != "noise"),
            ("wobbling", self.vibrato > 30),
            ("trembling", self.tremolo > 0.4),
            ("rising", self.glide > 1),
            ("falling", self.glide < -1),
        )

    def move_to_register(self, register: str, rng: np.random.Generator) -> Patch:
        """The same patch played in another register."""
        return replace(self, register=register, frequency_hz=_draw_pitch_hz(register, rng))


def make_random_patch(
    rng: np.random.Generator, *, register: str | None = None, envelope: str | None = None, timbre: str | None = None
) -> Patch:
    """A patch with random settings, except those that are given."""
    register = register or str(rng.choice(list(REGISTERS)))
    envelope = envelope or str(rng.choice(ENVELOPES))
    timbre = timbre or str(rng.choice(TIMBRES, p=(0.12, 0.1, 0.16, 0.13, 0.16, 0.09, 0.09, 0.1, 0.05)))
    soft = timbre in ("sine", "triangle")
    inharmonic = rng.random() < 0.4
    return Patch(
        register,
        envelope,
        timbre,
        _draw_pitch_hz(register, rng),
        brightness=float(rng.uniform(0.05, 1.0)),
        resonance=float(rng.uniform(0.6, 0.92) if timbre == "resonant" else rng.uniform(0, 0.5)),
        drive=_draw_sometimes(rng, 0.2 if not soft else 0.1, 0.55, 1.0),
        detune=_draw_sometimes(rng, 0.4, 6, 18),
        ratio=float(rng.choice((1.41, 2.76, 3.53)) if inharmonic else rng.choice((1, 2, 3))),
        index=float(rng.uniform(1, 5)),
        rate_hz=float(rng.uniform(2.5, 8)),
        vibrato=_draw_sometimes(rng, 0.12, 35, 70),
        tremolo=_draw_sometimes(rng, 0.15 if envelope == "drone" else 0.0, 0.5, 0.9),
        glide=float(rng.choice((-1, 1))) * _draw_sometimes(rng, 0.12 if envelope != "sequence" else 0.0, 3, 9),
        breath=_draw_sometimes(rng, 0.15, 0.12, 0.3),
        steps=tuple(int(s) for s in rng.choice(_SCALE, size=int(rng.integers(3, 7)))) if envelope == "sequence" else (),
    )


def _draw_pitch_hz(register: str, rng: np.random.Generator) -> float:
    """A note of the tempered scale inside the register, a few cents off as analogue oscillators are."""
    low, high = REGISTERS[register]
    semitone = round(12 * np.log2(np.exp(rng.uniform(np.log(low), np.log(high))) / 440.0))
    return float(440.0 * 2 ** ((semitone + rng.normal(0, 0.05)) / 12))


def _draw_sometimes(rng: np.random.Generator, chance: float, low: float, high: float) -> float:
    value = float(rng.uniform(low, high))  # drawn in any case, so that one setting does not change the draws of the next
    return value if rng.random() < chance else 0.0
