"""The door of register: `python -m components.register --help`."""

from components.executor import door

if __name__ == "__main__":
    raise SystemExit(door("components.register"))
