"""Erases keys of the store for good: the object and all its old versions. What is erased cannot be restored from this store.

    python -m audiotune.store.erase KEY...             only says how many versions each key has
    python -m audiotune.store.erase --confirm KEY...   erases them

Reads AUDIOTUNE_STORE and the usual AWS variables; without arguments, the keys that AUDIOTUNE_ERASE names, parted by white space, which
are erased. Only the store's user `erasure` may do it, under the prefixes that docs/store.md marks with `e`; under `waiting/` also the
governance service, which does it by itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from audiotune.errors import AudioTuneError, StoreError
from audiotune.store import Store, open_store
from audiotune.store.layout import find_prefix
from audiotune.store.s3 import S3Store


def erase_key(store: Store, key: str) -> int:
    """Erases a key with all its versions; returns how many there were. Raises StoreError where the layout keeps the key for ever."""
    require_erasable(key)
    if isinstance(store, S3Store):
        return store.erase(key)
    found = int(store.exists(key))
    store.delete(key)
    return found


def require_erasable(key: str) -> None:
    """Raises StoreError for a key that nobody may erase, such as an agreement, and for one that no row of the layout has."""
    row = find_prefix(key)
    if row is None or not row.allows("erasure", "erase"):
        raise StoreError("this may not be erased", where=key, cure="docs/store.md marks with `e` what may be erased")


def count_versions(store: Store, key: str) -> int:
    if isinstance(store, S3Store):
        return sum(version.key == key for version in store.list_versions(key))
    return int(store.exists(key))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code; the last line on stderr is the reason."""
    parser = argparse.ArgumentParser(prog="python -m audiotune.store.erase", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("keys", nargs="*", metavar="KEY", help="keys as in the store, without bucket and prefix")
    parser.add_argument("--confirm", action="store_true", help="erase; otherwise only look")
    args = parser.parse_args(arguments)
    named = os.environ.get("AUDIOTUNE_ERASE", "").split()
    keys, confirmed = (args.keys, args.confirm) if args.keys else (named, True)
    if not keys:
        parser.error("no key is named")
    try:
        for key in keys:
            require_erasable(key)  # all of them first: nothing is erased where one key is wrong
        store = open_store()
        for key in keys:
            if confirmed:
                print(f"{key}: {erase_key(store, key)} versions erased")
            else:
                print(f"{key}: {count_versions(store, key)} versions; --confirm erases them")
    except AudioTuneError as e:
        print(f"erase: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
