"""Parts of recordings that a player leaves out: segments that touch one are in no dataset, and releases made of one may not play."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from audiotune.domain.recording import Digest
from audiotune.domain.segment import Segment
from audiotune.errors import SettingsError
from audiotune.governance.consent_record import Consent, Consents, ExceptedPart, RecordingPart
from audiotune.governance.ledger.state import GovernanceState

Excepted = Mapping[Digest, Sequence[tuple[str, ExceptedPart]]]


def collect_excepted(consents: Consents) -> Excepted:
    """Recording -> (player, part) of everybody who is heard in it; only recordings of which something is left out."""
    found: dict[Digest, list[tuple[str, ExceptedPart]]] = {}
    for (recording, who), record in consents.items():
        if record.excepted and record.heard:
            found.setdefault(recording, []).extend((who, part) for part in record.excepted)
    return {recording: sorted(parts, key=lambda one: (one[0], one[1].start_s)) for recording, parts in found.items()}


def find_excepted(excepted: Excepted, recording: Digest, start_s: float, end_s: float) -> tuple[str, ExceptedPart] | None:
    """The first part that a half-open time range of a recording touches, and whose it is; None for none."""
    parts = excepted.get(recording, ())
    return next(((who, part) for who, part in parts if start_s < part.end_s and end_s > part.start_s), None)


def split_excepted(consents: Consents, segments: Iterable[Segment]) -> tuple[list[Segment], list[tuple[Segment, str]]]:
    """The segments that touch no part that was left out, and the others with the reason."""
    excepted, kept, left_out = collect_excepted(consents), [], []
    for segment in segments:
        touched = find_excepted(excepted, segment.recording, segment.start_s, segment.start_s + segment.duration_s)
        if touched:
            left_out.append((segment, describe_excepted(*touched)))
        else:
            kept.append(segment)
    return kept, left_out


def describe_excepted(who: str, part: ExceptedPart) -> str:
    since = f", since {part.since:%Y-%m-%d}" if part.since else ""
    return f"{who} leaves {part.start_s:g} to {part.end_s:g} s of it out{since}"


def drop_graced(excepted: Excepted, now: datetime) -> Excepted:
    """Without parts that releases may hold until a later day."""
    kept = {recording: [one for one in parts if not (one[1].ends and now < one[1].ends)] for recording, parts in excepted.items()}
    return {recording: parts for recording, parts in kept.items() if parts}


def parse_part(start: str, end: str) -> RecordingPart:
    """A part as people write it, in seconds or as in 1:05.5. Raises SettingsError."""
    try:
        return RecordingPart(start_s=_parse_time_s(start), end_s=_parse_time_s(end))
    except ValueError:
        cure = "write seconds, or minutes and seconds as in 1:05.5, and let it end after its start"
        raise SettingsError(f"{start!r} to {end!r} is no part of a recording", cure=cure) from None


def _parse_time_s(text: str) -> float:
    minutes, _, seconds = text.strip().rpartition(":")
    return round(60 * float(minutes or 0) + float(seconds), 3)


def find_own_record(state: GovernanceState, recording: Digest, member: str) -> Consent | None:
    """What a member agreed to for a recording in which they are heard."""
    record = state.consents.get(recording, {}).get(member)
    return record if record and record.heard else None
