"""The door of finetune: `python -m components.finetune --help`."""

from components.executor import door

if __name__ == "__main__":
    raise SystemExit(door("components.finetune"))
