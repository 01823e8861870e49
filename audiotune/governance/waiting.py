"""Recordings that wait for somebody's word: who is asked, what waits for a member, and what ends the waiting.

A member who agrees to nothing beforehand asks for each recording. Until everybody in it has agreed to keep it, its bytes lie under
`waiting/` alone, where no step reads but to ask. A no, or no answer in the agreement's days, deletes them in all versions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.errors import AgreementError, ConsentError
from audiotune.governance.agreement import Agreement
from audiotune.governance.consent import build_standing_consents, is_digest
from audiotune.governance.consent_record import Consent, Consents, Standing, StandingConsent, find_standing, list_heard
from audiotune.governance.ledger.event_draft import EventDraft
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.ledger.waiting_events import RecordingWaits
from audiotune.governance.policy import decide_policy
from audiotune.governance.proposal import parse_event_time
from audiotune.governance.waiting_record import (
    ASKED,
    NAMED,
    SOUNDS_ALIKE,
    WaitingRecording,
    WaitingVerdict,
    is_unanswered,
    judge_waiting,
)
from audiotune.store.port import Store


class WaitsForMember(FrozenModel):
    """A recording that waits for one member's word.

    Attributes:
        why: brought_in: its bytes wait, and are deleted without an answer; named_later: it was taken in before the member was
            named; sounds_alike: it sounds like a recording in which the member is heard.
        uploaded_by: members; empty where nobody knows.
        until: the last moment for an answer; None: no end.
        others: who else has not answered.
    """

    recording: Digest
    why: Literal["brought_in", "named_later", "sounds_alike"]
    uploaded_by: tuple[str, ...] = ()
    until: datetime | None = None
    others: tuple[str, ...] = ()


def list_waiting(state: GovernanceState, member: str) -> list[WaitsForMember]:
    """What waits for a member's word: the next to end first, then what has no end. Nothing for somebody outside the group."""
    found = state.agreement.find_member(member) if state.agreement else None
    if found is None or found.left:
        return []
    waiting = [
        waits for recording, people in state.consents.items() if (waits := _describe_asked(state, recording, people, member))
    ]
    return sorted(waiting, key=lambda one: (one.until is None, one.until or datetime.max.replace(tzinfo=UTC), one.recording))


def _describe_asked(
    state: GovernanceState, recording: Digest, people: Mapping[str, Consent], member: str
) -> WaitsForMember | None:
    record = people.get(member)
    if record is None or not record.heard or not record.basis.startswith((ASKED, SOUNDS_ALIKE)):
        return None
    if "store" in _find_taken_back(state, recording, member):
        return None
    waits = state.waiting.get(recording)
    if waits and waits.outcome not in ("", "taken_in"):
        return None
    others = tuple(who for who, one in sorted(people.items()) if who != member and one.heard and is_unanswered(one))
    if waits and not waits.outcome:
        until = parse_event_time(waits.until)
        return WaitsForMember(recording=recording, why="brought_in", uploaded_by=waits.uploaded_by, until=until, others=others)
    why: Literal["named_later", "sounds_alike"] = "named_later" if is_unanswered(record) else "sounds_alike"
    return WaitsForMember(recording=recording, why=why, others=others)


def may_hear(state: GovernanceState, recording: Digest, member: str) -> bool:
    """Whether a member may hear what waits: the people named in it and who brought it in, unless they have left the group."""
    found, waits = state.agreement.find_member(member) if state.agreement else None, state.waiting.get(recording)
    if found is None or found.left:
        return False
    record = state.consents.get(recording, {}).get(member)
    return (record is not None and record.heard) or (waits is not None and member in waits.uploaded_by)


def decide_waiting(state: GovernanceState, waits: WaitingRecording, now: datetime) -> WaitingVerdict:
    """Where a recording stands that waits."""
    records = state.consents.get(waits.recording, {})
    taken_back = [who for who in records if "store" in _find_taken_back(state, waits.recording, who)]
    return judge_waiting(parse_event_time(waits.until), state.agreement, records, taken_back, now)


def _find_taken_back(state: GovernanceState, recording: Digest, member: str) -> Collection[str]:
    """The uses of this recording that a member took back; of one that they were only asked about, this is their answer."""
    return state.taken_back.get(member, {}).get(recording, ())


def list_agreed(state: GovernanceState, now: datetime | None = None) -> Iterator[WaitingRecording]:
    """Those that everybody has agreed to keep, and that were not taken in yet."""
    for waits in state.waiting.values():
        if not waits.outcome and decide_waiting(state, waits, now or datetime.now(UTC)).kind == "agreed":
            yield waits


def find_unasked(
    agreement: Agreement,
    consents: Consents,
    recording: Digest,
    contributors: Iterable[str],
    standing: Standing = MappingProxyType({}),
) -> tuple[str, ...]:
    """Whose word must be asked for before a recording may come in; nobody where something else forbids it.

    Args:
        consents: the records that count, as `read_consents` gives them.
        standing: as `read_standing` gives it.
    """
    heard = list_heard(consents, {recording: contributors})[recording]
    words = {who: find_standing(standing, agreement, who) for who in heard}
    unasked = tuple(who for who in heard if _must_be_asked(agreement, consents.get((recording, who)), words[who], who))
    agreed = {
        (recording, who): Consent(recording=recording, contributor=who, uses=("store",), basis="if they agreed", agreement="")
        for who in unasked
    }
    decision = decide_policy("ingest", agreement, {**consents, **agreed}, {recording: contributors}, standing=standing)
    return () if decision.refused else unasked


def _must_be_asked(agreement: Agreement, record: Consent | None, word: StandingConsent, who: str) -> bool:
    member = agreement.find_member(who)
    if member is None or member.left:
        return False
    return is_unanswered(record) if record else not word.agrees_to("store", datetime.now(UTC))


def hold_recording(
    store: Store, agreement: Agreement, recording: Digest, contributors: Iterable[str], sound: str = "", uploaded_by: str = ""
) -> tuple[str, ...]:
    """Asks the people of a recording who have not been asked yet. Returns everybody whose answer it waits for.

    Args:
        sound: store key of its bytes under `waiting/`; empty where they wait already, or the recording was taken in earlier.
        uploaded_by: a member; empty for an operator or a program.

    Raises AgreementError: another agreement is in force. Raises ConsentError: the recording is no id.
    """
    named = tuple(dict.fromkeys(contributors))
    if not is_digest(recording):
        raise ConsentError(f"{recording[:80]!r} names no recording", cure="give the recording's SHA-256")

    def draft_event(state: GovernanceState) -> EventDraft | None:
        if state.agreement is None or state.agreement.digest != agreement.digest:
            raise AgreementError("another version of the agreement is in force by now", cure="start the run again")
        people = state.consents.get(recording, {})
        said = {(recording, who): one for who, one in people.items() if not one.basis.startswith(NAMED)}
        records = build_standing_consents(
            said, state.standing, agreement, recording, tuple(dict.fromkeys((*named, *people))), {}, ASKED
        )
        waits = state.waiting.get(recording)
        is_live = waits is not None and not waits.outcome
        known = waits.uploaded_by if waits and is_live else ()
        is_news = bool(records) or (bool(sound) and not is_live) or (is_live and uploaded_by not in (*known, ""))
        body = RecordingWaits(recording=recording, sound=sound, uploaded_by=uploaded_by, records=tuple(records))
        return EventDraft("recording_waits", body) if is_news else None

    open_ledger(store).append(draft_event)
    people = open_ledger(store).read_state().consents.get(recording, {})
    return tuple(who for who, one in sorted(people.items()) if one.heard and is_unanswered(one))
