"""The policy: may these recordings pass this gate? Whatever uses a recording, or what was made of it, asks it.

Whom to ask is known from the store, not only from who asks: everybody who was ever named for a recording's bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from audiotune.domain.dataset import UsedRecording
from audiotune.domain.recording import MOST_CONTRIBUTORS, Digest
from audiotune.errors import AgreementError, ConsentError
from audiotune.governance.agreement import Agreement, Use, read_current_agreement
from audiotune.governance.consent import Consents, list_heard, read_consents, read_standing
from audiotune.governance.consent_record import UNREADABLE, Standing, find_standing
from audiotune.governance.excepted import Excepted, collect_excepted, describe_excepted, drop_graced, find_excepted
from audiotune.governance.suggestions import suggest_member
from audiotune.store.port import Store

Gate = Literal[
    "ingest",
    "annotate_merge",
    "encode",
    "finetune",
    "evaluate",
    "register",
    "champion",
    "generate",
    "export",
    "publish",
    "earn",
]

# What a contributor must have agreed to for a recording to pass each gate.
REQUIRED_USES: dict[Gate, Use] = {
    "ingest": "store",
    "annotate_merge": "train",
    "encode": "train",
    "finetune": "train",
    "evaluate": "train",
    "register": "release",
    "champion": "release",
    "generate": "generate",
    "export": "release",  # a member takes away what others are heard in
    "publish": "publish",
    "earn": "earn",
}


# Gates of what was made already: a part that was left out later may be in it until the agreement's days of grace are over.
_OF_RELEASES: tuple[Gate, ...] = ("champion", "generate", "export", "publish", "earn")


@dataclass(frozen=True)
class PolicyDecision:
    """The policy's decision. `refused` maps a recording to its reasons; all others are allowed."""

    gate: Gate
    refused: dict[Digest, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_allowed(self) -> bool:
        return not self.refused

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reason for reasons in self.refused.values() for reason in reasons))


def decide_policy(
    gate: Gate,
    agreement: Agreement,
    consents: Consents,
    recordings: Mapping[Digest, Iterable[str]],
    *,
    standing: Standing = MappingProxyType({}),
    now: datetime | None = None,
) -> PolicyDecision:
    """Decides for each recording.

    Args:
        gate: the gate to pass.
        agreement: the one in force.
        consents: the records that count, as `read_consents` gives them. Whoever has one for a recording is asked, besides those
            given. At ingest, where no record can exist yet, standing consent counts.
        recordings: recording id -> contributors; of a dataset (`contributors_by_recording`) or a release
            (`release_standing.list_used_recordings`) also what parts of it are used.
        standing: as `read_standing` gives it; needed at ingest.
        now: the moment at which consent must live, with time zone; None: the present one.
    """
    refused, moment = {}, now or datetime.now(UTC)
    words, excepted = _Words(agreement, consents, standing, moment), collect_excepted(consents)
    if gate in _OF_RELEASES:
        excepted = drop_graced(excepted, moment)
    for recording, contributors in list_heard(consents, recordings).items():
        reasons = (
            *_list_objections(gate, words, recording, contributors),
            *_list_excepted(gate, excepted, recording, recordings[recording]),
        )
        if reasons:
            refused[recording] = reasons
    return PolicyDecision(gate, refused)


def require_permission(
    store: Store, gate: Gate, recordings: Mapping[Digest, Iterable[str]], *, now: datetime | None = None
) -> Agreement:
    """Decides with the store's agreement and consents, and returns the agreement. `now`: as of `decide_policy`.

    Raises AgreementError: the store has none, or it cannot be read. Raises ConsentError, with the reasons: somebody has not agreed, a
    record cannot be read, or no recording is named.
    """
    agreement = read_current_agreement(store)
    if agreement is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="ingest with --agreement agreement.toml first")
    if not recordings and gate != "ingest":
        cure = "name the recordings that it was made of"
        raise ConsentError("no recording is named, so nobody can be asked", where=f"gate {gate}", cure=cure)
    consents, standing = read_consents(store, recordings), read_standing(store)
    decision = decide_policy(gate, agreement, consents, recordings, standing=standing, now=now)
    if not decision.is_allowed:
        raise ConsentError(
            f"{len(decision.refused)} of {len(recordings)} recordings may not pass: " + "; ".join(decision.reasons[:12]),
            where=f"gate {gate}",
            cure="ask the members named for their consent, or leave those recordings out",
        )
    return agreement


@dataclass(frozen=True)
class _Words:
    """Everything that was said, and the moment at which it must count."""

    agreement: Agreement
    consents: Consents
    standing: Standing
    now: datetime


def _list_objections(gate: Gate, words: _Words, recording: Digest, contributors: tuple[str, ...]) -> Iterator[str]:
    need, agreement = REQUIRED_USES[gate], words.agreement
    if need not in agreement.allowed_uses:
        yield f"the agreement does not allow to {need}"
    if not contributors:
        yield "nobody is named as contributor"
    if len(contributors) > MOST_CONTRIBUTORS:
        yield f"{len(contributors)} contributors are named, {MOST_CONTRIBUTORS} are the most"
        return
    for contributor in contributors:
        member = agreement.find_member(contributor)
        if member is None:
            meant = suggest_member(agreement, contributor)
            yield f"{contributor[:64]!r} is no member in the agreement{f': did you mean {meant!r}?' if meant else ''}"
        elif member.left:
            yield f"{contributor} has left the group"
        elif (recording, contributor) in words.consents or gate != "ingest":
            yield from _list_missing(need, words, recording, contributor)
        elif not find_standing(words.standing, agreement, contributor).agrees_to(need, words.now):
            yield f"{contributor} has not agreed to {need}"


def _list_excepted(gate: Gate, excepted: Excepted, recording: Digest, given: Iterable[str]) -> Iterator[str]:
    """What players have left out of a recording, and a dataset or a release uses all the same."""
    if recording not in excepted or not isinstance(given, UsedRecording):
        return
    for start_s, end_s in given.parts:
        touched = find_excepted(excepted, recording, start_s, end_s)
        if touched:
            uses = "the release was made with it: train again" if gate in _OF_RELEASES else "the dataset uses it: make a new one"
            yield f"{describe_excepted(*touched)} (recording {recording[:12]}), and {uses}"
            return


def _list_missing(need: Use, words: _Words, recording: Digest, contributor: str) -> Iterator[str]:
    """What a contributor has not agreed to: the recording itself, or those with the same sound that their record follows."""
    waiting, seen = [recording], set[Digest]()
    while waiting:
        asked = waiting.pop()
        if asked in seen:
            continue
        seen.add(asked)
        consent = words.consents.get((asked, contributor))
        if consent is None or (consent.heard and not consent.agrees_to(need, words.now)):
            like = consent.follows[:1] if consent else ()
            same = f" of recording {asked[:12]}, which sounds the same" if asked != recording else ""
            because = f": not named, but it sounds like recording {like[0][:12]}" if like else ""
            unreadable = f": {consent.basis}" if consent and consent.basis.startswith(UNREADABLE) else ""
            ended = consent.find_end(need) if consent and need in consent.uses else None
            if ended:
                yield f"{contributor}'s consent to {need}{same} ended on {ended:%Y-%m-%d}"
            else:
                yield f"{contributor} has not agreed to {need}{same}{because}{unreadable}"
            return
        waiting += consent.follows if consent.heard else ()
