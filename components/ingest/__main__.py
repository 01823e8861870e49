"""The door of ingest: `python -m components.ingest --help`."""

from components.executor import door

if __name__ == "__main__":
    raise SystemExit(door("components.ingest"))
