"""What evaluate's measures are worth on real sounds: copies found by likeness, KAD beside what it should order, and speed.

    python -m benchmarks.evaluation [--sounds ../shared/data] [--count 80]

Copies are made here: quieter, 0.2 s later, as MP3, with noise 20 dB below, 1 % faster. Foreign pairs are all other pairs. KAD is
told from halves of one collection (should be near 0), the same through MP3, dulled, pitched up a fifth, and white noise.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from audiotune.audio import distance
from audiotune.audio.fingerprint import FingerprintIndex, fingerprint_sound
from audiotune.audio.sound import Sound, read_sound

_LONGEST_S = 3.0
_LIKE = 0.98  # the default of gate_like


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("AUDIOTUNE_REAL_SOUNDS", "../shared/data")
    parser.add_argument("--sounds", type=Path, default=Path(default))
    parser.add_argument("--count", type=int, default=80)
    args = parser.parse_args()
    files = [p for p in sorted(args.sounds.rglob("*")) if p.suffix.lower() in (".wav", ".flac", ".aif", ".aiff", ".mp3", ".ogg")]
    picked = files[:: max(1, len(files) // args.count)][: args.count]
    if len(picked) < 8:
        print(f"fewer than 8 sounds in {args.sounds}: nothing to measure")
        return 1
    sounds = [_short(read_sound(path)) for path in picked]
    _copies(sounds)
    _kad(sounds)
    _speed(sounds)
    return 0


def _short(sound: Sound) -> Sound:
    return sound.to_mono().resample(distance.RATE_HZ).cut(0, round(_LONGEST_S * distance.RATE_HZ))


def _quieter(sound: Sound) -> Sound:
    return sound.apply_gain(-18)


def _later(sound: Sound) -> Sound:
    silence = np.zeros((1, sound.sample_rate_hz // 5), np.float32)
    return Sound(np.concatenate([silence, sound.data], axis=1), sound.sample_rate_hz)


def _mp3(sound: Sound) -> Sound:
    return _short(read_sound(io.BytesIO(sound.to_bytes("MP3"))))


def _noisy(sound: Sound) -> Sound:
    level = float(np.sqrt((sound.data**2).mean())) / 10
    noise = np.random.default_rng(0).standard_normal(sound.data.shape).astype(np.float32)
    return Sound(sound.data + level * noise, sound.sample_rate_hz)


def _faster(sound: Sound, ratio: float = 1.01) -> Sound:
    return Sound(sound.resample(round(sound.sample_rate_hz / ratio)).data, sound.sample_rate_hz)


def _fifth_up(sound: Sound) -> Sound:
    return _faster(sound, 1.5)


def _dulled(sound: Sound) -> Sound:
    return sound.resample(2_000).resample(distance.RATE_HZ)


def _white(sound: Sound) -> Sound:
    return Sound(
        0.1 * np.random.default_rng(sound.frames).standard_normal(sound.data.shape).astype(np.float32), sound.sample_rate_hz
    )


def _copies(sounds: list[Sound]) -> None:
    mels = [distance.compute_log_mel(sound) for sound in sounds]
    index: FingerprintIndex[int] = FingerprintIndex()
    for number, sound in enumerate(sounds):
        index.add(number, fingerprint_sound(sound))
    print(f"\ncopies of {len(sounds)} real sounds      likeness: median  lowest  found at {_LIKE}   by fingerprint   by either")
    for name, change in (("quieter", _quieter), ("later", _later), ("MP3", _mp3), ("noisy", _noisy), ("1 % faster", _faster)):
        _found(name, [change(sound) for sound in sounds], mels, index)
    table = distance.compute_likeness(mels, mels)
    foreign = table[~np.eye(len(sounds), dtype=bool)]
    both = sum(any(name != i for name, _ in index.find(fingerprint_sound(sound))) for i, sound in enumerate(sounds))
    print(
        f"foreign pairs ({len(foreign)}): likeness median {np.median(foreign):.2f}, 99.9 % below {np.quantile(foreign, 0.999):.2f}, "
        f"highest {foreign.max():.3f}; {(foreign >= _LIKE).sum() // 2} pairs at {_LIKE}; {both} sounds by fingerprint"
    )


def _found(name: str, copies: list[Sound], mels: list[distance.Mel], index: FingerprintIndex[int]) -> None:
    like = np.diag(distance.compute_likeness([distance.compute_log_mel(copy) for copy in copies], mels))
    same = np.array([any(number == i for number, _ in index.find(fingerprint_sound(copy))) for i, copy in enumerate(copies)])
    alike = like >= _LIKE
    print(
        f"{name:<34}{np.median(like):8.3f}{like.min():8.3f}{alike.mean():14.0%}{same.mean():17.0%}{(alike | same).mean():12.0%}"
    )


def _kad(sounds: list[Sound]) -> None:
    half, other = sounds[::2], sounds[1::2]
    print(
        f"\nKAD of {len(other)} sounds to {len(half)} others      mel statistics: rbf   polynomial   log-mel distance to the original, dB"
    )
    cases: tuple[tuple[str, Callable[[Sound], Sound]], ...] = (
        ("as they are", lambda sound: sound), ("MP3", _mp3), ("dulled to 1 kHz", _dulled), ("a fifth up", _fifth_up),
        ("white noise", _white),
    )  # fmt: skip
    reference = _rows(half)
    for name, change in cases:
        changed = [change(sound) for sound in other]
        far = np.mean(
            [
                distance.measure_mel_distance(distance.compute_log_mel(a), distance.compute_log_mel(b))
                for a, b in zip(other, changed)
            ]
        )
        rbf, cubic = (
            distance.compute_kad(reference, _rows(changed)),
            distance.compute_kad(reference, _rows(changed), "polynomial"),
        )
        print(f"{name:<40}{rbf:22.2f}{cubic:13.1f}{far:20.1f}")


def _rows(sounds: list[Sound]) -> distance.Matrix:
    return np.stack([distance.compute_mel_statistics(distance.compute_log_mel(sound)) for sound in sounds])


def _speed(sounds: list[Sound]) -> None:
    mels = [distance.compute_log_mel(sound) for sound in sounds]
    rows = np.stack([distance.compute_mel_statistics(mel) for mel in mels])
    seconds = sum(sound.duration_s for sound in sounds)
    print("\nspeed")
    spent = _timed(lambda: [distance.compute_log_mel(sound) for sound in sounds])
    print(f"log-mel            {seconds / spent:8.0f} x real time")
    spent = _timed(lambda: distance.compute_likeness(mels, mels))
    print(f"likeness           {len(mels) ** 2 / spent:8.0f} pairs a second, at all shifts")
    spent = _timed(lambda: distance.compute_kad(rows[::2], rows[1::2]))
    print(f"KAD                {1000 * spent:8.1f} ms for {len(rows) // 2} and {len(rows) // 2} sounds")


def _timed(work: Callable[[], object]) -> float:
    work()
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    raise SystemExit(main())
