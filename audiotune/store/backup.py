"""Backups under `backups/`: files that other programs dumped, stored with their time and hash.

python -m audiotune.store.backup keep database /work/database.dump     one more
python -m audiotune.store.backup fetch database /work/database.dump    the newest, or the one that AUDIOTUNE_BACKUP names
python -m audiotune.store.backup list database
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from audiotune.errors import AudioTuneError, DamagedBlobError, NotInStoreError, StoreError
from audiotune.store import Store, compute_digest, open_store
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.layout import BACKUPS

_HASH_DIGITS = 16


def save_backup(store: Store, name: str, path: Path, now: datetime | None = None) -> str:
    """Stores a file as the newest backup of `name`; returns its key. Raises StoreError for an empty or missing file."""
    cure = "look at the step that dumps it"
    try:
        data = path.read_bytes()
    except OSError as e:
        raise StoreError(f"the backup cannot be read: {e.strerror}", where=str(path), cure=cure) from e
    if not data:
        raise StoreError("the backup is empty", where=str(path), cure=cure)
    moment = f"{(now or datetime.now(UTC)).astimezone(UTC):%Y%m%dT%H%M%SZ}"
    key = BACKUPS.key(name, f"{moment}-{compute_digest(data)[:_HASH_DIGITS]}{path.suffix}")
    store.put(key, data)
    return key


def list_backups(store: Store, name: str) -> list[str]:
    """Keys of all backups, oldest first: their names begin with the time."""
    return sorted(entry.key for entry in store.list(BACKUPS.folder(name)))


def fetch_backup(store: Store, name: str, path: Path, key: str = "") -> str:
    """Writes the newest backup, or the one of `key`, to a file and returns its key. Raises NotInStoreError, DamagedBlobError."""
    keys = list_backups(store, name)
    if not keys:
        raise NotInStoreError(
            f"there is no backup of {name}", where=store.url, cure="wait for the schedule or run its job by hand"
        )
    chosen = key or keys[-1]
    data = store.get(chosen)
    if not Path(chosen).stem.endswith(compute_digest(data)[:_HASH_DIGITS]):
        raise DamagedBlobError("the backup is not what was kept", where=chosen, cure="take another: AUDIOTUNE_BACKUP names one")
    write_atomic_file(path, data)
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code; the last line on stderr is the reason."""
    parser = argparse.ArgumentParser(prog="python -m audiotune.store.backup", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("verb", choices=("keep", "fetch", "list"))
    parser.add_argument("name", help="what it is a backup of, as in database")
    parser.add_argument("file", type=Path, nargs="?", help="file to keep or to write")
    args = parser.parse_args(arguments)
    if args.file is None and args.verb != "list":
        parser.error(f"{args.verb} needs a file")
    try:
        store = open_store()
        if args.verb == "list":
            print("\n".join(list_backups(store, args.name)))
        elif args.verb == "keep":
            print(f"kept as {save_backup(store, args.name, args.file)}")
        else:
            print(f"fetched {fetch_backup(store, args.name, args.file, os.environ.get('AUDIOTUNE_BACKUP', ''))}")
    except AudioTuneError as e:
        print(f"backup: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
