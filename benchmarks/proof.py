"""What is left of a member who withdrew: takes by two members, a release, one withdraws, a release without them, the proof.

    python -m benchmarks.proof [--remakes 5] [--takes 0] [--steps 0] [--folder FOLDER]

Without --takes, every second of the demo's takes is ana's, the others are ben's, and both releases are trained as the demo's. With
--takes 300, ben plays so many short takes of random patches beside the demo's, which are then all ana's; half of all takes are held out of
every training. Prints the proof of ben's withdrawal, with the membership test before and after: AUC 0.5 says that the weights tell
withdrawn segments that were trained on from those that never were no better than chance.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from audiotune.audio.synthesizer import make_random_patch
from audiotune.cli import main as run_command
from audiotune.governance.member_acts import append_member_event
from audiotune.registry.mlflow_server import run_mlflow_server
from audiotune.store import open_store
from pipelines.compile import compile_pipeline
from pipelines.demo_takes import ENVELOPES, TIMBRES, apply_group_sound, make_takes, render_take
from pipelines.local import run_pipeline
from pipelines.recipe import Recipe, load_recipe

AGREEMENT = Path(__file__).resolve().parents[1] / "agreement.example.toml"
_SEED = 77
_HELD_OUT = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--remakes", type=int, default=5)
    parser.add_argument("--takes", type=int, default=0, help="of ben's, beside the demo's (default: half of the demo's are his)")
    parser.add_argument("--steps", type=int, default=0, help="of each training (default: the demo's)")
    parser.add_argument("--folder", type=Path, help="where everything is kept (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with run_mlflow_server(folder / "mlflow") as url:
            os.environ["MLFLOW_TRACKING_URI"] = url
            return _measure(folder, args.remakes, args.takes, args.steps)


def _measure(folder: Path, remakes: int, takes: int, steps: int) -> int:
    began, store = time.monotonic(), str(folder / "store")
    make_group_takes(folder, takes)
    recipe = write_recipe(folder / "recipe.toml", held_out=_HELD_OUT if takes else 0.0, steps=steps)
    for who in ("ana", "ben"):
        source = {"source": str(folder / who), "agreement": str(AGREEMENT), "contributors": who}
        run_pipeline(compile_pipeline("prepare", recipe), source, folder / f"prepare-{who}", store)
    run_pipeline(compile_pipeline("tune", recipe), {}, folder / "tune", store)
    number = append_member_event(open_store(store), "ben", "withdrawal_recorded", {"why": "to be measured"})
    out = ["--recipe", str(folder / "recipe.toml"), "--out", str(folder / "runs")]
    if code := run_command(["withdrawal", "--store", store, "retrain", str(number), *out]):
        return code
    proof = ["--out", str(folder / "proof.json"), "--page", str(folder / "proof.html"), "--remakes", str(remakes)]
    code = run_command(["prove", "withdrawal", str(number), "--store", store, *proof])
    print(f"in {time.monotonic() - began:.0f} s")
    return code


def make_group_takes(folder: Path, count: int) -> None:
    """Writes ana's and ben's takes into folders of theirs. `count`: of ben's own; 0: every second of the demo's is his."""
    takes = sorted(make_takes(folder / "takes").glob("*.wav"))
    for who, own in (("ana", takes if count else takes[::2]), ("ben", [] if count else takes[1::2])):
        (folder / who).mkdir()
        for take in own:
            take.rename(folder / who / take.name)
    rng = np.random.default_rng(_SEED)
    for number in range(count):
        envelope, timbre = ENVELOPES[number % len(ENVELOPES)], TIMBRES[number // len(ENVELOPES) % len(TIMBRES)]
        patch = apply_group_sound(make_random_patch(rng, envelope=envelope, timbre=timbre))
        name = f"{patch.make_caption().replace(' ', '_')}_{number + 2}.wav"
        render_take(patch, rng, sounds=2).write(folder / "ben" / name, "PCM_24")


def write_recipe(path: Path, held_out: float, steps: int) -> Recipe:
    """The demo's recipe, with another held-out share and number of steps; 0 keeps the demo's."""
    text = (Path(__file__).resolve().parents[1] / "pipelines/recipes/demo.toml").read_text()
    if held_out:
        text = text.replace("[annotate_merge]", f"[annotate_merge]\nheld_out_share = {held_out}")
    if steps:
        text = text.replace("steps = 240", f"steps = {steps}")
    path.write_text(text)
    return load_recipe(path)


if __name__ == "__main__":
    sys.exit(main())
