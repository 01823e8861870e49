"""The group's agreement: `agreement.toml`, versioned in the store under `governance/agreements/`.

A version is written only if its number is free, so two writers cannot overwrite each other's. The highest number is in force. Keys of
another form are passed over; the doctor names them.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.member import MemberId
from audiotune.errors import AgreementError, AlreadyInStoreError, UnreadableAgreementError
from audiotune.store.layout import AGREEMENTS
from audiotune.store.port import Store

Use = Literal["store", "train", "release", "generate"]
ALL_USES: tuple[Use, ...] = ("store", "train", "release", "generate")
HIGHEST_VERSION = 999_999_999  # nine digits: a date as in 20260501 is a number that people choose
_KEY = AGREEMENTS.compile(r"(\d{6,9})\.json")


class Member(FrozenModel):
    """A person of the group.

    Attributes:
        id: short, small letters; used in files and annotations.
        consents_to: uses that this member agrees to for all recordings they are heard in, unless a record differs.
            Empty: each recording needs a consent record.
        left: the member has left the group; their recordings pass no gate.
    """

    id: MemberId
    name: str
    consents_to: tuple[Use, ...] = ()
    left: bool = False


class Agreement(FrozenModel):
    """What the group agreed on.

    Attributes:
        recordings_licence: SPDX id or words, among the members; default licence of their uploads.
        accepted_licences: licences of recordings from elsewhere that may be ingested.
        weights_licence: licence of the releases.
        allowed_uses: the only uses of recordings; a member's consent cannot add one.
        base_model_notices: base model name -> notice that a release on this base must carry.
    """

    group: str = Field(min_length=1)
    version: int = Field(ge=1, le=HIGHEST_VERSION)
    members: tuple[Member, ...] = Field(min_length=1)
    recordings_licence: str = Field(min_length=1)
    accepted_licences: tuple[str, ...] = ()
    weights_licence: str = Field(min_length=1)
    allowed_uses: tuple[Use, ...] = ALL_USES
    base_model_notices: dict[str, str] = {}

    @model_validator(mode="after")
    def _check_unique_ids(self) -> Agreement:
        counts = Counter(member.id for member in self.members)
        twice = sorted(id for id, count in counts.items() if count > 1)
        if twice:
            raise ValueError(f"two members share the id {', '.join(twice)}")
        return self

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def find_member(self, id: str) -> Member | None:
        return next((member for member in self.members if member.id == id), None)

    def find_notice(self, base: str) -> str:
        """The notice that a release on this base must carry; empty when the base requires none."""
        return self.base_model_notices.get(base, "")


def load_agreement(source: Path | bytes) -> Agreement:
    """Reads `agreement.toml`. Raises AgreementError: no file, no TOML, or fields that do not fit, each named."""
    where = str(source) if isinstance(source, Path) else "the agreement"
    try:
        data = tomllib.loads((source.read_bytes() if isinstance(source, Path) else source).decode())
        return Agreement.model_validate(data)
    except OSError as e:
        raise AgreementError(
            f"cannot read the agreement: {e.strerror}", where=where, cure="copy agreement.example.toml and fill it in"
        ) from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise AgreementError(f"the agreement is no TOML: {e}", where=where, cure="mend the line it names") from e
    except ValidationError as e:
        faults = "; ".join(f"{'.'.join(map(str, x['loc'])) or 'agreement'}: {x['msg']}" for x in e.errors())
        raise AgreementError(f"the agreement does not fit: {faults}", where=where, cure="mend the fields named") from e


def publish_agreement(store: Store, agreement: Agreement) -> str:
    """Stores an agreement as the group's newest version; the same content again changes nothing.

    A newest version that cannot be read does not stop a later one.

    Raises AgreementError: the store has another content under this version or a later one.
    """
    newest = max(list_agreement_versions(store), default=0)
    if newest and newest >= agreement.version:
        if _is_in_force(store, agreement):
            return agreement_key(agreement.version)
        raise AgreementError(
            f"version {newest} of the agreement is in force and differs", cure=f"set version = {newest + 1} in yours"
        )
    try:
        store.put(agreement_key(agreement.version), agreement.model_dump_json(indent=1).encode(), only_new=True)
    except AlreadyInStoreError:
        raise AgreementError("somebody published this version just now", cure="read theirs and raise the version") from None
    return agreement_key(agreement.version)


def read_current_agreement(store: Store) -> Agreement | None:
    """The version in force, or None when the store has none. Raises UnreadableAgreementError: it is damaged or of a newer program."""
    newest = max(list_agreement_versions(store), default=0)
    if not newest:
        return None
    key, agreement = agreement_key(newest), None
    try:
        agreement = Agreement.model_validate_json(store.get(key))
        why = f"it says version {agreement.version}"
    except ValidationError as e:
        why = e.errors()[0]["msg"]
    if agreement is None or agreement.version != newest:
        cure = (
            f"restore the object's earlier content, or publish version {newest + 1}: "
            "python -m audiotune.access agreement publish FILE; a newer program may have written it"
        )
        raise UnreadableAgreementError(f"the agreement in force cannot be read: {why}", where=key, cure=cure)
    return agreement


def list_agreement_versions(store: Store) -> list[int]:
    """The numbers of all published versions, in no order."""
    found = (_KEY.fullmatch(entry.key) for entry in store.list(AGREEMENTS.path))
    return [int(match[1]) for match in found if match and match[0] == agreement_key(int(match[1]))]


def agreement_key(version: int) -> str:
    """Store key of a version."""
    return AGREEMENTS.key(f"{version:06d}.json")


def _is_in_force(store: Store, agreement: Agreement) -> bool:
    try:
        current = read_current_agreement(store)
    except UnreadableAgreementError:
        return False
    return current is not None and current.digest == agreement.digest
