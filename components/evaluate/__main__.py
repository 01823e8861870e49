"""Command line of evaluate: `python -m components.evaluate --help`."""

from components.executor import run_command_line

if __name__ == "__main__":
    raise SystemExit(run_command_line("components.evaluate"))
