"""The notebook, cell by cell in a fresh process: a zip of a few takes in, a registered release and its sounds out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from audiotune.audio.sound import read_sound
from audiotune.domain.release import Release
from pipelines.demo_takes import make_takes
from tests import REPOSITORY

NOTEBOOK = REPOSITORY / "notebooks" / "tune.ipynb"
# What the test sets in place of the first cell's values: the same journey with the fewest steps that every part accepts.
PARAMETERS = {
    "NAME": "from-the-notebook",
    "CHANGES": {
        "finetune": {"steps": 2, "batch_size": 2, "checkpoint_every": 2},
        "evaluate": {"sounds": 2, "train_sounds": 2, "steps": 2, "probe_seeds": 0, "players": 2},
    },
}


def read_cells(kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


def test_the_notebook_is_kept_without_outputs() -> None:
    nbformat = json.loads(NOTEBOOK.read_text())
    assert (nbformat["nbformat"], nbformat["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in nbformat["cells"]}) == len(nbformat["cells"])
    for cell in read_cells("code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.integration
@pytest.mark.timeout(400)
def test_from_a_zip_to_sounds(tmp_path: Path) -> None:
    takes = sorted(make_takes(tmp_path / "takes").glob("*.wav"))[::6]
    with zipfile.ZipFile(tmp_path / "recordings.zip", "w") as archive:
        for take in takes:
            archive.write(take, take.name)
    first, *others = ["".join(cell["source"]) for cell in read_cells("code")]
    values = PARAMETERS | {"RECORDINGS": str(tmp_path / "recordings.zip"), "FOLDER": str(tmp_path / "tuned")}
    cells = tmp_path / "cells.json"
    cells.write_text(json.dumps([first, *(f"{name} = {value!r}" for name, value in values.items()), *others]))
    play = f"import json\nfor cell in json.load(open({str(cells)!r})):\n    exec(compile(cell, 'cell', 'exec'), globals())\n"
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", play]
    done = subprocess.run(command, cwd=NOTEBOOK.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    release = Release.model_validate_json((tmp_path / "tuned/register/release").read_bytes())
    assert release.name == "from-the-notebook"
    assert release.lineage.contributors == ("ana", "ben")
    assert len(release.lineage.recordings) == len(takes)
    for name in ("low_dark_drone", "bright_high_pluck"):
        sound = read_sound(tmp_path / "tuned/sounds" / f"{name}.wav")
        assert sound.duration_s == pytest.approx(2.0, abs=0.01)
        assert abs(sound.data).max() > 0.001
