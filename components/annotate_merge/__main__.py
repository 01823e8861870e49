"""The door of annotate_merge: `python -m components.annotate_merge --help`."""

from components.executor import door

if __name__ == "__main__":
    raise SystemExit(door("components.annotate_merge"))
