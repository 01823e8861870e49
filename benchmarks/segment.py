"""Segmentation: onsets found in another program's jams, and speed and memory beside librosa. `onsets.py` has our own takes.

    python benchmarks/segment.py                        onsets on ten jams (seeds 1-10), dense and overlapping
    python benchmarks/segment.py --seeds 31-36 --sounds sonic-pi
    python benchmarks/segment.py --speed --minutes 120  ingest's and segment's share on one core, and librosa on 5 minutes

Jams are made by ../shared/tools/make_jam.py from ../shared/data into a temporary folder. An onset counts when a segment starts
within 0.5 s of it, each once. "by file" takes each file for one sound, as make_jam's own truth does; "by energy" is the truth as
`benchmarks/takes` defines it. Cuts that `max_s` makes inside a long take are no onsets, so it is set to 300 s.
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

from benchmarks.takes.listening import find_spans  # noqa: E402
from benchmarks.takes.outside_jam import describe_jam  # noqa: E402
from benchmarks.takes.scoring import TOLERANCE_S, OnsetScore, score_segments  # noqa: E402
from components.segment.features import RecordingFeatures  # noqa: E402

SOUNDS = Path(os.environ.get("AUDIOTUNE_REAL_SOUNDS") or ROOT / "../shared/data")
MAKE_JAM = ROOT / "../shared/tools/make_jam.py"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1-10")
    parser.add_argument("--sounds", default="berklee", help="a folder of ../shared/data")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return _measure(args.measure)
    sounds = SOUNDS / args.sounds
    if not sounds.is_dir() or not MAKE_JAM.is_file():
        print(f"skipped: {sounds} or {MAKE_JAM} is missing")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if args.speed:
            _speed(Path(folder), sounds, args.minutes)
        else:
            first, _, last = args.seeds.partition("-")
            for overlap in (0.0, 0.2):
                _onsets(Path(folder), sounds, range(int(first), int(last or first) + 1), overlap, args.minutes)
    return 0


def jam(folder: Path, sounds: Path, seed: int, overlap: float, minutes: float) -> tuple[Path, list[dict]]:
    """A 24-bit 48 kHz stereo jam and its events."""
    out, truth = folder / "jam.wav", folder / "jam.json"
    command = [sys.executable, str(MAKE_JAM), "--sounds", str(sounds), "--minutes", str(minutes), "--seed", str(seed)]
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


def _onsets(folder: Path, sounds: Path, seeds: Sequence[int], overlap: float, minutes: float) -> None:
    print(f"overlap {overlap:g}, sounds of {sounds.name}")
    print(f"{'':>5} {'by file:':>9} {'':>6} {'':>7} {'':>6} {'by energy:':>11}")
    print(f"{'seed':>5} {'precision':>9} {'recall':>7} {'F1':>6} {'precision':>11} {'recall':>7} {'F1':>6} {'early':>7}")
    counts, whole = (0, 0, 0), OnsetScore()
    for seed in seeds:
        path, events = jam(folder, sounds, seed, overlap, minutes)
        found = find_spans(_hear(path))
        hits = matched([start for start, _ in found], [event["start_s"] for event in events])
        score = score_segments(describe_jam(events, sounds, minutes), found)
        _print_onsets(str(seed), (hits, len(found), len(events)), score)
        counts = (counts[0] + hits, counts[1] + len(found), counts[2] + len(events))
        whole.add(score)
    _print_onsets("all", counts, whole)


def _print_onsets(name: str, counts: tuple[int, int, int], score: OnsetScore) -> None:
    hits, found, true = counts
    by_energy = f"{score.precision:>11.3f} {score.recall:>7.3f} {score.f1:>6.3f} {score.early_share:>7.4f}"
    print(f"{name:>5} {hits / found:>9.3f} {hits / true:>7.3f} {2 * hits / (found + true):>6.3f} {by_energy}", flush=True)


def _hear(path: Path) -> RecordingFeatures:
    from audiotune.audio.decode import open_sound
    from components.segment.features import extract_features
    from components.segment.settings import Settings

    with open_sound(path) as decoded:
        return extract_features(decoded.blocks, decoded.sample_rate_hz, Settings().highpass_hz)


def _hear_and_cut(path: Path) -> None:
    find_spans(_hear(path))


# ---- speed: each measured in a process of its own, by its own processor time, so that neighbours do not count ----


def _speed(folder: Path, sounds: Path, minutes: float) -> None:
    small, _ = jam(folder, sounds, 1, 0.0, min(5.0, minutes))
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
        "decode alone": _decode, "hear and cut": _hear_and_cut, "segment, whole step": _step, "librosa split and onsets": _librosa,
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
