"""The doctor's checks of the store: keys that somebody changed although no program does, and blobs that manifests name and nobody has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from audiotune.store import Store
from audiotune.store.layout import DATASETS, RECORDINGS, RELEASES, SEGMENTS, SOUND_HISTORY
from audiotune.store.port import BLOB_PATTERN
from pipelines.doctor.findings import CheckResult, CheckTarget

if TYPE_CHECKING:
    from audiotune.store.touched_keys import TouchedKey

_MOST_NAMES = 30
_LIST_ALL = "`python -m audiotune.store.touched_keys` lists every version; docs/store.md says how to bring one back"
_NAMING = (RECORDINGS, SEGMENTS, DATASETS, RELEASES, SOUND_HISTORY)  # what names blobs that programs do not make anew


def check_changes(target: CheckTarget) -> Iterator[CheckResult]:
    """What no program changes was changed by nobody."""
    from audiotune.store.s3 import S3Store
    from audiotune.store.touched_keys import find_touched_keys

    store = target.opened_store
    if not isinstance(store, S3Store):
        yield "unknown", "a folder keeps no old versions, so that changes cannot be seen", "compare it with a copy"
        return
    touched = list(find_touched_keys(store))
    unusual, usual = [key for key in touched if not key.is_usual], [key for key in touched if key.is_usual]
    if unusual:
        words = f"{len(unusual)} keys were changed although no program does that: {_name_keys(unusual)}"
        yield "wrong", words, f"find out whose key for the store did it, and make a new one. {_LIST_ALL}"
    else:
        yield "well", "what is written once was changed by nobody, as far back as old versions are kept"
    if usual:
        yield "well", f"{len(usual)} keys were replaced or deleted where programs do so: {_name_keys(usual)}"


def check_missing_blobs(target: CheckTarget) -> Iterator[CheckResult]:
    """The store has every blob that its manifests, releases and members' sounds name."""
    store = target.opened_store
    missing = [key for key in sorted(set(_find_named_blobs(store))) if not store.exists(key)]
    if missing:
        words = f"{len(missing)} blobs are named and not there: {_shorten(missing)}"
        yield "warning", words, "they were erased on purpose, or lost: restore those from a copy of the store"
    else:
        yield "well", "every blob that manifests name is there"


def _find_named_blobs(store: Store) -> Iterator[str]:
    for row in _NAMING:
        for entry in store.list(row.path):
            if entry.key.endswith((".json", ".jsonl")):
                yield from (match.group() for match in BLOB_PATTERN.finditer(store.get(entry.key).decode(errors="replace")))


def _name_keys(touched: Iterable[TouchedKey]) -> str:
    return _shorten([f"{key.key} ({key.what})" for key in touched])


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
