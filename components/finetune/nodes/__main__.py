"""What each training pod runs: `python -m components.finetune.nodes KEY`, with the order's key in the store."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence

from audiotune.errors import AudioTuneError
from audiotune.store import open_store
from components.executor import print_progress


def main(argv: Sequence[str] | None = None) -> int:
    """Trains as one node; the last line on stderr is the reason when it fails, as at every step's door."""
    parser = argparse.ArgumentParser(prog="python -m components.finetune.nodes", description=(__doc__ or "").strip())
    parser.add_argument("order", help="store key of the order that the step gave")
    args = parser.parse_args(argv)
    try:
        from components.finetune.compute_backends import launch_processes
        from components.finetune.nodes.task_spec import load_task
        from components.finetune.training_process import run_training

        job = load_task(open_store(), args.order, print_progress)
        launch_processes(job.settings, run_training, job)
    except AudioTuneError as e:
        print(f"finetune: {_one_line(e)}", file=sys.stderr, flush=True)
        return 1
    except Exception as e:  # a bug, or another node that is gone: where, then the one line that the step repeats
        traceback.print_exc()
        print(f"finetune: {type(e).__name__}: {_one_line(e) or 'no message'}", file=sys.stderr, flush=True)
        return 1
    return 0


def _one_line(e: Exception) -> str:
    return " ".join(str(e).split())


if __name__ == "__main__":
    raise SystemExit(main())
