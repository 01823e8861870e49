"""Command line of finetune: `python -m components.finetune --help`."""

from components.executor import run_command_line

if __name__ == "__main__":
    raise SystemExit(run_command_line("components.finetune"))
