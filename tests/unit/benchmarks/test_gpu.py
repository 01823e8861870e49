"""The measurement on a GPU: its report, its time, its failures, and a small part of it for real on the CPU."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("torch")

from benchmarks import gpu
from benchmarks.gpu_parts import PARTS, TRAININGS, UPSTREAM

DEVICE = {"name": "a card"}


class Clock:
    """Goes on only when a part takes time."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_rows_of_parts_meet_and_are_compared() -> None:
    said = {
        "plan": {"full": {"counted_bytes": 2.0 * 2**30}},
        "full": {"full": {"time_s": 0.5, "peak_bytes": 2.2 * 2**30}},
        "theirs": {f"full, {UPSTREAM}": {"time_s": 3.0, "peak_bytes": 5.0 * 2**30}},
    }
    report = gpu.run_parts(list(said), 100.0, lambda name, _: {"device": DEVICE, "rows": said[name]}, Clock())
    row = report["rows"]["full"]
    assert (row["times_as_fast"], row["measured_to_counted"]) == (6.0, pytest.approx(1.1))
    assert "times_as_fast" not in report["rows"][f"full, {UPSTREAM}"]
    out = io.StringIO()
    Console(file=out, width=200).print(gpu.make_table(report))
    line = next(line for line in out.getvalue().splitlines() if line.startswith("│ full  "))
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["full", "0.500", "6.000", "2.200", "2.000", "1.100"]
    assert "a card" in out.getvalue()


def test_a_part_that_fails_is_told_and_the_others_go_on() -> None:
    def run(name: str, limit_s: float) -> dict[str, Any]:
        if name == "full":
            raise gpu.PartError("CUDA out of memory")
        return {"device": DEVICE, "rows": {name: {"time_s": 1.0}}}

    report = gpu.run_parts(["full", "LoRA"], 100.0, run, Clock())
    assert report["parts"]["full"]["error"] == "CUDA out of memory"
    assert report["parts"]["LoRA"]["error"] == ""
    assert list(report["rows"]) == ["LoRA"]
    assert report["device"] == DEVICE


def test_parts_never_take_more_than_the_budget() -> None:
    clock, limits = Clock(), []

    def run(name: str, limit_s: float) -> dict[str, Any]:
        limits.append(limit_s)
        clock.now_s += limit_s
        raise gpu.PartError("took longer")

    report = gpu.run_parts([str(i) for i in range(9)], 100.0, run, clock)
    assert sum(limits) <= 100.0
    assert max(limits) <= 20.0
    assert report["parts"]["8"]["error"] == "not begun: the time is used up"


def test_a_process_that_ends_badly_says_its_last_line() -> None:
    with pytest.raises(gpu.PartError, match="took longer than 0 s"):
        gpu.run_part_process("plan", 0.05, rehearse=True)
    with pytest.raises(gpu.PartError, match="invalid choice"):
        gpu.run_part_process("nothing", 60.0, rehearse=True)


def test_a_part_is_rehearsed_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "part.json"
    assert gpu.main(["--part", "decoding", "--rehearse", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert set(rows) == {"decode a clip", "decode the window"}
    assert all(row["time_s"] > 0 and row["peak_bytes"] > 2**20 for row in rows.values())


def test_each_training_has_its_part_and_its_count() -> None:
    assert set(TRAININGS) < set(PARTS)
