"""The door of segment: `python -m components.segment --help`."""

from components.executor import door

if __name__ == "__main__":
    raise SystemExit(door("components.segment"))
