"""The tiny base in numbers: what its autoencoder keeps, what its words do, what it costs beside stable-audio-tools' own way.

    python -m benchmarks.tiny_base [--real ../shared/data] [--seeds 10] [--sounds 100]

Everything is held out: simulated sounds with seeds never trained with, and real sounds by other people where they are.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from audiotune.audio import sound as sounds
from audiotune.audio.sound import Sound
from audiotune.audio.synthesizer import Patch
from audiotune.errors import SoundError
from bases.tiny import training_sounds
from benchmarks import audio_metrics

Pair = tuple[audio_metrics.Audio, audio_metrics.Audio]
LENGTH = 48  # latent frames: 2.2 s


def held_out(count: int, *, tonal: bool) -> Iterator[audio_metrics.Audio]:
    """Simulated sounds nobody trained with."""
    seed = training_sounds.HELD_OUT_SEED
    while count:
        audio, patch = training_sounds.render_sound(seed, LENGTH)
        seed += 1
        if is_tonal(patch) or not tonal:
            count -= 1
            yield audio


def is_tonal(patch: Patch) -> bool:
    """Whether the sound has one steady pitch: ring and noise have none of their own."""
    harmonic = patch.timbre != "fm" or float(patch.ratio).is_integer()
    return patch.timbre not in ("ring", "noise") and harmonic and patch.envelope != "sequence" and not patch.glide


def real_sounds(folder: Path, count: int) -> Iterator[audio_metrics.Audio]:
    """The loudest 2.2 s of every n-th file under `folder`."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".mp3", ".flac", ".wav", ".ogg"))
    frames = LENGTH * training_sounds.RATIO
    for file in files[:: max(1, len(files) // count)][:count]:
        try:
            audio = sounds.read_sound(file).to_mono().resample(training_sounds.RATE_HZ).data[0]
        except SoundError:
            continue
        audio = np.pad(audio, (0, max(0, frames - len(audio))))
        power = np.cumsum(audio.astype(np.float64) ** 2)
        start = int(np.argmax(power[frames - 1 :] - np.pad(power, (1, 0))[: len(power) - frames + 1]))
        yield np.ascontiguousarray(audio[start : start + frames])


def through(sa: Any, audio: audio_metrics.Audio) -> Pair:
    """A sound and what comes back from its latents."""
    from audiotune.stable_audio.autoencoder import decode_latents, encode_sound

    return audio, decode_latents(sa, encode_sound(sa, Sound(audio[None], training_sounds.RATE_HZ)), len(audio)).data[0]


def reconstruction(pairs: list[Pair]) -> dict[str, float]:
    """Means over pairs: envelope correlation, share within 50 cents, centroid correlation, log-mel distance."""
    rate = training_sounds.RATE_HZ
    off = [
        audio_metrics.measure_cents(audio_metrics.find_dominant_hz(a, rate), audio_metrics.find_dominant_hz(b, rate))
        for a, b in pairs
    ]
    centroids = np.log(
        [(audio_metrics.compute_centroid_hz(a, rate), audio_metrics.compute_centroid_hz(b, rate)) for a, b in pairs]
    )
    return {
        "envelope": float(
            np.mean(
                [
                    audio_metrics.compute_correlation(audio_metrics.compute_envelope(a), audio_metrics.compute_envelope(b))
                    for a, b in pairs
                ]
            )
        ),
        "within 50 cents": float(np.mean(np.array(off) < 50)),
        "median cents": float(np.median(off)),
        "centroid": audio_metrics.compute_correlation(centroids[:, 0], centroids[:, 1]),
        "log-mel dB": float(np.mean([audio_metrics.measure_log_mel_distance_db(a, b, rate) for a, b in pairs])),
    }


def contrast(sa: Any, seeds: int, **settings: Any) -> dict[str, Any]:
    """A low drone and a high pluck of the same seeds: how often they differ the right way round, and are sounds at all."""
    from audiotune.stable_audio.sample import SamplingRequest, generate_sounds

    low, high = (
        [generate_sounds(sa, [SamplingRequest(words, seconds=2.0, seed=s, **settings)])[0].data[0] for s in range(seeds)]
        for words in ("low drone", "high pluck")
    )
    rate = sa.sample_rate_hz
    flat = [audio_metrics.compute_flatness(a) for a in (*low, *high)]
    white = audio_metrics.compute_flatness(np.random.default_rng(0).standard_normal(2 * rate).astype(np.float32))
    return {
        "centroid right": sum(
            audio_metrics.compute_centroid_hz(a, rate) < audio_metrics.compute_centroid_hz(b, rate) for a, b in zip(low, high)
        ),
        "envelope right": sum(
            audio_metrics.compute_temporal_centre(a) > audio_metrics.compute_temporal_centre(b) for a, b in zip(low, high)
        ),
        "seeds": seeds,
        "quietest peak dBFS": float(20 * np.log10(min(np.abs(a).max() for a in (*low, *high)) + 1e-9)),
        "flatness median": float(np.median(flat)),
        "flatness worst": float(np.max(flat)),
        "flatness of white noise": white,
    }


def cost(sa: Any, steps: int = 20) -> dict[str, float]:
    """Seconds for one sound: upstream's full window, ours at full length, ours at a quarter."""
    from stable_audio_tools.inference.generation import generate_diffusion_cond

    from audiotune.stable_audio.sample import SamplingRequest, generate_sounds
    from audiotune.stable_audio.upstream_factory import silence_output

    window_s = sa.window_frames / sa.sample_rate_hz

    def upstream() -> None:
        words = [{"prompt": "low drone", "seconds_start": 0, "seconds_total": window_s}]
        with silence_output():
            generate_diffusion_cond(
                sa.model, steps=steps, cfg_scale=4.0, conditioning=words, sample_size=sa.window_frames, device="cpu", seed=1,
                sampler_type="dpmpp-2m", apg_scale=0.0,
            )  # fmt: skip

    def ours(part: float) -> Callable[[], Any]:
        return lambda: generate_sounds(sa, [SamplingRequest("low drone", seconds=window_s * part, steps=steps, seed=1)])

    ways = {"upstream": upstream, "ours": ours(1.0), "ours, a quarter": ours(0.25)}
    return {name: min(_seconds(way) for _ in range(3)) for name, way in ways.items()}


def _seconds(way: Callable[[], Any]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--real", type=Path, default=Path(os.environ.get("AUDIOTUNE_REAL_SOUNDS", "../shared/data")))
    parser.add_argument("--sounds", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    from audiotune.stable_audio.base_models import find_shipped_folder
    from audiotune.stable_audio.load import load_model

    sa = load_model(find_shipped_folder() / args.base)
    console = Console(width=130)
    tables = {"simulated, tonal": held_out(args.sounds, tonal=True), "simulated, all": held_out(args.sounds, tonal=False)}
    if args.real.is_dir():
        tables["real"] = real_sounds(args.real, args.sounds)
    rows = {name: reconstruction([through(sa, audio) for audio in some]) for name, some in tables.items()}
    console.print(_table("Autoencoder, held-out sounds", rows))
    console.print(_table("Low drone beside high pluck", {"tiny base": contrast(sa, args.seeds)}))
    console.print(_table("Seconds for one sound, 20 steps", {"CPU": cost(sa)}))


def _table(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("", *next(iter(rows.values()))):
        table.add_column(column, justify="right" if column else "left")
    for name, values in rows.items():
        table.add_row(name, *(f"{v:.3f}" if isinstance(v, float) else str(v) for v in values.values()))
    return table


if __name__ == "__main__":
    main()
