"""Consent: records for each recording and contributor, numbered as they arrive; the newest counts.

A number is written only if it is free: the order of records is the order in which the store took them, whatever clocks say. Records of
0.2 and older are named by their time; they come before all numbered ones.

Whoever has a record for a recording counts as heard in it, until an owner's record says otherwise: its people only grow.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import Field, ValidationError

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.member import MEMBER_ID
from audiotune.domain.recording import Digest
from audiotune.errors import AlreadyInStoreError, ConsentError, UnreadableConsentError
from audiotune.governance.agreement import Agreement, Use
from audiotune.store.layout import CONSENTS
from audiotune.store.port import Store

_NAME = re.compile(rf"([0-9a-f]{{64}})/({MEMBER_ID})")
_KEY = CONSENTS.compile(rf"{_NAME.pattern}/(?:(\d{{8}})|\d{{8}}T\d{{12}})\.json")
_AHEAD = timedelta(minutes=5)  # a clock may be that wrong
_TRIES = 100


class Consent(FrozenModel):
    """The uses of one recording that one contributor agrees to.

    Attributes:
        uses: an empty one withdraws everything.
        basis: where the consent comes from, as in "agreement v1, standing consent" or "studio, signed in as ana".
        agreement: digest of the agreement in force.
        heard: false: an owner decided that this person is not heard in it, so nobody asks them.
        follows: recordings with the same sound: each use must be agreed to for them, too.
    """

    recording: Digest
    contributor: str
    uses: tuple[Use, ...]
    basis: str
    agreement: Digest
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    heard: bool = True
    follows: tuple[Digest, ...] = ()

    def to_bytes(self) -> bytes:
        """JSON, without the fields that programs of 0.2 do not know where they say nothing."""
        known = {"heard"} if self.heard else set()
        return self.model_dump_json(exclude=known if self.follows else known | {"follows"}).encode()


Consents = Mapping[tuple[Digest, str], Consent]


@dataclass
class ConsentKeys:
    """The keys of one contributor's records for one recording, in order of arrival: first those named by time, then the numbered."""

    timed: list[str] = field(default_factory=list)
    numbered: dict[int, str] = field(default_factory=dict)

    @property
    def next_number(self) -> int:
        """Counts the records named by time, too: so a later one of them, by an old program, is noticed."""
        return max([len(self.timed) + len(self.numbered), *self.numbered]) + 1


def record_consent(store: Store, consent: Consent) -> str:
    """Appends a record, which counts from now on. Returns its key. Raises ConsentError: recording or contributor is no id."""
    for _ in range(_TRIES):
        try:
            return _put_record(store, consent, _find_keys(store, consent.recording, consent.contributor).next_number)
        except AlreadyInStoreError:
            continue  # somebody else's record arrived first
    where = f"{consent.recording} of {consent.contributor}"
    raise ConsentError("other records keep arriving", where=where, cure="try again in a moment")


def read_consents(store: Store, recordings: Iterable[Digest]) -> dict[tuple[Digest, str], Consent]:
    """(recording, contributor) -> the record that counts, for everybody ever named; also of recordings that a record follows.

    Raises UnreadableConsentError: a record that counts is damaged, of a newer program, or of another recording or person than its key.
    """
    found: dict[tuple[Digest, str], Consent] = {}
    waiting, seen = list(recordings), set[Digest]()
    while waiting:
        recording = waiting.pop()
        if recording in seen:
            continue
        seen.add(recording)
        for contributor, keys in list_consent_keys(store, recording).items():
            consent = found[recording, contributor] = _read_counting(store, keys)
            waiting += consent.follows
    return found


def list_heard(consents: Consents, recordings: Mapping[Digest, Iterable[str]]) -> dict[Digest, tuple[str, ...]]:
    """Recording -> everybody heard in it: those given and all who have a record, without those an owner decided about."""
    people = {recording: dict.fromkeys(given) for recording, given in recordings.items()}
    for recording, contributor in sorted(consents):
        if recording in people:
            people[recording].setdefault(contributor)
    return {
        recording: tuple(who for who in everybody if (record := consents.get((recording, who))) is None or record.heard)
        for recording, everybody in people.items()
    }


