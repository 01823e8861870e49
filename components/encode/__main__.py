"""Command line of encode: `python -m components.encode --help`."""

from components.executor import run_command_line

if __name__ == "__main__":
    raise SystemExit(run_command_line("components.encode"))
