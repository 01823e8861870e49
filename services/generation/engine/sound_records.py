"""Records of sounds that were made, and which member may hear one.

The same words and seed give the same bytes to everybody, so one sound may have several makers. Each has a record of their own: the
first one's is `<digest>.json`, where all versions look for it, those of the others `<digest>/<member>.json`. None is overwritten.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress

from pydantic import ValidationError

from audiotune.domain.generation import GenerationRecord, record_key
from audiotune.errors import AlreadyInStoreError, NotInStoreError
from audiotune.store.port import Store
from services.generation.errors import UnknownSoundError

LOG = logging.getLogger("audiotune.generation")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def write_sound_record(store: Store, record: GenerationRecord) -> None:
    """Keeps who made a sound; a maker's record from before stays as it is."""
    data = record.model_dump_json().encode()
    try:
        store.put(record_key(record.sound), data, only_new=True)
    except AlreadyInStoreError:
        first = _read_record(store, record_key(record.sound))
        if record.member and (first is None or first.member != record.member):
            with suppress(AlreadyInStoreError):
                store.put(record_key(record.sound, record.member), data, only_new=True)


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
