"""ingest and segment on one long 24-bit take, with librosa side by side: CPU time on one core, and peak memory.

    python benchmarks/ingest.py [--minutes 120] [--jam jam.wav]

The take is a jam of the simulated synthesizer (or the file given) repeated to length. Every measurement is a process of its
own with one thread; "x real time" is seconds of sound for each second of CPU, so that a busy machine does not spoil it.
librosa reads whole files; it gets the first minutes only, and its memory grows with the length.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf

RATE_HZ = 48_000
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), "1")
BYTE_CODE_KEPT = {"PYTHONDONTWRITEBYTECODE": ""}  # as the Makefile has it: modules are compiled by the warm-up, as kernels are
REPOSITORY = Path(__file__).resolve().parent.parent
LIBROSA = """
import sys, librosa
y, rate = librosa.load(sys.argv[1], sr=None, mono=False)
librosa.effects.split(y, top_db=40)
librosa.onset.onset_detect(y=librosa.to_mono(y), sr=rate)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--jam", type=Path, help="a take to repeat (default: the simulated synthesizer plays one)")
    parser.add_argument("--librosa-minutes", type=float, default=5)
    parser.add_argument("--folder", type=Path, help="where to work (2 GB for two hours)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        work = Path(folder)
        long = _made_apart(work / "take.wav", args.minutes, args.jam)
        short = _made_apart(work / "short.wav", args.librosa_minutes, args.jam)
        warm = [*_ingest(work, "warm", short), *_segment(work, "warm")]  # compiles the kernels, as an image would have done
        for command in warm:
            _measured(command)
        print(f"{'what':10} {'sound':>8} {'wall':>8} {'CPU':>8} {'x real time':>12} {'peak memory':>12}")
        rows = [
            _row(name, command, args.minutes * 60)
            for name, command in (("ingest", _ingest(work, "run", long)[0]), ("segment", _segment(work, "run")[0]))
        ]
        wall, cpu, memory = sum(row[0] for row in rows), sum(row[1] for row in rows), max(row[2] for row in rows)
        _print("together", args.minutes * 60, wall, cpu, memory)
        if importlib.util.find_spec("librosa"):
            _row("librosa", [sys.executable, "-c", LIBROSA, str(short)], args.librosa_minutes * 60)
        else:
            print("librosa    is not installed here: not measured")


def _ingest(work: Path, run: str, take: Path) -> list[list[str]]:
    out = [f"--{name}={work / run}.{name}" for name in ("recordings", "report", "metrics")]
    agreement = ["--agreement", str(REPOSITORY / "agreement.example.toml"), "--contributors", "ana"]
    store = ["--store", str(work / "store")]
    return [[sys.executable, "-m", "components.ingest", *store, "--source", str(take), *agreement, *out]]


def _segment(work: Path, run: str) -> list[list[str]]:
    recordings = f"--recordings={work / run}.recordings"
    out = [f"--{name}={work / run}.segment-{name}" for name in ("report", "metrics")]
    store = ["--store", str(work / "store")]
    return [[sys.executable, "-m", "components.segment", *store, recordings, f"--segments={work / run}.segments", *out]]


def _row(name: str, command: list[str], seconds: float) -> tuple[float, float, float]:
    wall, cpu, memory = _measured(command)
    _print(name, seconds, wall, cpu, memory)
    return wall, cpu, memory


def _print(name: str, seconds: float, wall: float, cpu: float, memory: float) -> None:
    print(f"{name:10} {seconds / 60:6.0f} m {wall:7.1f}s {cpu:7.1f}s {seconds / cpu:11.0f}x {memory:8.0f} MB", flush=True)


def _measured(command: list[str]) -> tuple[float, float, float]:
    """Wall time and CPU time in seconds, peak resident memory in megabytes (10^6 bytes), of one process."""
    started = time.perf_counter()
    environment = {**os.environ, **ONE_THREAD, **BYTE_CODE_KEPT}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def _made_apart(path: Path, minutes: float, jam: Path | None) -> Path:
    """In a process of its own: Linux counts what a parent held at its fullest as its child's peak."""
    process = multiprocessing.get_context("spawn").Process(target=_long_take, args=(path, minutes, jam))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the take could not be made")
    return path


def _long_take(path: Path, minutes: float, jam: Path | None) -> Path:
    frames = _jam(jam)
    left = round(minutes * 60 * RATE_HZ)
    with sf.SoundFile(path, "w", RATE_HZ, 2, "PCM_24") as file:
        while left > 0:
            file.write(frames[:left])
            left -= len(frames)
    return path


def _jam(path: Path | None) -> np.ndarray:
    """Float32 [frames, 2] at 48 kHz, some minutes."""
    if path is not None:
        frames, rate = sf.read(path, dtype="float32", always_2d=True)
        if rate != RATE_HZ or frames.shape[1] != 2:
            raise SystemExit("the jam must be stereo at 48 kHz")
        return frames
    sys.path.insert(0, str(REPOSITORY))
    from tests.fakes.jam import play_jam

    sound = play_jam(5, 1)[0].resample(RATE_HZ).to_channels(2)
    return sound.data.T


if __name__ == "__main__":
    main()
