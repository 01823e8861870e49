"""Consent: who agreed to what, by the ledger's events. The newest record of a recording and contributor counts, in the order of arrival.

Whoever has a record for a recording counts as heard in it, until an owner's record says otherwise: its people only grow. A store
without a ledger keeps its records under `governance/consents/` (`earlier_records`), until the first event is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from audiotune.domain.member import is_member_id
from audiotune.domain.recording import Digest
from audiotune.errors import ConsentError
from audiotune.governance.agreement_record import Agreement
from audiotune.governance.consent_record import (
    OWN_WORD,
    Consent,
    Consents,
    Standing,
    StandingConsent,
    find_standing,
    follow_consents,
    list_heard,
)
from audiotune.governance.earlier_records import list_consent_keys, parse_consent, read_earlier_consents
from audiotune.governance.ledger.event_draft import EventDraft
from audiotune.governance.ledger.events import MemberSignature, Via, event_key
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.record_events import MOST_RECORDS, ConsentsRecorded
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.waiting_record import ANSWERED, ASKED, NAMED, SOUNDS_ALIKE
from audiotune.store.port import Store

__all__ = [
    "Consent",
    "Consents",
    "list_consent_keys",
    "list_heard",
    "parse_consent",
    "read_consents",
    "read_standing",
    "record_consent",
    "record_consents",
    "record_decision",
    "record_standing_consents",
]


def record_consent(store: Store, consent: Consent, *, via: Via = "command") -> str:
    """Appends a record, which counts from now on. Returns its event's key. Raises ConsentError: recording or contributor is no id."""
    return record_consents(store, [consent], via=via)


def record_consents(
    store: Store, consents: Sequence[Consent], *, by: str = "", via: Via = "command", signature: MemberSignature | None = None
) -> str:
    """Appends records, which count from now on, and returns the key of the last event.

    Args:
        by: the member who says it; empty for an operator or a program.
        signature: of the member's key; then the records fit into one event.

    Raises ConsentError: a recording or contributor is no id, or there are none.
    """
    for consent in consents:
        if not is_digest(consent.recording) or not is_member_id(consent.contributor):
            name = f"{consent.recording}/{consent.contributor}"
            raise ConsentError(
                f"{name[:140]!r} names no recording and member", cure="give the recording's SHA-256 and a member's id"
            )
    ledger, key = open_ledger(store), ""
    every = iter(consents)
    while records := tuple(islice(every, MOST_RECORDS)):
        draft = EventDraft("consents_recorded", ConsentsRecorded(records=records), by, via, signature)
        event = ledger.append(lambda state, draft=draft: draft)  # type: ignore[misc]
        key = event_key(event.number) if event else key
    if not key:
        raise ConsentError("there is nothing to record", cure="name a recording")
    return key


def is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def read_consents(store: Store, recordings: Iterable[Digest]) -> dict[tuple[Digest, str], Consent]:
    """(recording, contributor) -> the record that counts, for everybody ever named; also of recordings that a record follows.

    Raises UnreadableConsentError or LedgerError: what counts is damaged, of a newer program, or was changed.
    """
    state = open_ledger(store).read_state()
    return find_consents(state, recordings) if state.in_force else read_earlier_consents(store, recordings)


def read_standing(store: Store) -> Standing:
    """Member -> what they agree to for all their recordings, of those who said so themselves. Raises LedgerError."""
    return open_ledger(store).read_state().standing


def find_consents(state: GovernanceState, recordings: Iterable[Digest]) -> dict[tuple[Digest, str], Consent]:
    """As `read_consents`, of a state."""
    return follow_consents(recordings, lambda recording: state.consents.get(recording, {}))


def record_standing_consents(
    store: Store,
    agreement: Agreement,
    recording: Digest,
    contributors: Iterable[str],
    sounds_like: Mapping[Digest, Iterable[str]] | None = None,
) -> list[Consent]:
    """Records the standing consent of members who have no record for this recording yet. Returns the new records.

    What a member said themselves for all their recordings counts before what the agreement says of them.
    Of a member who asks for each recording it is recorded that they were named: they are asked whenever it comes in.

    Args:
        sounds_like: earlier recordings that sound the same, in whole or in part, and whom their manifests name. Who is heard there and
            is not named here gets a record that agrees to `store` alone: the other gates are closed until they agree, or an
            owner decides (`record_decision`). All these records follow the earlier recordings: who withdraws there withdraws here.
    """
    named = tuple(dict.fromkeys(contributors))
    earlier = {like: people for like, people in (sounds_like or {}).items() if like != recording}
    added: list[Consent] = []

    def draft_event(state: GovernanceState) -> EventDraft | None:
        recorded = find_consents(state, [recording, *earlier])
        added[:] = build_standing_consents(recorded, state.standing, agreement, recording, named, earlier)
        return EventDraft("consents_recorded", ConsentsRecorded(records=tuple(added))) if added else None

    if not is_digest(recording):
        raise ConsentError(f"{recording[:80]!r} names no recording", cure="give the recording's SHA-256")
    open_ledger(store).append(draft_event)
    return added


