"""Is the checkpoint that evaluate chooses better than the last one?

    nice -n 19 python -m benchmarks.choice FOLDER [--groups 10]

On each of ten simulated groups the tiny base is tuned with a few recordings for longer than it needs, as small groups do. Evaluate
chooses among five checkpoints, or so. Then the chosen and the last one make new sounds of the held-out captions with other seeds, by which
nobody chose: the chosen one wins where its KAD to the held-out recordings is lower and it copies no more.

Each group is one JSON line in FOLDER/choice.jsonl; a group that is there is not played again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from audiotune.domain.release import Evaluation, WeightsPointer
from audiotune.reporting.progress import ignore_progress
from benchmarks.simulated_groups import SimulatedGroup, SplitGroup, read_finished_runs
from components.evaluate.settings import Settings as EvaluateSettings
from components.evaluate.step import run_step as evaluate
from components.unwrap.settings import Settings as UnwrapSettings
from components.unwrap.step import run_step as unwrap


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where groups and results are kept")
    parser.add_argument("--groups", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="number of the first group")
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    parser.add_argument("--candidates", type=int, default=5, help="checkpoints to choose from")
    parser.add_argument("--held-out", type=float, default=0.6, help="share of the recordings that are held out")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    results = args.folder / "choice.jsonl"
    done = {run["group"] for run in read_finished_runs(results)}
    for number in range(args.first, args.first + args.groups):
        if number not in done:
            run = play_group(args.folder, number, args.steps, args.candidates, args.held_out)
            with results.open("a") as file:
                file.write(json.dumps(run) + "\n")
            print(run, flush=True)
    runs = read_finished_runs(results)
    print(f"the chosen one is better than the last in {sum(run['better'] for run in runs)} of {len(runs)}")
    return 0


def play_group(folder: Path, number: int, steps: int, candidates: int, held_out: float) -> dict[str, Any]:
    """Tunes, chooses, and compares the chosen checkpoint with the last one by new sounds."""
    group = SimulatedGroup(folder, number)
    split, at = group.split(1000 + number, held_out=held_out), group.folder / f"choice-{number}"
    began = time.monotonic()
    settings = {"steps": steps, "candidates": candidates, "checkpoint_every": steps, "keep_last": 1, "batch_size": 8}
    checkpoint = group.tune(at, split, seed=100 + number, **settings)
    paths = {name: at / name for name in ("weights", "metrics")}
    unwrap(UnwrapSettings(), group.store, ignore_progress, checkpoint=checkpoint, **paths)
    tuned = time.monotonic()
    chosen = _evaluate(group, split, paths["weights"], at, seed=1000)
    chose_s = time.monotonic() - tuned
    last = WeightsPointer.model_validate_json(paths["weights"].read_bytes()).model_copy(update={"earlier": ()})
    fresh = {name: _measure(group, split, one, at, name) for name, one in (("chosen", chosen.chosen or last), ("last", last))}
    (kad, copied), (kad_last, copied_last) = ((one["kad_after"], one.get("copied_share", 0.0)) for one in fresh.values())
    return {
        "group": number,
        "steps": [one.step for one in chosen.checkpoints],
        "chosen": (chosen.chosen or last).step,
        "choice": chosen.choice,
        "screened": [round(one.kad, 2) for one in chosen.checkpoints],
        "kad": [round(kad, 3), round(kad_last, 3)],
        "copied": [round(copied, 3), round(copied_last, 3)],
        "better": kad < kad_last and copied <= copied_last,
        "tune_s": round(tuned - began, 1),
        "choose_s": round(chose_s, 1),
    }


def _measure(group: SimulatedGroup, split: SplitGroup, pointer: WeightsPointer, at: Path, name: str) -> dict[str, float]:
    """By seeds that nobody chose by."""
    path = at / f"{name}-weights"
    path.write_text(pointer.model_dump_json())
    return _evaluate(group, split, path, at, seed=500_000).metrics


def _evaluate(group: SimulatedGroup, split: SplitGroup, weights: Path, at: Path, seed: int) -> Evaluation:
    quick = EvaluateSettings(sounds=24, screening_sounds=8, steps=12, train_sounds=0, loss_rows=0, players=0, seed=seed)
    paths = {name: at / name for name in ("evaluation", "report", "metrics")}
    evaluate(quick, group.store, ignore_progress, weights=weights, latents=split.latents, dataset=split.dataset, **paths)
    return Evaluation.model_validate_json(paths["evaluation"].read_bytes())


if __name__ == "__main__":
    sys.exit(main())
