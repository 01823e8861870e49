"""The program of each training pod: `python -m components.finetune.nodes KEY`, with the store key of the task."""

import argparse
from collections.abc import Sequence

from audiotune.reporting.progress import print_progress
from audiotune.store import open_store
from components.executor import report_failure


def main(argv: Sequence[str] | None = None) -> int:
    """Trains as one node. After a failure the last line on stderr is the reason, as in every step."""
    parser = argparse.ArgumentParser(prog="python -m components.finetune.nodes", description=(__doc__ or "").strip())
    parser.add_argument("task", help="store key of the task")
    args = parser.parse_args(argv)

    def train() -> None:
        from components.finetune.compute_backends import launch_processes
        from components.finetune.nodes.task_spec import load_task
        from components.finetune.training_process import run_training

        task = load_task(open_store(), args.task, print_progress)
        launch_processes(task.settings, run_training, task)

    return report_failure("finetune", train)


if __name__ == "__main__":
    raise SystemExit(main())
