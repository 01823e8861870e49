"""Whether a sound may be started from: not from a recording, or from a sound made with a release, that somebody took back.

A recording is known by its bytes, and a sound that was made here by its record, which names what it was started from itself.
"""

from __future__ import annotations

from contextlib import suppress

from audiotune.domain.generation import GenerationRecord
from audiotune.domain.recording import Digest
from audiotune.governance import decide_policy, read_consents, read_current_agreement
from audiotune.governance.sound_marks import WithdrawnMakers
from audiotune.store.port import Store
from services.generation.engine.sound_records import read_sound_record
from services.generation.errors import InitConsentError, UnknownSoundError

_LONGEST_CHAIN = 32  # sounds that were each started from the one before


def require_init_consent(store: Store, digest: Digest, member: str, field: str) -> None:
    """Raises InitConsentError, with the reason. Raises StoreError, GovernanceError: nobody can say.

    Args:
        digest: SHA-256 of the file.
        field: of the request, for the error.
    """
    asked: Digest | None = digest
    for _ in range(_LONGEST_CHAIN):
        if asked is None:
            return
        record = None
        with suppress(UnknownSoundError):  # no sound of this service, or not one of theirs: only a recording may have these bytes
            record = read_sound_record(store, asked, member)
        if why := _find_objection(store, asked) or (_find_withdrawn(store, record) if record else ""):
            raise InitConsentError(f"this sound may not be started from: {why}", where=field, cure="start from another sound")
        asked = record.init if record else None


def _find_withdrawn(store: Store, record: GenerationRecord) -> str:
    """Why what a sound was made with may not be used any more; empty where it may."""
    reasons = WithdrawnMakers(store).find_reasons(record.makers)
    return f"the release it was made with was withdrawn: {'; '.join(dict.fromkeys(reasons.values()))}" if reasons else ""


def _find_objection(store: Store, recording: Digest) -> str:
    """Why a recording may not be used; empty where nobody was ever named for these bytes."""
    consents, agreement = read_consents(store, [recording]), read_current_agreement(store)
    if agreement is None or not consents:
        return ""
    return "; ".join(decide_policy("generate", agreement, consents, {recording: ()}).reasons)
