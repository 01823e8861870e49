"""Fingerprints on real sounds: copies found (recall), foreign sounds taken for copies, speed, and errors by kind of copy.

    python benchmarks/fingerprint.py [--sounds ../shared/data]

Pairs below are variants of one another (an excerpt, one take processed in two ways): finding them is no error.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from audiotune.audio import sound as sounds
from audiotune.audio.fingerprint import FingerprintIndex, FingerprintWords, fingerprint_sound
from audiotune.audio.sound import Sound

# Judged by their names and by the correlation of their waveforms (0.95 for the first, an excerpt; up to 0.9 in places for the
# second; the amen break and its cut; one arpeggio through several effects), not by a listener.
VARIANTS = [
    {"kaos_pad_2", "kaos_pad_3"},
    {"computer_mania1", "computer_mania2"},
    {"drum_splash_hard", "drum_splash_soft"},
    {"loop_amen", "loop_amen_full"},
    {"arpeggio1a", "arpeggio_shortFX1", "arpeggio_shortFX2", "arpeggio_shortFX3"},
]


def through(format: str, **options: object) -> Callable[[Sound], Sound]:
    def encode(sound: Sound) -> Sound:
        out = io.BytesIO()
        sf.write(out, sound.data.T, sound.sample_rate_hz, format=format, **options)
        out.seek(0)
        return sounds.read_sound(out)

    return encode


def after_silence(sound: Sound) -> Sound:
    """11 ms is half a hop: the worst place for a frame to start."""
    silence = np.zeros((sound.channels, round(0.5115 * sound.sample_rate_hz)), np.float32)
    return Sound(np.concatenate([silence, sound.data], axis=1), sound.sample_rate_hz)


def with_noise(sound: Sound) -> Sound:
    """White noise 20 dB below the sound's mean power."""
    level = float(np.sqrt(np.mean(sound.data**2))) * 0.1
    noise = np.random.default_rng(0).standard_normal(sound.data.shape).astype(np.float32)
    return Sound(sound.data + level * noise, sound.sample_rate_hz)


COPIES: dict[str, Callable[[Sound], Sound]] = {
    "exact": lambda sound: sound,
    "gain -17 dB": lambda sound: sound.apply_gain(-17.3),
    "mp3": through("MP3", bitrate_mode="CONSTANT", compression_level=0.7),
    "mp3, gain, shifted": lambda sound: through("MP3")(after_silence(sound.apply_gain(-9))),
    "ogg": through("OGG"),
    "48 kHz": lambda sound: sound.resample(48_000),
    "noise -20 dB (no bar)": with_noise,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=Path, default=Path(os.environ.get("AUDIOTUNE_REAL_SOUNDS", "../shared/data")))
    files = sorted(p for p in parser.parse_args().sounds.rglob("*") if p.suffix in (".mp3", ".flac", ".wav"))
    library = {path.stem: sounds.read_sound(path) for path in files}
    started = time.perf_counter()
    prints = {name: fingerprint_sound(sound) for name, sound in library.items()}
    spent = time.perf_counter() - started
    seconds = sum(sound.duration_s for sound in library.values())
    size = sum(words.nbytes for words in prints.values())
    print(
        f"{len(library)} sounds, {seconds:.0f} s: {seconds / spent:.0f}x real time, {size / seconds * 60 / 1024:.1f} KiB a minute"
    )
    report_copies(library, prints)
    report_pairs(prints)


def report_copies(library: dict[str, Sound], prints: dict[str, FingerprintWords]) -> None:
    index: FingerprintIndex[str] = FingerprintIndex()
    for name, words in prints.items():
        index.add(name, words)
    print(f"{'copy':24} {'recall':>7} {'wrong':>6}  missed")
    for kind, copy in COPIES.items():
        recall, wrong, missed = 0, set(), []
        for name, sound in library.items():
            words = fingerprint_sound(copy(sound))
            names = {found for found, _ in index.find(words)}
            recall += name in names
            wrong |= {f"{name}~{other}" for other in names - {name} if not variants(name, other)}
            missed += [] if name in names else [name]
        count = len(library)
        print(f"{kind:24} {recall / count:7.3f} {len(wrong):6}  {' '.join(missed[:6])} {sorted(wrong)[:4]}")


def report_pairs(prints: dict[str, FingerprintWords]) -> None:
    names = sorted(prints)
    false, true = [], []
    index: FingerprintIndex[str] = FingerprintIndex()
    for a in names:
        for b, match in index.find(prints[a]):
            (true if variants(a, b) else false).append((a, b, round(match.bit_error_rate, 2), round(match.duration_s, 1)))
        index.add(a, prints[a])
    print(f"{len(names) * (len(names) - 1) // 2} pairs: {len(false)} false positives {false}")
    print(f"true variants found: {true}")


def variants(a: str, b: str) -> bool:
    return any({a, b} <= group for group in VARIANTS)


if __name__ == "__main__":
    main()
