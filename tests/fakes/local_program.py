"""A stand-in for `python -m pipelines.local`: shows the form, keeps a state file, and ends as the release's name (`tune`) or the
session (`prepare`) says.

    fails     stops in the third step, with a reason
    waits     hangs in the third step until it is ended; what it started hangs, too
    once      fails the first time in a folder of runs
    others    go through when somebody has put a file `go` beside their state file; `tune` leaves a release of that name in the store

A line of its own goes to <out>/called.json: how it was called.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from audiotune.runs.run_form import FormField, FormStep, RunForm
from audiotune.runs.run_state import RunStateFile
from audiotune.store import open_store
from services.studio.releases import list_releases

_TIMEOUT_S = 120.0
STEPS = ("Merge annotations into captions", "Encode sounds and words", "Fine-tune the model", "Register the release")
FORM = RunForm(
    boxes=(
        FormField(
            name="training_base", default="tiny, for trials", choices=("tiny, for trials", "Stable Audio Open 1.0"), about="It."
        ),
        FormField(name="training_length", default="usual (240 steps)", choices=("short (24 steps)", "usual (240 steps)")),
        FormField(name="training_method", default="whole model", choices=("whole model", "light add-on (LoRA)")),
        FormField(name="training_name", default="patch-bay", about="Name the release gets."),
        FormField(name="training_seed", default=7),
    ),
    steps=tuple(FormStep(name=f"step-{place}", title=title) for place, title in enumerate(STEPS)),
)


def main(argv: list[str]) -> int:
    pipeline, *argv = argv
    if "--form" in argv:
        print(FORM.model_dump_json())
        return 0
    flags = dict(zip(argv[::2], argv[1::2], strict=False))
    chosen = dict(word.split("=", 1) for flag, word in pairwise(argv) if flag == "--set")
    out = Path(flags["--out"])
    out.mkdir(parents=True)
    (out / "called.json").write_text(json.dumps({"argv": argv, "store": os.environ["AUDIOTUNE_STORE"]}))
    state_file = RunStateFile(Path(flags["--state-file"]), FORM.steps)
    name = chosen.get("training_name") or chosen.get("session", "patch-bay")
    if name == "once":
        marker = out.parent.parent / "failed once"
        name = "others" if marker.exists() else "fails"
        marker.touch()
    for step in FORM.steps:
        with state_file.track_step(step.name):
            time.sleep(0.2)
            if step.name == "step-2":
                _train(state_file, step.name, name, Path(flags["--state-file"]).with_name("go"))
    if pipeline == "prepare":
        return 0
    store = open_store(flags["--store"])
    newest = list_releases(store)[0]
    changes = {"name": name, "version": str(int(newest.version) + 1), "made": datetime.now(UTC)}
    newest.model_copy(update=changes).save(store)
    return 0


def _train(state_file: RunStateFile, step: str, name: str, go: Path) -> None:
    time.sleep(1.1)  # a state file is written once a second
    state_file.report_progress(step, 0.4, "step 96 of 240, loss 0.31")
    if name == "fails":
        sys.exit(
            "tune: finetune: the loss is not a number at step 108. Take a smaller learning rate. The whole log is in step.log"
        )
    if name == "waits":
        subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"], check=True)
    until = time.monotonic() + _TIMEOUT_S
    while not go.exists() and time.monotonic() < until:
        time.sleep(0.05)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
