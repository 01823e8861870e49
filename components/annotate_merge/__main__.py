"""The command line of annotate_merge: `python -m components.annotate_merge --help`."""

from components.executor import run_command_line

if __name__ == "__main__":
    raise SystemExit(run_command_line("components.annotate_merge"))
