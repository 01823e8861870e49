"""Does the gate stop models that learned nothing, and pass those that learned?

    nice -n 19 python -m benchmarks.gate FOLDER [--first 0] [--only KIND ...]

Plays runs on the tiny base over ten simulated groups, each run with a held-out split, a training seed and sound seeds of its own:

- `learned`: trained on the group's sounds with their captions; so many must pass;
- `shuffled`: trained as long, each segment with the captions of another;
- `random base`: the base's diffusion weights are drawn anew, then six steps;
- `zero steps`: the base itself.

Each run is one JSON line in FOLDER/gate.jsonl. A run that is there is not played again, so the command can be stopped and goes on.
Groups, latents, weights and sounds are kept in FOLDER: with another name as `--results` the same models are judged by the gate of now.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from audiotune.domain.release import Evaluation
from audiotune.reporting.progress import ignore_progress
from benchmarks.simulated_groups import SimulatedGroup, SplitGroup, draw_base, read_finished_runs
from components.evaluate.settings import Settings as EvaluateSettings
from components.evaluate.step import run_step as evaluate
from components.unwrap.settings import Settings as UnwrapSettings
from components.unwrap.step import run_step as unwrap

COUNTS = {"learned": 20, "random base": 17, "zero steps": 16, "shuffled": 17}
GROUPS = 10
_FEW_STEPS = 6


def main(argv: list[str] | None = None) -> int:
    args = _build_parser().parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    results = args.folder / f"{args.results}.jsonl"
    made = {"sounds": args.sounds, "steps": args.sampling_steps}
    done = {(run["kind"], run["number"]) for run in read_finished_runs(results)}
    for number, kind in _order_runs(args.only, args.first, args.share):
        if (kind, number) not in done:
            run = play_run(args.folder, kind, number, args.steps, made)
            with results.open("a") as file:
                file.write(json.dumps(run) + "\n")
            print(describe_run(run), flush=True)
    print_summary(read_finished_runs(results))
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where groups and results are kept")
    parser.add_argument("--first", type=int, default=0, help="number of the first run; runs of other numbers are other runs")
    parser.add_argument("--only", nargs="+", choices=COUNTS, default=list(COUNTS))
    parser.add_argument("--share", type=float, default=1.0, help="share of the runs of each kind")
    parser.add_argument("--steps", type=int, default=120, help="training steps of `learned` and `shuffled`")
    parser.add_argument("--sounds", type=int, default=16, help="sounds made of held-out captions")
    parser.add_argument("--sampling-steps", type=int, default=12, help="denoising steps of each")
    parser.add_argument("--results", default="gate", help="name of the results' file")
    return parser


def _order_runs(kinds: list[str], first: int, share: float) -> list[tuple[int, str]]:
    """All kinds in turn, so that a part of the runs tells of each."""
    return sorted((first + i, kind) for kind in kinds for i in range(max(1, round(share * COUNTS[kind]))))


def play_run(folder: Path, kind: str, number: int, steps: int, made: dict[str, int]) -> dict[str, Any]:
    """Tunes and evaluates one model; returns what was measured."""
    began = time.monotonic()
    group = SimulatedGroup(folder, number % GROUPS)
    base = str(draw_base(folder, number)) if kind == "random base" else "tiny"
    split = group.split(number, base=base)
    at = group.folder / f"{kind.replace(' ', '-')}-{number}"
    weights = at / "weights"
    if not weights.exists():
        _make_weights(group, split, at, kind, number, base, steps)
    tuned = time.monotonic()
    paths = {name: at / name for name in ("evaluation", "report", "metrics")}
    settings = EvaluateSettings(train_sounds=0, loss_rows=0, players=0, seed=10_000 + 1000 * number, **made)
    evaluate(settings, group.store, ignore_progress, weights=weights, latents=split.latents, dataset=split.dataset, **paths)
    result = Evaluation.model_validate_json(paths["evaluation"].read_bytes())
    took = {"tune_s": round(tuned - began, 1), "evaluate_s": round(time.monotonic() - tuned, 1)}
    known = {"kind": kind, "number": number, "group": group.seed, "passed": result.passed, "reasons": result.reasons, **took}
    return {**known, "metrics": {name: round(value, 5) for name, value in result.metrics.items()}}


def _make_weights(group: SimulatedGroup, split: SplitGroup, at: Path, kind: str, number: int, base: str, steps: int) -> None:
    """Writes the pointer `weights` in the folder `at`."""
    if kind == "zero steps":
        group.point_to_base(at / "weights", split)
        return
    material = group.split(number, shuffled=True) if kind == "shuffled" else split
    count = _FEW_STEPS if kind == "random base" else steps
    checkpoint = group.tune(at, material, base=base, steps=count, checkpoint_every=count, seed=100 + number)
    paths = {name: at / name for name in ("weights", "metrics")}
    unwrap(UnwrapSettings(), group.store, ignore_progress, checkpoint=checkpoint, **paths)


def describe_run(run: dict[str, Any]) -> str:
    """One line: what was played, the most telling numbers, and the gate's word."""
    shown = (
        "kad_before",
        "kad_after",
        "kad_gain",
        "kad_gain_of_luck",
        "kad_of_recordings",
        "variety_share",
        "word_gain_db_after",
    )
    numbers = " ".join(f"{name} {run['metrics'][name]:.3g}" for name in shown if name in run["metrics"])
    words = "; ".join(run["reasons"]) or "passed"
    return f"{run['kind']} {run['number']} ({run['tune_s']} + {run['evaluate_s']} s): {numbers}: {words}"


def print_summary(runs: list[dict[str, Any]]) -> None:
    """How many of each kind passed, and how often each reason was given."""
    for kind in COUNTS:
        told = [run["reasons"] for run in runs if run["kind"] == kind]
        words = Counter(reason.split(":")[0] for each in told for reason in each)
        print(f"{kind}: {sum(not each for each in told)} of {len(told)} passed; {dict(words)}")


if __name__ == "__main__":
    sys.exit(main())
