"""What is left of a member who withdrew: the demo's takes by two members, a release, one withdraws, a release without them, the proof.

    python -m benchmarks.proof [--remakes 5] [--folder FOLDER]

Every second take is ana's, the others are ben's. Both releases are trained as the demo's. Prints the proof of ben's withdrawal, with the
membership test before and after: AUC 0.5 says that the weights tell withdrawn segments from unseen ones no better than chance.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from audiotune.cli import main as run_command
from audiotune.governance.member_acts import append_member_event
from audiotune.registry.mlflow_server import run_mlflow_server
from audiotune.store import open_store
from pipelines.compile import compile_pipeline
from pipelines.demo_takes import make_takes
from pipelines.local import run_pipeline
from pipelines.recipe import load_recipe

AGREEMENT = Path(__file__).resolve().parents[1] / "agreement.example.toml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--remakes", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where everything is kept (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with run_mlflow_server(folder / "mlflow") as url:
            os.environ["MLFLOW_TRACKING_URI"] = url
            return _measure(folder, args.remakes)


def _measure(folder: Path, remakes: int) -> int:
    began, store = time.monotonic(), str(folder / "store")
    takes = sorted(make_takes(folder / "takes").glob("*.wav"))
    for who, own in (("ana", takes[::2]), ("ben", takes[1::2])):
        (folder / who).mkdir()
        for take in own:
            take.rename(folder / who / take.name)
        source = {"source": str(folder / who), "agreement": str(AGREEMENT), "contributors": who}
        run_pipeline(compile_pipeline("prepare", load_recipe("demo")), source, folder / f"prepare-{who}", store)
    run_pipeline(compile_pipeline("tune", load_recipe("demo")), {}, folder / "tune", store)
    number = append_member_event(open_store(store), "ben", "withdrawal_recorded", {"why": "to be measured"})
    out = ["--recipe", "demo", "--out", str(folder / "runs")]
    if code := run_command(["withdrawal", "--store", store, "retrain", str(number), *out]):
        return code
    proof = ["--out", str(folder / "proof.json"), "--page", str(folder / "proof.html"), "--remakes", str(remakes)]
    code = run_command(["prove", "withdrawal", str(number), "--store", store, *proof])
    print(f"in {time.monotonic() - began:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
