"""Training, generation and memory on a GPU at the shape of Stable Audio Open 1.0, beside stable-audio-tools and the plan. `make gpu`.

    python -m benchmarks.gpu [--json gpu.json] [--budget 570] [--rehearse] [--parts full decoding]

Needs no weights and no network. Each part runs in a process of its own, within its share of the time: one that fails or takes too long is
told, and the others go on. --rehearse runs all of it on the CPU at a reduced size; its figures say nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.gpu_parts import PARTS, UPSTREAM, Rows, choose_sizes, describe_device

_PROJECT = Path(__file__).resolve().parents[1]
_SHARE = 0.2  # of the whole time, that a part may take at most
_LEAST_S = 5.0  # with less left, a part is not begun
# row -> the row beside which it is measured
_BESIDE = {
    "full": f"full, {UPSTREAM}",
    "LoRA": f"LoRA, {UPSTREAM}",
    "clip": f"clip, {UPSTREAM}",
    "clip, fp32": f"clip, {UPSTREAM}",
}
RunPart = Callable[[str, float], dict[str, Any]]


class PartError(Exception):
    """A part of the measurement failed; the message says why."""


def run_parts(names: Sequence[str], budget_s: float, run: RunPart, clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """The report of all parts.

    Args:
        run: takes a part's name and the seconds it may take; returns its device and rows, or raises PartError.
    """
    began, rows, parts, device = clock(), {}, {}, {}
    for name in names:
        part_began = clock()
        left_s = budget_s - (part_began - began)
        try:
            if left_s < _LEAST_S:
                raise PartError("not begun: the time is used up")
            done = run(name, min(left_s, _SHARE * budget_s))
            device = device or done["device"]
            for row, figures in done["rows"].items():
                rows[row] = rows.get(row, {}) | figures
            error = ""
        except PartError as e:
            error = str(e)
        parts[name] = {"took_s": round(clock() - part_began, 1), "error": error}
    return {"device": device, "rows": compare_rows(rows), "parts": parts}


def compare_rows(rows: Rows) -> Rows:
    """The rows with `times_as_fast` as the row of stable-audio-tools beside it, and `measured_to_counted` memory."""
    compared = {}
    for name, figures in rows.items():
        beside = rows.get(_BESIDE.get(name, ""), {})
        found = dict(figures)
        if {"time_s"} <= set(beside) & set(figures):
            found["times_as_fast"] = beside["time_s"] / figures["time_s"]
        if {"peak_bytes", "counted_bytes"} <= set(figures):
            found["measured_to_counted"] = figures["peak_bytes"] / figures["counted_bytes"]
        compared[name] = found
    return compared


def make_table(report: Mapping[str, Any]) -> Table:
    """The report for a terminal."""
    columns = {"time_s": 1, "times_as_fast": 1, "peak_bytes": 2**30, "counted_bytes": 2**30, "measured_to_counted": 1}
    heads = ("what", "s each", "x faster", "peak GiB", "counted", "ratio")
    table = Table(*heads, title=str(report["device"].get("name", "no part ran")))
    for name, figures in report["rows"].items():
        table.add_row(name, *(f"{figures[key] / unit:.3f}" if key in figures else "" for key, unit in columns.items()))
    return table


def run_part_process(name: str, limit_s: float, *, rehearse: bool) -> dict[str, Any]:
    """Runs a part in a process of its own, with a GPU that nothing else has taken memory of. Raises PartError."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "part.json"
        command = [
            sys.executable,
            "-m",
            "benchmarks.gpu",
            "--part",
            name,
            "--json",
            str(out),
            *(["--rehearse"] if rehearse else []),
        ]
        try:
            done = subprocess.run(command, cwd=_PROJECT, capture_output=True, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            raise PartError(f"took longer than {limit_s:.0f} s") from None
        if done.returncode or not out.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise PartError((lines or ["it ended without a word"])[-1][:300])
        result: dict[str, Any] = json.loads(out.read_text())
        return result


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    if args.part:
        sizes = choose_sizes(rehearse=args.rehearse)
        rows = PARTS[args.part](sizes)
        Path(args.json).write_text(json.dumps({"device": describe_device(sizes), "rows": rows}))
        return 0
    if not args.rehearse:
        import torch

        if not torch.cuda.is_available():
            print("torch finds no GPU here; --rehearse runs everything on the CPU at a reduced size")
            return 0

    def run(name: str, limit_s: float) -> dict[str, Any]:
        print(f"{name} ...", file=sys.stderr, flush=True)
        return run_part_process(name, limit_s, rehearse=args.rehearse)

    report = run_parts(args.parts or list(PARTS), args.budget, run)
    Path(args.json).write_text(json.dumps({"rehearsal": args.rehearse, **report}, indent=1) + "\n")
    console = Console()
    console.print(make_table(report))
    failed = {name: part["error"] for name, part in report["parts"].items() if part["error"]}
    for name, error in failed.items():
        console.print(f"{name}: {error}", markup=False)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", default="gpu.json", help="file for the report")
    parser.add_argument("--budget", type=float, default=570.0, help="seconds for everything")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU at a reduced size")
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), help="only these")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
