"""The work of the toy step."""

from __future__ import annotations

from pathlib import Path

from audiotune.errors import SoundError
from audiotune.reporting.progress import ProgressCallback
from audiotune.store import Store
from components.executor import StepResult
from tests.fakes.toy_step.settings import Settings


def run_step(
    settings: Settings, store: Store, progress: ProgressCallback, *, model: Path, page: Path, metrics: Path
) -> StepResult:
    if settings.fail == "ours":
        raise SoundError("it is\nsilent", where="take.wav", cure="play louder")
    if settings.fail == "bug":
        raise ZeroDivisionError("nobody\nthought of this")
    lines = len(model.read_text().splitlines())
    page.write_text(f"<!doctype html><p>{settings.word} {settings.loudness_lufs} {','.join(settings.people)}")
    progress(1.0, "counted")
    store.put("counted", str(lines).encode())
    return StepResult(
        {"lines": lines, "key": "manifests/x", "never declared": 1},
        {"loss": 0.25, "diverged": float("nan")},
        {"page": {"lines": lines, "nothing": None}, "executor-logs": {"x": 1}},
    )
