"""Records of 0.2 and older: agreements and consents, each an object of its own. The ledger's first event takes them over.

Agreements lie under `governance/agreements/` by version, the highest in force. Consents lie under `governance/consents/` by recording,
contributor and number, the highest counts; still older ones are named by their time and come before all numbered ones. Keys of another
form are passed over; the doctor names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from audiotune.domain.member import MEMBER_ID
from audiotune.domain.recording import Digest
from audiotune.errors import UnreadableAgreementError, UnreadableConsentError
from audiotune.governance.agreement_record import Agreement
from audiotune.governance.consent_record import UNREADABLE, Consent, follow_consents
from audiotune.governance.ledger.events import is_event_key
from audiotune.governance.ledger.snapshots import is_snapshot_key
from audiotune.store.layout import AGREEMENTS, CONSENTS
from audiotune.store.port import Store

_AGREEMENT_KEY = AGREEMENTS.compile(r"(\d{6,9})\.json")
_NAME = re.compile(rf"([0-9a-f]{{64}})/({MEMBER_ID})")
_KEY = CONSENTS.compile(rf"{_NAME.pattern}/(?:(\d{{8}})|\d{{8}}T\d{{12}})\.json")
_AHEAD = timedelta(minutes=5)  # a clock may be that wrong


@dataclass
class ConsentKeys:
    """The keys of one contributor's records for one recording, in order of arrival: first those named by time, then the numbered."""

    timed: list[str] = field(default_factory=list)
    numbered: dict[int, str] = field(default_factory=dict)


def read_earlier_agreement(store: Store) -> Agreement | None:
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
    found = (_AGREEMENT_KEY.fullmatch(entry.key) for entry in store.list(AGREEMENTS.path))
    return [int(match[1]) for match in found if match and match[0] == agreement_key(int(match[1]))]


def agreement_key(version: int) -> str:
    """Store key of a version."""
    return AGREEMENTS.key(f"{version:06d}.json")


def read_earlier_consents(store: Store, recordings: Iterable[Digest]) -> dict[tuple[Digest, str], Consent]:
    """(recording, contributor) -> the record that counts, for everybody ever named; also of recordings that a record follows.

    Raises UnreadableConsentError: a record that counts is damaged, of a newer program, or of another recording or person than its key.
    """

    def find_people(recording: Digest) -> dict[str, Consent]:
        return {who: _read_counting(store, keys) for who, keys in list_consent_keys(store, recording).items()}

    return follow_consents(recordings, find_people)


def list_earlier_recordings(store: Store) -> list[Digest]:
    """The recordings that have records of consent."""
    found = (_KEY.fullmatch(entry.key) for entry in store.list(CONSENTS.path))
    return sorted({match[1] for match in found if match})


def find_stray_keys(store: Store) -> Iterator[str]:
    """Keys under `governance/` that no program reads: a note, a copy, a record whose name was changed."""
    for entry in store.list(f"{AGREEMENTS.top}/"):
        match = _AGREEMENT_KEY.fullmatch(entry.key)
        is_agreement = match is not None and entry.key == agreement_key(int(match[1]))
        if not (is_agreement or _KEY.fullmatch(entry.key) or is_event_key(entry.key) or is_snapshot_key(entry.key)):
            yield entry.key


def list_earlier_agreements(store: Store) -> tuple[list[Agreement], int]:
    """(all versions that can be read, in order; the newest version if it cannot be read, else 0)."""
    found, unreadable = [], 0
    for version in sorted(list_agreement_versions(store)):
        try:
            agreement = Agreement.model_validate_json(store.get(agreement_key(version)))
        except ValidationError:
            unreadable = version
            continue
        unreadable = 0 if agreement.version == version else version
        found += [agreement] if not unreadable else []
    return found, unreadable


def iterate_earlier_consents(store: Store) -> Iterator[Consent]:
    """The record that counts of every recording and contributor. What cannot be read agrees to nothing."""
    for recording in list_earlier_recordings(store):
        for contributor, keys in list_consent_keys(store, recording).items():
            try:
                yield _read_counting(store, keys)
            except UnreadableConsentError as e:
                basis = f"{UNREADABLE}: {e.where}; record their consent anew: python -m audiotune.access recording consent"
                yield Consent(recording=recording, contributor=contributor, uses=(), basis=basis, agreement="0" * 64)


def list_consent_keys(store: Store, recording: Digest) -> dict[str, ConsentKeys]:
    """Contributor -> the keys of their records for a recording. Keys of another form are passed over."""
    people: dict[str, ConsentKeys] = {}
    for entry in store.list(CONSENTS.folder(recording)):
        match = _KEY.fullmatch(entry.key)
        if match is None:
            continue
        keys = people.setdefault(match[2], ConsentKeys())
        if match[3]:
            keys.numbered[int(match[3])] = entry.key
        else:
            keys.timed.append(entry.key)
    return people


def parse_consent(key: str, data: bytes) -> Consent:
    """The record at a key. Raises UnreadableConsentError: damaged, of a newer program, or not what its key says."""
    try:
        consent = Consent.model_validate_json(data)
        why = f"it is of {consent.contributor[:64]!r} and recording {consent.recording[:12]!r}"
    except ValidationError as e:
        consent, why = None, e.errors()[0]["msg"]
    if consent is None or not key.startswith(CONSENTS.folder(consent.recording, consent.contributor)):
        cure = (
            "restore the object's earlier content, or record this person's consent anew: "
            "python -m audiotune.access recording consent; a newer program may have written it"
        )
        raise UnreadableConsentError(f"a consent record cannot be read: {why}", where=key, cure=cure)
    return consent


def _read_counting(store: Store, keys: ConsentKeys) -> Consent:
    """The record that counts; in doubt about the order, it agrees to no use that a doubtful record withdraws."""
    if keys.numbered:
        newest = max(keys.numbered)
        counting = parse_consent(keys.numbered[newest], store.get(keys.numbered[newest]))
        # more of them than the number counted: an old program has written one since
        doubtful = keys.timed if len(keys.timed) > newest - len(keys.numbered) else []
        return _narrow(counting, (parse_consent(key, store.get(key)) for key in doubtful))
    latest = datetime.now(UTC) + _AHEAD
    ahead: list[Consent] = []
    for key in reversed(keys.timed):
        record = parse_consent(key, store.get(key))
        if record.time <= latest:
            return _narrow(record, ahead)
        ahead.append(record)
    return _narrow(ahead[0].model_copy(update={"uses": ()}), ())


def _narrow(consent: Consent, doubtful: Iterable[Consent]) -> Consent:
    """The record without uses that a doubtful one withdraws; a doubtful one is also somebody's word that they are heard."""
    records = list(doubtful)
    uses = set(consent.uses).intersection(*(record.uses for record in records))
    kept = tuple(use for use in consent.uses if use in uses)
    return consent.model_copy(update={"uses": kept, "heard": consent.heard or bool(records)})
