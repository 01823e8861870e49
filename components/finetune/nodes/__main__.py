"""The program of each training pod: `python -m components.finetune.nodes KEY`, with the store key of the task."""

import argparse
import traceback
from collections.abc import Sequence

from audiotune.errors import AudioTuneError
from audiotune.reporting.last_words import describe_bug, print_last_words
from audiotune.reporting.progress import print_progress
from audiotune.store import open_store


def main(argv: Sequence[str] | None = None) -> int:
    """Trains as one node. After a failure the last line on stderr is the reason, as in every step."""
    parser = argparse.ArgumentParser(prog="python -m components.finetune.nodes", description=(__doc__ or "").strip())
    parser.add_argument("task", help="store key of the task")
    args = parser.parse_args(argv)
    try:
        from components.finetune.compute_backends import launch_processes
        from components.finetune.nodes.task_spec import load_task
        from components.finetune.training_process import run_training

        task = load_task(open_store(), args.task, print_progress)
        launch_processes(task.settings, run_training, task)
    except AudioTuneError as e:
        print_last_words("finetune", str(e))
        return 1
    except Exception as e:  # a bug, or another node ended: the traceback, then the one line that the step repeats
        traceback.print_exc()
        print_last_words("finetune", describe_bug(e))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