def build_standing_consents(
    recorded: Consents,
    standing: Standing,
    agreement: Agreement,
    recording: Digest,
    named: tuple[str, ...],
    earlier: Mapping[Digest, Iterable[str]],
    unanswered: str = NAMED,
) -> list[Consent]:
    """The records that `record_standing_consents` makes. `unanswered`: basis of those of members who ask for each recording."""
    heard = list_heard(recorded, earlier)
    added = []
    for contributor in dict.fromkeys((*named, *(who for people in heard.values() for who in people))):
        word, is_named = find_standing(standing, agreement, contributor), contributor in named
        if (recording, contributor) in recorded or (is_named and agreement.find_member(contributor) is None):
            continue
        words = describe_standing(word, agreement) if is_named else SOUNDS_ALIKE
        if is_named and not word.agrees_to("store", datetime.now(UTC)):
            word, words = StandingConsent(), unanswered
        follows = tuple(like for like, people in heard.items() if contributor in people)
        counts = {"uses": word.uses, "until": word.until, "text": word.text} if is_named else {"uses": ("store",)}
        where = {"recording": recording, "contributor": contributor, "agreement": agreement.digest}
        added.append(Consent.model_validate({**where, **counts, "basis": words, "follows": follows}))
    return added


def describe_standing(word: StandingConsent, agreement: Agreement) -> str:
    """Where a standing word comes from, as a record's basis."""
    where = f"the ledger's event {word.event}" if word.event else f"agreement version {agreement.version}"
    return f"{where}, standing consent"


def record_decision(
    store: Store, agreement: Agreement, recording: Digest, heard: Iterable[str], by: str, why: str
) -> list[Consent]:
    """Records an owner's decision who is heard in a recording. Returns the new records. The caller checks that `by` may decide.

    Everybody else who was ever named is not asked any more. For those heard, a record that only followed other recordings is replaced
    by their standing consent; what a member said themselves stays. Who was taken out earlier has to agree anew.

    Raises ConsentError: nobody is left, or somebody is no member.
    """
    people = tuple(dict.fromkeys(heard))
    strangers = [who for who in people if agreement.find_member(who) is None]
    if strangers or not people:
        what = f"no members: {', '.join(strangers)}" if strangers else "nobody would be heard in it"
        raise ConsentError(what, where=recording, cure="name members of the agreement")
    added: list[Consent] = []

    def draft_event(state: GovernanceState) -> EventDraft | None:
        words = {who: find_standing(state.standing, agreement, who) for who in people}
        added[:] = _build_decision(state.consents.get(recording, {}), words, agreement, recording, f"decided by {by}: {why}")
        body = ConsentsRecorded(records=tuple(added), decided=True) if added else None
        return EventDraft("consents_recorded", body, by, "command") if body else None

    open_ledger(store).append(draft_event)
    return added


def _build_decision(
    records: Mapping[str, Consent], heard: Standing, agreement: Agreement, recording: Digest, basis: str
) -> list[Consent]:
    """`heard`: the standing words of those who are heard in it."""
    added = []
    for who in dict.fromkeys((*heard, *records)):
        record, is_heard = records.get(who), who in heard
        if record and record.heard == is_heard and not (is_heard and record.follows):
            continue
        if record and is_heard and record.basis.startswith((OWN_WORD, ANSWERED)):
            added.append(record.model_copy(update={"heard": True, "follows": (), "uses": record.uses if record.heard else ()}))
            continue
        word = heard[who] if is_heard and (record is None or record.heard) else StandingConsent()
        added.append(
            Consent(
                recording=recording,
                contributor=who,
                uses=word.uses,
                until=word.until,
                text=word.text,
                basis=basis if word.uses or not is_heard else f"{ASKED}: {basis}",
                agreement=agreement.digest,
                heard=is_heard,
            )
        )
    return added
