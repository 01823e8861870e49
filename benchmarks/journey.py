"""The whole journey on real sounds by other people, to a registered release.

    python -m benchmarks.journey --folder out [--jams 8 --minutes 3]      jams of ../shared/tools/make_jam.py
    python -m benchmarks.journey --folder out --recordings ../shared/data    files as they are, their names as captions

Jams: several players' sounds in long messy takes. After ingest and segment, everybody who knows a sound says its name as the
truth beside the jam has it, as a CSV of answers; the members' answers are merged and the model is tuned on them. Prints what each
step gave and took.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

TOOL = Path(os.environ.get("AUDIOTUNE_MAKE_JAM", "../shared/tools/make_jam.py"))
SOUNDS = Path(os.environ.get("AUDIOTUNE_REAL_SOUNDS", "../shared/data"))
REPOSITORY = Path(__file__).resolve().parent.parent
PLAYERS = "ana,ben,chi,dee,eli"
RECIPE = """
name = "journey"
description = "Real sounds, the tiny base"
[segment]
min_s = 0.3
max_s = 4.0
[annotate_merge]
sources = "{sources}"
imports = {imports}
[encode]
base = "tiny"
[finetune]
base = "tiny"
steps = {steps}
batch_size = 16
checkpoint_every = 200
learning_rate = 2e-4
seed = 7
[evaluate]
sounds = 20
[register]
name = "journey"
"""


def main() -> None:
    args = _parser().parse_args()
    from audiotune.registry.mlflow_server import run_mlflow_server
    from pipelines.host_process import use_line_buffering

    use_line_buffering()
    args.folder = args.folder.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    console, began = Console(), time.monotonic()
    with run_mlflow_server(args.folder / "mlflow") as url:
        os.environ["MLFLOW_TRACKING_URI"] = url
        outputs = as_they_are(args) if args.recordings else jams(args)
    print_outputs(console, outputs, time.monotonic() - began)


def as_they_are(args: argparse.Namespace) -> dict[str, Any]:
    """Plays `full` on a folder of files."""
    arguments = {"source": str(args.recordings.resolve()), "contributors": "ana,ben", "licence": "CC-BY-3.0"}
    return _run_pipeline(args, "full", arguments, _recipe(args, "file_names", []))


def jams(args: argparse.Namespace) -> dict[str, Any]:
    """Makes jams, plays `prepare`, says what was heard, plays `tune`."""
    takes = args.folder / "takes"
    takes.mkdir(exist_ok=True)
    for seed in range(1, args.jams + 1):
        _make_jam(takes / f"jam_{seed}.wav", args.folder / f"jam_{seed}.json", seed, args.minutes)
    outputs = _run_pipeline(args, "prepare", {"source": str(takes), "contributors": PLAYERS}, _recipe(args, "studio", []))
    answers = args.folder / "answers.csv"
    print(f"{_answer(args.folder, answers)} answers of members who know the sounds")
    key = outputs["segment"]["segments_key"]
    return {**outputs, **_run_pipeline(args, "tune", {"segments": key}, _recipe(args, "studio", [str(answers)]))}


def _run_pipeline(args: argparse.Namespace, name: str, arguments: dict[str, str], recipe: Path) -> dict[str, Any]:
    from pipelines.compile import compile_pipeline
    from pipelines.local import run_pipeline
    from pipelines.recipe import load_recipe

    documents = compile_pipeline(name, load_recipe(recipe))
    if name != "tune":
        arguments["agreement"] = str(REPOSITORY / "agreement.example.toml")
    return run_pipeline(documents, arguments, args.folder / "runs" / name, str(args.folder / "store"))


def _recipe(args: argparse.Namespace, sources: str, imports: list[str]) -> Path:
    path: Path = args.folder / "journey.toml"
    path.write_text(RECIPE.format(sources=sources, imports=json.dumps(imports), steps=args.steps))
    return path


def _make_jam(out: Path, truth: Path, seed: int, minutes: float) -> None:
    if out.exists():
        return
    # Every fourth jam is made of other sounds: what shares a sound is never split between training and held-out.
    folder = SOUNDS / ("berklee" if seed % 4 else "sonic-pi")
    command = [sys.executable, str(TOOL), "--sounds", str(folder), "--minutes", str(minutes)]
    subprocess.run([*command, "--seed", str(seed), "--players", PLAYERS, "--out", str(out), "--truth", str(truth)], check=True)


def _answer(folder: Path, answers: Path) -> int:
    """Writes a CSV: of each segment, the player and one other say the name of the sound that fills most of it."""
    from audiotune.domain.recording import Recording
    from audiotune.domain.segment import Segment
    from audiotune.store import FolderStore

    store = FolderStore(folder / "store")
    names = {row.id: row.name for row in _newest(store, "recordings", Recording)}
    everybody, rows = PLAYERS.split(","), []
    for segment in _newest(store, "segments", Segment):
        events = json.loads((folder / f"{Path(names[segment.recording]).stem}.json").read_text())
        end_s = segment.start_s + segment.duration_s
        shared = [(min(end_s, e["end_s"]) - max(segment.start_s, e["start_s"]), i) for i, e in enumerate(events)]
        most_s, i = max(shared)
        if most_s > 0.05:
            words = re.sub(r"[_\d]+", " ", Path(events[i]["sound"]).stem).strip()
            player = everybody.index(events[i]["player"])
            rows += [(segment.id, everybody[who % len(everybody)], words) for who in (player, player + 1)]
    with answers.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("segment", "member", "words"))
        writer.writerows(rows)
    return len(rows)


def _newest(store: Any, kind: str, row: Any) -> Any:
    from audiotune.domain import manifest

    return manifest.fetch_manifest(store, manifest.find_newest_manifest(store, kind), kind, row).rows


def print_outputs(console: Console, outputs: dict[str, Any], seconds: float) -> None:
    """Prints each step's metrics, and the whole time."""
    for step, found in outputs.items():
        metrics = {
            name: round(value, 4) if isinstance(value, float) else value for name, value in found.get("metrics", {}).items()
        }
        console.print(f"{step:15}", metrics, highlight=False)
    console.print(f"passed: {outputs.get('evaluate', {}).get('passed')}, version {outputs.get('register', {}).get('version')}")
    console.print(f"{seconds:.0f} s in all")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("journey"), help="where everything is kept")
    parser.add_argument("--recordings", type=Path, help="play the files of a folder instead of making jams")
    parser.add_argument("--jams", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=240)
    return parser


if __name__ == "__main__":
    main()
