"""Records of sounds that were made, and which member may hear one.

The same words and seed give the same bytes to everybody, so one sound may have several makers. Each has a record of their own: the
first one's is `<digest>.json`, where all versions look for it, those of the others `<digest>/<member>.json`. None is overwritten.
"""

from __future__ import annotations

import logging
import re
import threading
from contextlib import suppress

from pydantic import ValidationError

from audiotune.domain.generation import GenerationRecord, record_key
from audiotune.errors import AlreadyInStoreError, NotInStoreError, StoreError
from audiotune.store.layout import GENERATIONS, MADE_WITH
from audiotune.store.port import Store
from services.generation.errors import UnknownSoundError

LOG = logging.getLogger("audiotune.generation")
_LISTED = MADE_WITH.key(".listed")  # the sounds of earlier versions are listed, too
_DIGEST = re.compile(r"[0-9a-f]{64}")


def write_sound_record(store: Store, record: GenerationRecord) -> None:
    """Keeps who made a sound; a maker's record from before stays as it is."""
    data = record.model_dump_json().encode()
    for key in record.maker_keys:
        store.put(key, b"")
    try:
        store.put(record_key(record.sound), data, only_new=True)
    except AlreadyInStoreError:
        first = _read_record(store, record_key(record.sound))
        if record.member and (first is None or first.member != record.member):
            with suppress(AlreadyInStoreError):
                store.put(record_key(record.sound, record.member), data, only_new=True)


class SoundIndexer:
    """Lists by their weights, once, the sounds of versions that did not do so: in a thread of its own, when the service starts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self) -> None:
        threading.Thread(target=self._try, daemon=True, name="sounds by weights").start()

    def list_earlier(self) -> None:
        """Raises StoreError: the next start goes on."""
        if any(entry.key == _LISTED for entry in self._store.list(_LISTED)):
            return
        for entry in self._store.list(GENERATIONS.path):
            record = _read_record(self._store, entry.key)
            for key in record.maker_keys if record else ():
                self._store.put(key, b"")
        self._store.put(_LISTED, b"")

    def _try(self) -> None:
        try:
            self.list_earlier()
        except StoreError as e:
            LOG.warning("sounds of earlier versions are not listed by their weights yet: %s", e)


def read_sound_record(store: Store, digest: str, member: str) -> GenerationRecord:
    """The record of a sound that this member may hear: an own one, or one from before there were members.

    Raises UnknownSoundError for a sound of another member and for none alike: the answer must not tell which of the two it is.
    """
    if not _DIGEST.fullmatch(digest):
        raise UnknownSoundError("no such sound", where="digest", cure="64 hexadecimal digits")
    record = _read_record(store, record_key(digest))
    if record is None or (record.member and record.member != member):
        record = _read_record(store, record_key(digest, member))
    if record is None:
        raise UnknownSoundError("no such sound")
    return record


def _read_record(store: Store, key: str) -> GenerationRecord | None:
    """The record; None where there is none, or none that can be read."""
    try:
        return GenerationRecord.model_validate_json(store.get(key))
    except NotInStoreError:
        return None
    except ValidationError:
        LOG.error("the record of a sound cannot be read: restore %s from a backup", key)
        return None
