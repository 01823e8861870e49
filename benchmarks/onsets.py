"""Onsets found in simulated takes of many kinds of players and rooms (`benchmarks/takes`), by kind of sound and by room.

    python benchmarks/onsets.py                    the half on which constants are chosen
    python benchmarks/onsets.py --half second      the half that is only reported: other seeds, players and recorded sounds
    python benchmarks/onsets.py --fit              the weights of components/segment/new_sounds.py, from the first half

An onset is found when a segment starts within 0.5 s of it, each once. A segment is early when it begins more than 20 ms before the
first energy of its sound. Lost is the share of a kind's energy that no segment holds. Cuts that `max_s` makes inside a long sound
are no onsets. Recorded sounds are read from ../shared/data (or AUDIOTUNE_REAL_SOUNDS) where they are; without them the synthesizer
plays everything, and the figures are others.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.takes.fitting import fit_weights, label_rises  # noqa: E402
from benchmarks.takes.listening import find_spans, hear_take  # noqa: E402
from benchmarks.takes.rooms import ROOMS  # noqa: E402
from benchmarks.takes.scoring import OVERLAPPED, OnsetScore, score_segments  # noqa: E402
from benchmarks.takes.simulated_take import SimulatedTake, simulate_take  # noqa: E402
from benchmarks.takes.sources import find_recorded_sounds  # noqa: E402

SOUNDS = Path(os.environ.get("AUDIOTUNE_REAL_SOUNDS") or ROOT / "../shared/data")
FIRST_SEED = {"first": 1000, "second": 2000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["first", "second"], default="first")
    parser.add_argument("--takes", type=int, default=16, help="for each share of overlap; every eighth is in the same room")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--overlap", type=float, nargs="+", default=[0.0, 0.2], help="shares of sounds that begin over another")
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args()
    if args.fit:
        takes = [take for overlap in args.overlap for take in play_takes("first", args.takes, args.minutes, overlap)]
        weights, bias = fit_weights([label_rises(take) for take in takes])
        print("WEIGHTS =", tuple(round(float(weight), 3) for weight in weights), "BIAS =", round(bias, 2))
        return
    for overlap in args.overlap:
        by_room: defaultdict[str, OnsetScore] = defaultdict(OnsetScore)
        for take in play_takes(args.half, args.takes, args.minutes, overlap):
            by_room[take.room].add(score_segments(take, find_spans(hear_take(take))))
        print_scores(f"{args.half} half, overlap {overlap:g}", by_room)


def play_takes(half: str, count: int, minutes: float, overlap: float) -> Iterator[SimulatedTake]:
    """The takes of one half, one after the other; each is in one of the rooms in turn."""
    files, rooms = find_recorded_sounds([SOUNDS / "berklee", SOUNDS / "sonic-pi"], half), list(ROOMS)
    for i in range(count):
        yield simulate_take(minutes, FIRST_SEED[half] + i, overlap=overlap, files=files, room=rooms[i % len(rooms)])


def print_scores(title: str, by_room: dict[str, OnsetScore]) -> None:
    whole = OnsetScore()
    print(f"{title}\n{'room':>16} {'onsets':>7} {'precision':>10} {'recall':>7} {'F1':>6} {'early':>7}")
    for name, score in by_room.items():
        _print_row(name, score)
        whole.add(score)
    _print_row("all", whole)
    print(f"{'kind':>16} {'onsets':>7} {'recall':>7} {'false':>6} {'early':>6} {'energy lost':>12}")
    for kind in sorted(whole.demanded, key=lambda kind: kind == OVERLAPPED):
        lost = whole.lost[kind] / whole.energy[kind] if whole.energy[kind] else 0.0
        recall = whole.hit[kind] / whole.demanded[kind]
        print(f"{kind:>16} {whole.demanded[kind]:>7} {recall:>7.3f} {whole.false[kind]:>6} {whole.early[kind]:>6} {lost:>12.5f}")
    print(f"{'in silence':>16} {'':>7} {'':>7} {whole.false['silence']:>6} {whole.early['silence']:>6}\n", flush=True)


def _print_row(name: str, score: OnsetScore) -> None:
    count = sum(count for kind, count in score.demanded.items() if kind != OVERLAPPED)
    print(f"{name:>16} {count:>7} {score.precision:>10.3f} {score.recall:>7.3f} {score.f1:>6.3f} {score.early_share:>7.4f}")


if __name__ == "__main__":
    main()
