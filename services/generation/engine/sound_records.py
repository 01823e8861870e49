"""Records of sounds that were made, and which member may hear one."""

from __future__ import annotations

import re

from audiotune.domain.generation import GenerationRecord, record_key
from audiotune.errors import NotInStoreError
from audiotune.store.port import Store
from services.generation.errors import UnknownSoundError

_DIGEST = re.compile(r"[0-9a-f]{64}")


def read_sound_record(store: Store, digest: str, member: str) -> GenerationRecord:
    """The record of a sound that this member may hear: an own one, or one from before there were members.

    Raises UnknownSoundError for a sound of another member and for none alike: the answer must not tell which of the two it is.
    """
    if not _DIGEST.fullmatch(digest):
        raise UnknownSoundError("no such sound", where="digest", cure="64 hexadecimal digits")
    try:
        record = GenerationRecord.model_validate_json(store.get(record_key(digest)))
    except NotInStoreError:
        raise UnknownSoundError("no such sound") from None
    if record.member and record.member != member:
        raise UnknownSoundError("no such sound")
    return record
