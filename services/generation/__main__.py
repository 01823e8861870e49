"""Starts the generation service: `python -m services.generation --port 3000`."""

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m services.generation", description="Sounds from the group's releases over HTTP."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=3000, help="port (default 3000)")
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    args = parser.parse_args()
    if args.store:
        os.environ["AUDIOTUNE_STORE"] = args.store
    if not os.environ.get("AUDIOTUNE_STORE"):
        sys.exit("generation: no store is named. Give --store or set AUDIOTUNE_STORE")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "bentoml", "serve", "services.generation.service:GenerationService"]
    os.execv(sys.executable, [*command, "--host", args.host, "--port", str(args.port), "--working-dir", str(root)])


if __name__ == "__main__":
    main()
