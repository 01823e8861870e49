"""Finds keys of a bucket that somebody replaced or deleted although no program does that, by the old versions that the bucket keeps.

    python -m audiotune.store.touched_keys          every such key with its versions; reads AUDIOTUNE_STORE and the AWS variables

Needs a key that may list the bucket: the administrator's. Versions are kept for `noncurrentDays`, those of `governance/` and `access/` for
ever: what was touched earlier is not seen.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audiotune.errors import AudioTuneError, StoreError
from audiotune.store import open_store
from audiotune.store.layout import Prefix, find_prefix
from audiotune.store.s3 import ObjectVersion, S3Store


@dataclass(frozen=True)
class TouchedKey:
    """A key that was replaced or deleted.

    Attributes:
        is_usual: programs do this under the key's prefix: it says nothing by itself.
        versions: the newest first, marks of deletions among them. Readers get the newest. The last one is the original, unless
            somebody has forged a date, which MinIO allows.
    """

    key: str
    what: str
    is_usual: bool
    versions: tuple[ObjectVersion, ...]


def find_touched_keys(store: S3Store, prefix: str = "") -> Iterator[TouchedKey]:
    """All keys below `prefix` with versions of different content, or deleted, in key order. Needs the right to list the prefix."""
    for key, versions in itertools.groupby(store.list_versions(prefix), key=lambda version: version.key):
        row = find_prefix(key)
        if row is not None and (touched := _compare_versions(key, row, list(versions))):
            yield touched


def _compare_versions(key: str, row: Prefix, versions: Sequence[ObjectVersion]) -> TouchedKey | None:
    contents = [version for version in versions if version.tag is not None]
    different = len({version.tag for version in contents})
    if versions[0].tag is None:
        what = "deleted"
    elif different > 1:
        what = f"replaced: {different} contents"
    elif row.keeps_old_versions and len(contents) > 1:
        what = f"written {len(contents)} times"
    elif len(contents) < len(versions):
        what = "deleted and written again"
    else:
        return None  # one version, or the same bytes twice, as two programs at once write a blob
    is_usual = row.changes or (row.limit is not None and what == "deleted")  # the store itself deletes what is old there
    return TouchedKey(key, what, is_usual, tuple(versions))


def main() -> int:
    """Prints the keys; returns the exit code."""
    try:
        store = open_store()
        if not isinstance(store, S3Store):
            raise StoreError("a folder keeps no old versions", where=store.url, cure="compare it with a copy")
        for touched in find_touched_keys(store):
            print(f"{touched.key}: {touched.what}{' (programs do this here)' if touched.is_usual else ''}")
            for version in touched.versions:
                print(f"    {version.modified:%Y-%m-%d %H:%M:%S %Z}  {version.id}{'' if version.tag else '  deleted'}")
    except AudioTuneError as e:
        print(f"touched_keys: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
