"""The door of unwrap: `python -m components.unwrap --help`."""

from components.executor import door

if __name__ == "__main__":
    raise SystemExit(door("components.unwrap"))
