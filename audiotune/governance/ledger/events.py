"""One event of the ledger: canonical JSON (RFC 8785), numbered, chained to the event before by its SHA-256, and signed (Ed25519).

The service that takes an event in always signs it. Who has a key of their own also signs what they say, before its number is known:
`build_statement`. Because an event names its predecessor's hash, the signature of the newest event vouches for all before it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import LedgerError
from audiotune.governance.ledger.keys import KeyId, SigningKey, is_signed_by
from audiotune.store.layout import LEDGER

FIRST = "0" * 64  # stands for the event before the first
# On whose word the service took an event in: of a sign-in, of the member's key, of an operator's command, of a program, of older records.
Via = Literal["sign_in", "member_key", "command", "service", "import"]
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_EVENT = LEDGER.compile(r"\d{10}\.json")
_CURE = "restore the object's earlier content; a newer program may have written it"


class EventSignature(FrozenModel):
    """A signature. `key`: its id; `value`: 64 bytes in base64."""

    key: KeyId
    value: str = Field(max_length=88)


class MemberSignature(EventSignature):
    """A member's signature of what they say. `head`: digest of the newest event that they had seen."""

    head: Digest


class EventSignatures(FrozenModel):
    service: EventSignature
    member: MemberSignature | None = None


class LedgerEvent(FrozenModel):
    """An event.

    Attributes:
        number: 1 for the first.
        previous: SHA-256 of the event before, as it is stored.
        time: when the service took it in, ISO 8601 in UTC. The order is that of the numbers, whatever clocks say.
        kind: names the body's fields; see `kinds`.
        by: the member who says it; empty for the service itself.
    """

    number: int = Field(ge=1)
    previous: Digest
    time: str = Field(max_length=40)
    kind: str = Field(max_length=40)
    by: str = Field(default="", max_length=64)
    via: Via
    body: dict[str, Any]
    signatures: EventSignatures

    def to_bytes(self) -> bytes:
        """What is stored, and hashed for the next event."""
        return canonicalize(self.model_dump(mode="json", exclude_none=True))

    def signed_bytes(self) -> bytes:
        """What the service signs: all but the signatures' values, and the member's signature."""
        return _signed_bytes(self.model_dump(mode="json", exclude={"signatures"}), self.signatures.member)


class _OtherNumber(Exception):
    """A number that is no whole one: its canonical form is not Python's."""


def _refuse_number(text: str) -> None:
    raise _OtherNumber


_DECODER = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number)


def is_canonical(data: bytes) -> bool:
    """Whether bytes are canonical JSON."""
    try:
        try:
            # The same for text, whole numbers and keys in ASCII, and much faster; the rest is compared in full.
            if data.isascii() and _ENCODER.encode(_DECODER.decode(data.decode())).encode() == data:
                return True
        except _OtherNumber:
            pass
        return canonicalize(json.loads(data)) == data
    except (ValueError, LedgerError, RecursionError):
        return False


def canonicalize(value: Any) -> bytes:
    """Canonical JSON. Raises LedgerError: a value that has no form in it (NaN, integers beyond 2^53)."""
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as e:
        raise LedgerError(f"this cannot be written into the ledger: {e}", cure="use text and ordinary numbers") from e


def compute_event_digest(data: bytes) -> Digest:
    return hashlib.sha256(data).hexdigest()


def event_key(number: int) -> str:
    """Store key of an event."""
    return LEDGER.key(f"{number:010d}.json")


def is_event_key(key: str) -> bool:
    return _EVENT.fullmatch(key) is not None


def build_statement(kind: str, by: str, body: Mapping[str, Any], head: Digest) -> bytes:
    """The bytes that a member signs."""
    return canonicalize({"body": dict(body), "by": by, "head": head, "kind": kind})


def sign_event(
    key: SigningKey,
    *,
    number: int,
    previous: Digest,
    time: str,
    kind: str,
    by: str,
    via: Via,
    body: Mapping[str, Any],
    member: MemberSignature | None = None,
) -> LedgerEvent:
    """An event with the service's signature."""
    fields = {"number": number, "previous": previous, "time": time, "kind": kind, "by": by, "via": via, "body": dict(body)}
    value = encode_signature(key.sign(_signed_bytes(fields, member)))
    return LedgerEvent(**fields, signatures=EventSignatures(service=EventSignature(key=key.id, value=value), member=member))


def encode_signature(signature: bytes) -> str:
    """As `EventSignature.value`."""
    return base64.b64encode(signature).decode()


def is_signature_valid(signature: EventSignature, public_key: bytes, signed: bytes) -> bool:
    """Whether a key (32 bytes) made this signature."""
    try:
        return is_signed_by(public_key, base64.b64decode(signature.value, validate=True), signed)
    except (binascii.Error, ValueError):
        return False


def parse_event(data: bytes, key: str) -> LedgerEvent:
    """The event stored at a key. Raises LedgerError: damaged, or of a newer program."""
    try:
        return LedgerEvent.model_validate_json(data)
    except (ValueError, RecursionError) as e:
        why = e.errors()[0]["msg"] if isinstance(e, ValidationError) else str(e)
        raise LedgerError(f"an event of the ledger cannot be read: {why}", where=key, cure=_CURE) from e


def _signed_bytes(fields: Mapping[str, Any], member: MemberSignature | None) -> bytes:
    return canonicalize({**fields, "member": member.model_dump(mode="json") if member else None})
