"""Threads of a CPU: sounds made one at a time and eight at a time, by torch's own number of threads and by the number we choose.

    python -m benchmarks.threads [--seconds 2] [--steps 24] [--load]

--load keeps every core busy with a process that only counts. Ways take turns; the median of each counts.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

_TURNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2, help="as many as torch takes by itself on this machine")
    parser.add_argument("--load", action="store_true")
    args = parser.parse_args()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.threads * args.load)]
    try:
        _measure(args)
    finally:
        for process in busy:
            process.kill()


def _measure(args: argparse.Namespace) -> None:
    import torch

    from audiotune.stable_audio import threads
    from audiotune.stable_audio.base_models import find_shipped_folder
    from audiotune.stable_audio.load import load_model
    from audiotune.stable_audio.sample import SamplingRequest, generate_batch

    torch.set_num_threads(args.threads)
    sa = load_model(find_shipped_folder() / "tiny")
    share = threads.LEAST_SHARE

    def make(count: int, least_share: float) -> None:
        threads.LEAST_SHARE = least_share
        requests = [SamplingRequest("low drone", seconds=args.seconds, steps=args.steps, seed=seed) for seed in range(count)]
        generate_batch(sa, requests)

    for count in (1, 8):
        ways: dict[str, Callable[[], Any]] = {
            f"{args.threads} threads": lambda count=count: make(count, 1e-9),
            "chosen": lambda count=count: make(count, share),
        }
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(_TURNS + 1):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                if turn:  # the first warms up
                    spent[name].append(time.perf_counter() - began)
        before, after = (statistics.median(seconds) for seconds in spent.values())
        print(
            f"{count} at a time: {before:.2f} s on {args.threads} threads, {after:.2f} s as chosen, {before / after:.2f} x",
            flush=True,
        )


if __name__ == "__main__":
    main()
