"""Plays ingest over a folder of files, with FFmpeg (PyAV) as judge, and prints what agreed, what was refused and why, and what differs.

    python -m tests.corpus.compare_with_ffmpeg FOLDER [--all]

Agreed: rate, channels and length are FFmpeg's (to the frame; of MP3 to one packet), and so is the level. Files that FFmpeg cannot read are
listed apart. A header that was never finished makes FFmpeg stop early or read on: such a file differs, and the note says why.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from audiotune.errors import AudioTuneError
from components.ingest.file_description import FileDescription, describe_file
from components.ingest.settings import Settings

Kind = Literal["agreed", "refused", "differs", "only ours"]
_SETTINGS = Settings(highest_rate_hz=768_000, most_channels=64)
_MP3_PACKET = 1152
_LEVEL_DB = 0.5


@dataclass(frozen=True)
class Judgement:
    """What FFmpeg finds in a file: all sound tracks together, damaged packets left out."""

    sample_rate_hz: int
    channels: int
    frames: int
    peak: float


@dataclass(frozen=True)
class Comparison:
    """One file: what ingest says, and whether FFmpeg agrees."""

    name: str
    kind: Kind
    words: str
    described: FileDescription | None = None


def compare_folder(folder: Path) -> Iterator[Comparison]:
    """Every file below the folder, in order of names."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield compare_file(path, path.relative_to(folder).as_posix())


def compare_file(path: Path, name: str) -> Comparison:
    judged = judge_file(path)
    try:
        ours = describe_file(path, _SETTINGS, lambda share: None)[0]
    except AudioTuneError as e:
        heard = f" (FFmpeg: {judged.frames} frames)" if judged else ""
        return Comparison(name, "refused", f"{e.what}; {e.cure}{heard}")
    if judged is None:
        return Comparison(name, "only ours", f"{ours.format}, {ours.frames} frames", ours)
    faults = list(list_differences(ours, judged))
    words = "; ".join((*faults, *ours.notes)) or ours.format
    return Comparison(name, "differs" if faults else "agreed", words, ours)


def list_differences(ours: FileDescription, judged: Judgement) -> Iterator[str]:
    if ours.sample_rate_hz != judged.sample_rate_hz:
        yield f"{ours.sample_rate_hz} Hz, FFmpeg {judged.sample_rate_hz} Hz"
    if ours.channels != judged.channels:
        yield f"{ours.channels} channels, FFmpeg {judged.channels}"
    if abs(ours.frames - judged.frames) > (_MP3_PACKET if "MPEG_LAYER" in ours.format else 0):
        yield f"{ours.frames} frames, FFmpeg {judged.frames}"
    peak = 10 ** ((-200.0 if ours.description.peak_dbfs is None else ours.description.peak_dbfs) / 20)
    if judged.peak > 1e-4 and not 10 ** (-_LEVEL_DB / 20) < peak / judged.peak < 10 ** (_LEVEL_DB / 20):
        yield f"peak {peak:.4f}, FFmpeg {judged.peak:.4f}"


def judge_file(path: Path) -> Judgement | None:
    """FFmpeg's decode of all sound tracks; None when it finds no sound."""
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            tracks = [_judge_track(path, index) for index in range(len(container.streams.audio))]
    except (av.error.FFmpegError, OSError, ValueError):
        return None
    tracks = [track for track in tracks if track.frames]
    if not tracks:
        return None
    frames, peak = max(track.frames for track in tracks), max(track.peak for track in tracks)
    return Judgement(tracks[0].sample_rate_hz, sum(track.channels for track in tracks), frames, peak)


def _judge_track(path: Path, index: int) -> Judgement:
    import av

    rate = channels = frames = 0
    peak = 0.0
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.audio[index]
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except (av.error.FFmpegError, ValueError):
                continue
            for frame in decoded:
                rate, channels = rate or frame.sample_rate, channels or len(frame.layout.channels)
                frames += frame.samples
                data = frame.to_ndarray()
                scale = 1.0 if data.dtype.kind == "f" else 2.0 ** (8 * data.dtype.itemsize - 1)
                centre = scale if data.dtype.kind == "u" else 0.0
                peak = max(peak, float(np.abs(data.astype(np.float64) - centre).max(initial=0.0)) / scale)
    return Judgement(rate, channels, frames, peak)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="list the files that agree, too")
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    for one in compare_folder(args.folder):
        counts[one.kind] += 1
        if args.all or one.kind != "agreed":
            print(f"{one.kind:10} {one.name}: {one.words}", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