def record_standing_consents(
    store: Store,
    agreement: Agreement,
    recording: Digest,
    contributors: Iterable[str],
    sounds_like: Mapping[Digest, Iterable[str]] | None = None,
) -> list[Consent]:
    """Records the standing consent of members who have no record for this recording yet. Returns the new records.

    Args:
        sounds_like: earlier recordings that sound the same, in whole or in part, and whom their manifests name. Who is heard there and
            is not named here gets a record that agrees to `store` alone: the other gates are closed until they agree, or an
            owner decides (`record_decision`). All these records follow the earlier recordings: who withdraws there withdraws here.
    """
    contributors = tuple(contributors)
    earlier = {like: people for like, people in (sounds_like or {}).items() if like != recording}
    recorded = read_consents(store, [recording, *earlier])
    heard = list_heard(recorded, earlier)
    unnamed = (who for people in heard.values() for who in people if who not in contributors)
    added = []
    for contributor in dict.fromkeys((*unnamed, *contributors)):  # those who close gates first, should this process be killed
        member, is_named = agreement.find_member(contributor), contributor in contributors
        if (recording, contributor) in recorded or (is_named and (member is None or not member.consents_to)):
            continue
        uses: tuple[Use, ...] = member.consents_to if is_named and member else ("store",)
        words = f"agreement version {agreement.version}, standing consent" if is_named else "not named, but it sounds the same"
        follows = tuple(like for like, people in heard.items() if contributor in people)
        consent = Consent(
            recording=recording, contributor=contributor, uses=uses, basis=words, agreement=agreement.digest, follows=follows
        )
        with contextlib.suppress(AlreadyInStoreError):  # they have said something themselves meanwhile, which counts
            _put_record(store, consent, 1)
            added.append(consent)
    return added


def record_decision(
    store: Store, agreement: Agreement, recording: Digest, heard: Iterable[str], by: str, why: str
) -> list[Consent]:
    """Records an owner's decision who is heard in a recording. Returns the new records. The caller checks that `by` may decide.

    Everybody else who was ever named is not asked any more. For those heard, a record that only followed other recordings is replaced
    by their standing consent; what a member said themselves stays. Who was taken out earlier has to agree anew.

    Raises ConsentError: nobody is left, somebody is no member, or a record arrived at this moment.
    """
    people = tuple(dict.fromkeys(heard))
    strangers = [who for who in people if agreement.find_member(who) is None]
    if strangers or not people:
        what = f"no members: {', '.join(strangers)}" if strangers else "nobody would be heard in it"
        raise ConsentError(what, where=recording, cure="name members of the agreement")
    keys = list_consent_keys(store, recording)  # before the records are read: what arrives later is noticed
    records = {who: record for (of, who), record in read_consents(store, [recording]).items() if of == recording}
    added = []
    for who in dict.fromkeys((*people, *records)):
        record, member, is_heard = records.get(who), agreement.find_member(who), who in people
        if record and record.heard == is_heard and not (is_heard and record.follows):
            continue
        agrees = is_heard and member is not None and (record is None or record.heard)
        consent = Consent(
            recording=recording,
            contributor=who,
            uses=member.consents_to if agrees and member else (),
            basis=f"decided by {by}: {why}",
            agreement=agreement.digest,
            heard=is_heard,
        )
        try:
            _put_record(store, consent, keys.get(who, ConsentKeys()).next_number)
        except AlreadyInStoreError:
            raise ConsentError(
                f"{who} recorded something just now", where=recording, cure="look at it and decide again"
            ) from None
        added.append(consent)
    return added


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


def _find_keys(store: Store, recording: Digest, contributor: str) -> ConsentKeys:
    return list_consent_keys(store, recording).get(contributor, ConsentKeys())


def _put_record(store: Store, consent: Consent, number: int) -> str:
    """Writes a record under its number. Raises AlreadyInStoreError."""
    name = f"{consent.recording}/{consent.contributor}"
    if not _NAME.fullmatch(name):
        raise ConsentError(f"{name[:140]!r} names no recording and member", cure="give the recording's SHA-256 and a member's id")
    key = CONSENTS.key(name, f"{number:08d}.json")
    store.put(key, consent.to_bytes(), only_new=True)
    return key


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
