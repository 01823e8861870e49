"""`audiotune adopt`: a training from elsewhere becomes a release of the group."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from audiotune.adoption.request import AdoptionRequest

_PROJECT = Path(__file__).resolve().parents[2]


def add_adopt_command(parser: argparse.ArgumentParser) -> None:
    """Adds the flags. The handler takes the parsed arguments and returns the exit code."""
    parser.add_argument(
        "weights", type=Path, help="epoch=53-step=800.ckpt, model.ckpt, .safetensors, or a LoRA (file or peft's folder)"
    )
    parser.add_argument(
        "--recordings",
        required=True,
        help="the sounds it was trained on: the dataset's folder, or stable-audio-tools' dataset config",
    )
    parser.add_argument(
        "--base", required=True, help="the model that was tuned, as in recipes: stabilityai/stable-audio-open-1.0"
    )
    parser.add_argument("--by", required=True, dest="made_by", help="who trained it: your group's name, or others'")
    parser.add_argument("--licence", required=True, help="the licence of the weights, as in CC-BY-4.0 or members-only")
    parser.add_argument("--name", required=True, help="name of the release")
    parser.add_argument("--agreement", default="", help="agreement.toml to put in force; default: the one in force in the store")
    parser.add_argument("--contributors", default="", help="who plays, where no sidecar says it: member ids with commas between")
    parser.add_argument("--session", default="", help="name of the jam, where no sidecar says it")
    parser.add_argument("--recipe", default="", help="a recipe with further settings of the steps")
    parser.add_argument(
        "--last-weights", action="store_true", help="take the last weights also where there is a running mean (EMA)"
    )
    parser.add_argument("--merge", action="store_true", help="merge a LoRA into the weights; default: keep it as an adapter")
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    parser.add_argument("--out", type=Path, default=Path("adopted"), help="folder for manifests and reports (default adopted)")
    parser.set_defaults(run=_adopt)


def _adopt(args: argparse.Namespace) -> int:
    """Runs in a process of its own: the steps stand above this package."""
    given = {name: value for name, value in vars(args).items() if name in AdoptionRequest.model_fields}
    source = Path(args.recordings).expanduser()
    given |= {"weights": args.weights.expanduser().resolve(), "out": args.out.expanduser().resolve()}
    given |= {"recordings": str(source.resolve())} if source.exists() else {}
    given |= {"ema": False if args.last_weights else None, "lora": "merge" if args.merge else "keep"}
    request = AdoptionRequest.model_validate(given)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH", "")]))}
    return subprocess.run([sys.executable, "-m", "pipelines.adopt", request.model_dump_json()], env=environment).returncode
