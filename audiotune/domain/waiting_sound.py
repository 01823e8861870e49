"""The bytes of a recording that waits for somebody's word, and beside them what was said about it.

Both lie under `waiting/`, in a folder of their own for each time the recording is brought in. The ledger names them and holds no words.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path, PurePosixPath

from audiotune.domain.frozen_model import TolerantModel
from audiotune.domain.label_tracks import TimeLabel
from audiotune.domain.recording import Digest
from audiotune.errors import DamagedBlobError
from audiotune.store.layout import WAITING
from audiotune.store.port import Store, compute_digest, digest_from_key

_KEY = WAITING.compile(r"([0-9a-f]{64})/[^/]+/[^/]+")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,12}")


class WaitingFacts(TolerantModel):
    """What was said about a recording when it was brought in, as its row will say it."""

    name: str
    source: str = ""
    licence: str = ""
    session: str = ""
    instrument: str = ""
    words: str = ""
    labels: tuple[TimeLabel, ...] = ()


def store_waiting_sound(store: Store, path: Path, recording: Digest, facts: WaitingFacts) -> str:
    """Stores the bytes and what was said; returns the key of the bytes."""
    suffix = PurePosixPath(facts.name).suffix.lower()
    folder = recording, secrets.token_hex(8)
    key = WAITING.key(*folder, f"sound{suffix if _SUFFIX.fullmatch(suffix) else ''}")
    store.put(_find_facts_key(key), facts.model_dump_json().encode())
    store.upload(key, path)
    return key


def read_waiting_facts(store: Store, key: str) -> WaitingFacts:
    """What was said beside the bytes at a key. Raises StoreError; ValueError: damaged."""
    return WaitingFacts.model_validate_json(store.get(_find_facts_key(key)))


def download_waiting_sound(store: Store, key: str, path: Path) -> None:
    """Writes the bytes into a file. Raises NotInStoreError: they were deleted. Raises DamagedBlobError: others than were brought in."""
    store.download(key, path)
    if compute_digest(path) != find_recording(key):
        raise DamagedBlobError("the content does not match its hash", where=key, cure="bring the recording in again")


def find_recording(key: str) -> Digest | None:
    """The recording of a key of bytes, which wait or are a blob; None for other keys."""
    match = _KEY.fullmatch(key)
    return match[1] if match else digest_from_key(key)


def is_waiting_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


def _find_facts_key(key: str) -> str:
    return f"{key.rpartition('/')[0]}/facts.json"
