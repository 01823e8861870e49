"""Command line of register: `python -m components.register --help`."""

from components.executor import run_command_line

if __name__ == "__main__":
    raise SystemExit(run_command_line("components.register"))
