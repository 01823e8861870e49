"""Segmentation: onsets found in simulated jams, and speed and memory beside librosa.

    python benchmarks/segment.py                        onsets on ten jams (seeds 1-10), dense and overlapping
    python benchmarks/segment.py --seeds 11-14          other seeds: what the knobs were not looked at on
    python benchmarks/segment.py --speed --minutes 120  ingest's and segment's share on one core, and librosa on 5 minutes

Jams are made by ../shared/tools/make_jam.py from ../shared/data/berklee into a temporary folder. An onset counts when a
segment starts within 0.5 s of it, each once. Cuts that `max_s` makes inside a long take are no onsets, so it is set to 300 s.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SOUNDS = Path(os.environ.get("AUDIOTUNE_REAL_SOUNDS") or ROOT / "../shared/data") / "berklee"
MAKE_JAM = ROOT / "../shared/tools/make_jam.py"
TOLERANCE_S = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1-10")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return _measure(args.measure)
    if not SOUNDS.is_dir() or not MAKE_JAM.is_file():
        print(f"skipped: {SOUNDS} or {MAKE_JAM} is missing")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if args.speed:
            _speed(Path(folder), args.minutes)
        else:
            first, _, last = args.seeds.partition("-")
            for overlap in (0.0, 0.2):
                _onsets(Path(folder), range(int(first), int(last or first) + 1), overlap, args.minutes)
    return 0


def jam(folder: Path, seed: int, overlap: float, minutes: float) -> tuple[Path, list[dict]]:
    """A 24-bit 48 kHz stereo jam and its events."""
    out, truth = folder / "jam.wav", folder / "jam.json"
    command = [sys.executable, str(MAKE_JAM), "--sounds", str(SOUNDS), "--minutes", str(minutes), "--seed", str(seed)]
    subprocess.run(
        [*command, "--overlap", str(overlap), "--out", str(out), "--truth", str(truth)], check=True, capture_output=True
    )
    return out, json.loads(truth.read_text())


def matched(found: Sequence[float], true: Sequence[float]) -> int:
    """How many onsets are met, each by one start: greedy in time, which is best for equal intervals."""
    found, true, hits, i, j = sorted(found), sorted(true), 0, 0, 0
    while i < len(found) and j < len(true):
        if abs(found[i] - true[j]) <= TOLERANCE_S:
            hits, i, j = hits + 1, i + 1, j + 1
        elif found[i] < true[j]:
            i += 1
        else:
            j += 1
    return hits


def _onsets(folder: Path, seeds: Sequence[int], overlap: float, minutes: float) -> None:
    print(f"overlap {overlap:g}\n{'seed':>5} {'events':>7} {'found':>6} {'precision':>10} {'recall':>7} {'F1':>6}")
    counts, scores = [0, 0, 0], []
    for seed in seeds:
        path, events = jam(folder, seed, overlap, minutes)
        found = _starts(path)
        hits = matched(found, [event["start_s"] for event in events])
        counts = [a + b for a, b in zip(counts, (hits, len(found), len(events)), strict=True)]
        scores.append(2 * hits / (len(found) + len(events)))
        print(
            f"{seed:>5} {len(events):>7} {len(found):>6} {hits / len(found):>10.3f} {hits / len(events):>7.3f} {scores[-1]:>6.3f}"
        )
    pooled = 2 * counts[0] / (counts[1] + counts[2])
    print(f" mean F1 {sum(scores) / len(scores):.3f}, of all onsets together {pooled:.3f}\n", flush=True)


def _starts(path: Path) -> list[float]:
    from audiotune.audio.decode import open_sound
    from components.segment.features import extract_features
    from components.segment.segment_bounds import find_segment_bounds
    from components.segment.settings import Settings

    settings = Settings(max_s=300)
    with open_sound(path) as decoded:
        heard = extract_features(decoded.blocks, decoded.sample_rate_hz, settings.highpass_hz)
    return [cut.start_frame / heard.sample_rate_hz for cut in find_segment_bounds(heard, settings) if not cut.continued]


# ---- speed: each measured in a process of its own, by its own processor time, so that neighbours do not count ----


def _speed(folder: Path, minutes: float) -> None:
    small, _ = jam(folder, 1, 0.0, min(5.0, minutes))
    path = _repeat_recording(small, folder / "long.wav", minutes)
    print(f"{'what':<42} {'minutes':>8} {'cpu s':>8} {'x real time':>12} {'peak MB':>8}")
    for what, file, length in (
        ("decode alone", path, minutes), ("hear and cut", path, minutes), ("segment, whole step", path, minutes),
        ("segment, whole step", small, min(5.0, minutes)), ("librosa split and onsets", small, min(5.0, minutes)),
    ):  # fmt: skip
        command = [sys.executable, __file__, "--measure", json.dumps([what, str(file)])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        said = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()[-1]
        )
        print(
            f"{what:<42} {length:>8g} {said['cpu_s']:>8.1f} {length * 60 / said['cpu_s']:>12.0f} {said['peak_mb']:>8.0f}",
            flush=True,
        )


def _repeat_recording(path: Path, out: Path, minutes: float) -> Path:
    """A long take in constant memory: a short jam, repeated."""
    import soundfile as sf

    with sf.SoundFile(path) as short, sf.SoundFile(out, "w", short.samplerate, short.channels, short.subtype) as long:
        missing = round(minutes * 60 * short.samplerate)
        while missing > 0:
            block = short.read(min(missing, 1 << 18), dtype="int32", always_2d=True)
            if not len(block):
                short.seek(0)
                continue
            long.write(block)
            missing -= len(block)
    return out


def _measure(text: str) -> int:
    what, file = json.loads(text)
    path = Path(file)
    act: Callable[[Path], object] = {
        "decode alone": _decode, "hear and cut": _starts, "segment, whole step": _step, "librosa split and onsets": _librosa,
    }[what]  # fmt: skip
    if what != "librosa split and onsets":
        _warm()
    began = time.process_time()
    act(path)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": time.process_time() - began, "peak_mb": peak_mb}))
    return 0


def _warm() -> None:
    """Loads the compiled loops from their cache."""
    import numpy as np

    from audiotune.audio.loudness import measure_integrated_lufs
    from audiotune.audio.sound import Sound
    from components.segment.features import extract_features

    extract_features([np.zeros((48_000, 2), np.float32)], 48_000, 30)
    measure_integrated_lufs(Sound(np.zeros((2, 48_000), np.float32), 48_000))


def _decode(path: Path) -> int:
    from audiotune.audio.decode import open_sound

    with open_sound(path) as decoded:
        return sum(len(block) for block in decoded.blocks)


def _step(path: Path) -> None:
    import soundfile as sf

    from audiotune.domain.manifest import Manifest
    from audiotune.domain.recording import Description, Recording
    from audiotune.reporting.progress import ignore_progress
    from audiotune.store import FolderStore, compute_digest
    from components.segment.settings import Settings
    from components.segment.step import run_step

    info = sf.info(path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        store = FolderStore(Path(folder) / "store")
        about = Description(peak_dbfs=0, true_peak_dbtp=0, loudness_lufs=-20, dc_offset=(0, 0), clipped_share=0, dropouts=0)
        row = Recording(
            id=compute_digest(path), blob=store.put_blob(path, ".wav"), name=path.name, source="benchmark", contributors=("ana",),
            licence="CC0-1.0", format="WAV PCM_24", sample_rate_hz=info.samplerate, channels=info.channels, frames=info.frames,
            description=about, fingerprint="none",
        )  # fmt: skip
        recordings = Manifest("recordings", [row]).write(Path(folder) / "recordings")
        out = {name: Path(folder) / name for name in ("segments", "report", "metrics")}
        run_step(Settings(), store, ignore_progress, recordings=recordings, **out)


def _librosa(path: Path) -> None:
    import librosa

    sound, rate = librosa.load(path, sr=None, mono=True)
    librosa.effects.split(sound, top_db=40)
    librosa.onset.onset_detect(y=sound, sr=rate)


if __name__ == "__main__":
    raise SystemExit(main())
