"""The door of evaluate."""

from components.executor import door

if __name__ == "__main__":
    raise SystemExit(door("components.evaluate"))
