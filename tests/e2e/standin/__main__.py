"""Plays a compiled pipeline on the cluster of a kubeconfig: `python -m tests.e2e.standin full.yaml --namespace jam --set source=s3://jam/takes`."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from pathlib import Path

from audiotune.errors import AudioTuneError
from audiotune.outside.kubernetes import connect_kubernetes
from pipelines.arguments import convert_arguments, parse_assignments
from pipelines.documents import read_documents
from tests.e2e.standin.driver import Run
from tests.e2e.standin.pipeline_runner import PipelineRunner, StepFailedError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.standin", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pipeline", type=Path, help="compiled for the cluster: python -m pipelines.compile ... --for-cluster")
    parser.add_argument("--namespace", required=True, help="where the pods run")
    parser.add_argument("--root", required=True, help="where artifacts go, as in s3://audiotune/kfp")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the run form; repeat it")
    parser.add_argument("--account", default="pipeline-runner", help="service account of the steps")
    parser.add_argument("--kubeconfig", default="", help="file to reach Kubernetes by")
    parser.add_argument("--times", type=int, default=1, help="play it again; what the cache has is not run")
    args = parser.parse_args(argv)
    try:
        documents = read_documents(args.pipeline)
        arguments = convert_arguments(documents[0], parse_assignments(args.set))
        player = PipelineRunner(connect_kubernetes(args.kubeconfig), args.namespace, args.account)
        for _ in range(args.times):
            run = Run(documents, arguments, str(uuid.uuid4()), "stand-in", args.root, {"Provider": "s3"})
            done = player.run_pipeline(run, lambda words: print(words, flush=True))
            print(json.dumps({task: published.parameters for task, published in done.items()}))
    except (AudioTuneError, StepFailedError) as e:
        print(f"standin: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
