"""The door of encode: `python -m components.encode --help`."""

from components.executor import door

if __name__ == "__main__":
    raise SystemExit(door("components.encode"))
