"""A member's recordings: what may be done with each, what counts with everybody heard in it, and what hangs on it. Knows no page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from audiotune.domain.recording import Digest, Recording
from audiotune.domain.release import Release
from audiotune.errors import AgreementError
from audiotune.governance import Agreement, decide_policy, list_heard
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.governance.consent import find_consents
from audiotune.governance.consent_record import Consent, Consents, StandingConsent, find_standing
from audiotune.governance.dependents import Dependents, DependentsReader
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.policy import Gate
from audiotune.governance.release_standing import list_objections
from audiotune.store.port import Store
from services.studio.library import Library

# The gate that stands for each use.
_GATES: Mapping[Use, Gate] = {
    "store": "ingest",
    "train": "finetune",
    "release": "register",
    "generate": "generate",
    "publish": "publish",
    "earn": "earn",
}


@dataclass(frozen=True)
class RecordingConsent:
    """One recording of a member.

    Attributes:
        people: everybody who is heard in it.
        record: the member's own word; None where nobody recorded one.
        uses: those of the word that live now.
        counts: uses that everybody heard in it agrees to, and the agreement allows.
        missing: why others do not count, which the agreement allows.
        hangs: what was made of it.
    """

    recording: Recording
    brought_in: datetime | None
    people: tuple[str, ...]
    record: Consent | None
    uses: tuple[Use, ...]
    counts: tuple[Use, ...]
    missing: tuple[str, ...]
    hangs: Dependents


@dataclass(frozen=True)
class MemberConsents:
    """Everything of a member. `standing`: their word for recordings that come later; `standing_uses`: those of it that live now."""

    agreement: Agreement
    standing: StandingConsent
    standing_uses: tuple[Use, ...]
    recordings: tuple[RecordingConsent, ...]


def list_member_consents(
    store: Store, library: Library, reader: DependentsReader, member: str, now: datetime | None = None
) -> MemberConsents:
    """What a member said, and what counts at a moment. Raises AgreementError: there is none. Raises LedgerError, ManifestError."""
    state, moment = open_ledger(store).read_state(), now or datetime.now(UTC)
    agreement = state.agreement
    if agreement is None:
        raise AgreementError("the store holds no agreement yet", cure="make the agreement first")
    mine = {id for id, people in state.consents.items() if member in people and people[member].heard}
    mine |= {recording.id for recording in library.list_member_recordings(member)}
    own = [library.recordings[id] for id in mine if id in library.recordings]
    consents = find_consents(state, [recording.id for recording in own])
    heard = list_heard(consents, {recording.id: recording.contributors for recording in own})
    heard = {id: people for id, people in heard.items() if member in people}
    refused = _list_refusals(agreement, consents, heard, moment)
    index = reader.read_index()
    rows = []
    for recording in sorted(own, key=lambda one: one.name.casefold()):
        if recording.id not in heard:
            continue
        record = consents.get((recording.id, member))
        rows.append(
            RecordingConsent(
                recording=recording,
                brought_in=library.brought_in.get(recording.id),
                people=heard[recording.id],
                record=record,
                uses=list_living_uses(record, moment),
                counts=tuple(use for use in ALL_USES if recording.id not in refused[use]),
                missing=_collect_reasons(refused, agreement.allowed_uses, recording.id),
                hangs=index.list_dependents([recording.id]),
            )
        )
    word = find_standing(state.standing, agreement, member)
    return MemberConsents(agreement, word, list_living_uses(word, moment), tuple(rows))


def list_living_uses(word: Consent | StandingConsent | None, now: datetime) -> tuple[Use, ...]:
    """The uses that a word agrees to at a moment."""
    return tuple(use for use in ALL_USES if word is not None and word.agrees_to(use, now))


def describe_member_words(store: Store, agreement: Agreement, now: datetime | None = None) -> dict[str, str]:
    """Member -> what they agree to, as it counts now: their word for all, and how many recordings differ from it.

    Where a member took something back, this must not say that they agree to it.
    """
    state, moment = open_ledger(store).read_state(), now or datetime.now(UTC)
    words = {}
    for member in agreement.members:
        word = find_standing(state.standing, agreement, member.id)
        standing = list_living_uses(word, moment)
        own = [people[member.id] for people in state.consents.values() if member.id in people and people[member.id].heard]
        fewer = sum(not set(standing) <= set(list_living_uses(record, moment)) for record in own)
        more = sum(bool(set(list_living_uses(record, moment)) - set(standing)) for record in own)
        agreed = ", ".join(standing) or ("nothing" if word.event else "asks for each recording")
        notes = [f"less for {fewer} of {len(own)} recordings"] if fewer else []
        notes += [f"more for {more} of {len(own)} recordings"] if more else []
        words[member.id] = "left the group" if member.left else "; ".join([agreed, *notes])
    return words


def describe_dependents(hangs: Dependents) -> str:
    """As in `in dataset 3, releases 1 and 2, 41 sounds`; empty where nothing was made of it."""
    parts = [
        _join_numbers("dataset", [str(dataset.number) for dataset in hangs.datasets]),
        _join_numbers("release", name_releases(hangs.releases)),
        _join_numbers("adapter", name_releases(hangs.adapters)),
        f"{len(hangs.sounds)} {'sound' if len(hangs.sounds) == 1 else 'sounds'}" if hangs.sounds else "",
    ]
    words = ", ".join(part for part in parts if part)
    return f"in {words}" if words else ""


def name_releases(releases: Collection[Release]) -> list[str]:
    return [f"{release.name} {release.version}".strip() for release in releases]


def explain_silent_releases(store: Store, releases: Iterable[Release]) -> dict[str, tuple[str, ...]]:
    """Weights' identity -> why a release may not play now, with who; releases that may play are not in it."""
    state = open_ledger(store).read_state()
    if state.agreement is None:
        return {}
    silent = {}
    for release in releases:
        if objections := list_objections(store, state, release, "generate"):
            silent[release.weights.identity] = objections
    return silent


def _list_refusals(
    agreement: Agreement, consents: Consents, heard: Mapping[Digest, tuple[str, ...]], now: datetime
) -> dict[Use, dict[Digest, tuple[str, ...]]]:
    return {use: decide_policy(_GATES[use], agreement, consents, heard, now=now).refused for use in ALL_USES}


def _collect_reasons(
    refused: Mapping[Use, Mapping[Digest, tuple[str, ...]]], uses: Collection[Use], recording: Digest
) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reason for use in uses for reason in refused[use].get(recording, ())))


def _join_numbers(noun: str, names: list[str]) -> str:
    if not names:
        return ""
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"{noun}{'' if len(names) == 1 else 's'} {listed}"
