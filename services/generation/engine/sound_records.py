"""Records of sounds that were made: who may hear one."""

from __future__ import annotations

import re

from audiotune.domain.generation import GenerationRecord
from audiotune.errors import NotInStoreError
from audiotune.store.port import Store
from services.generation.http.problems import ProblemError

_DIGEST = re.compile(r"[0-9a-f]{64}")


def read_sound_record(store: Store, digest: str, member: str) -> GenerationRecord:
    """The record of a sound that this member may hear: one's own, and those from before there were members.

    Raises Problem 404, whether it is another's or nobody's: who asks must not learn which.
    """
    if not _DIGEST.fullmatch(digest):
        raise ProblemError(
            404, "no such sound", errors=[{"field": "digest", "message": "64 hexadecimal digits"}], code="no-such-sound"
        )
    try:
        record = GenerationRecord.model_validate_json(store.get(f"manifests/generations/{digest}.json"))
    except NotInStoreError:
        raise ProblemError(404, "no such sound", code="no-such-sound") from None
    if record.member and record.member != member:
        raise ProblemError(404, "no such sound", code="no-such-sound")
    return record
