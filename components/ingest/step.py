"""Checks, describes and stores recordings. A recording that was described before is not decoded again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from audiotune.audio.file_kinds import recognise_file
from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Digest, Recording
from audiotune.domain.waiting_sound import WaitingFacts
from audiotune.errors import AgreementError, AudioTuneError, ConsentError, NotInStoreError, SoundError, SourceError, StoreError
from audiotune.governance import (
    Agreement,
    decide_policy,
    list_heard,
    load_agreement,
    read_consents,
    read_current_agreement,
    read_standing,
)
from audiotune.governance.agreement import is_earlier_version
from audiotune.governance.suggestions import suggest_licence
from audiotune.governance.waiting import find_unasked
from audiotune.governance.writer import GovernanceWriter, open_governance_writer
from audiotune.reporting.progress import ProgressCallback
from audiotune.store import Store, compute_digest
from audiotune.store.layout import DESCRIPTIONS
from components.executor import StepResult
from components.ingest.addresses import hide_secrets
from components.ingest.file_description import FileDescription, describe_file
from components.ingest.foreign_recordings import require_decision_on
from components.ingest.likenesses import KnownRecordings, find_earlier_people, find_likenesses, load_known_recordings
from components.ingest.open_source import open_source
from components.ingest.recording_facts import RecordingFacts, check_contributors, split_member_ids
from components.ingest.report import IngestReport, render_report
from components.ingest.settings import Settings
from components.ingest.sidecars import SidecarReader
from components.ingest.sources import GIB, RecordingSource, may_be_sound
from components.ingest.waiting_files import Uploader, end_due_waiting, find_uploader, hold_file, open_agreed

_NAMED_FILES = 20
_METHOD = 2  # raise it when the same bytes get another description; stored descriptions are then not used
_REASONS = 12  # of a refusal that are told
_WAITING_CURE = (
    "They agree, or an owner decides who is heard in it: "
    "python -m audiotune.access recording decide {id} --heard MEMBER ... --by OWNER --because WORDS"
)


class StoredDescription(FileDescription):
    """The result of one decode, stored under `descriptions/` for later runs."""

    blob: str
    fingerprint: str


@dataclass
class IngestResult:
    """The files of a source: imported, refused, or with the same bytes as another."""

    agreement: Agreement
    governance: GovernanceWriter
    rows: dict[Digest, Recording] = field(default_factory=dict)
    named: dict[Digest, tuple[str, ...]] = field(default_factory=dict)  # everybody whom this source names for the same bytes
    refused: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)  # (name, name of the recording with the same bytes)
    waiting: list[tuple[str, str]] = field(default_factory=list)  # (name, whose word it waits for, and why)
    held: dict[Digest, str] = field(default_factory=dict)  # those of them that are not taken in yet: whose word they wait for
    uploader: Uploader = field(default_factory=Uploader)
    unused: list[tuple[str, str]] = field(default_factory=list)  # (table or sidecar, what it says that is about no recording)
    reused: int = 0
    decoded_s: float = 0.0
    known: KnownRecordings | None = None

    def find_known(self, store: Store) -> KnownRecordings:
        """Every recording that was taken in before; read when somebody first asks."""
        self.known = self.known or load_known_recordings(store)
        return self.known


def run_step(
    settings: Settings, store: Store, progress: ProgressCallback, *, recordings: Path, report: Path, metrics: Path
) -> StepResult:
    """Imports the files of the source, one by one.

    Raises:
        SourceError: the source cannot be read, or no file was accepted; the message lists the reasons.
        AgreementError: no agreement is in force, or the given one does not fit.
        StoreError: the store is unreachable or full; finished descriptions are kept.
    """
    governance = open_governance_writer(store)
    intake = IngestResult(
        _require_agreement(settings.agreement, store, governance), governance, uploader=find_uploader(settings.source, store)
    )
    with tempfile.TemporaryDirectory(prefix="ingest-") as scratch:
        source = open_source(settings, Path(scratch), store)
        intake.refused += [(printable_name(name), reason) for name, reason in source.refused]
        _ingest_files(source, settings, store, intake, _limit_progress(progress))
        _ingest_agreed(Path(scratch), settings, store, intake)
    if intake.rows:
        progress(0.95, "comparing sounds")
        _record_people(intake, store, keep_likenesses=settings.likenesses)
    subtitle = f"{hide_secrets(settings.source)} · agreement of {intake.agreement.group}, version {intake.agreement.version}"
    rows = list(intake.rows.values())
    page = IngestReport(subtitle, rows, intake.refused, intake.duplicates, intake.reused, intake.unused, intake.waiting)
    report.write_text(render_report(page), encoding="utf-8")
    if not intake.rows:
        held = [f"{name}: {words}" for name, words in intake.waiting]
        reasons = "; ".join([*held, *(f"{name}: {reason}" for name, reason in intake.refused)]) or "it holds no sound files"
        raise SourceError(
            f"nothing was accepted ({reasons[:1500]})", where=hide_secrets(settings.source), cure="mend what is named"
        )
    taken_in = Manifest("recordings", rows, {"source": hide_secrets(settings.source)})
    key = taken_in.save(store)
    taken_in.write(recordings)
    end_due_waiting(store, intake.governance)
    waiting = f", {len(intake.held)} waiting for somebody's word" if intake.held else ""
    progress(1.0, f"{len(intake.rows)} recordings, {len(intake.refused)} refused{waiting}")
    return StepResult({"recordings_key": key}, _compute_metrics(intake), {"recordings": {"rows": len(intake.rows), "key": key}})


def _require_agreement(path: str, store: Store, governance: GovernanceWriter) -> Agreement:
    agreement = load_agreement(Path(path).expanduser()) if path else None
    if agreement and not is_earlier_version(store, agreement):  # of a file that was in force once, the later version counts
        governance.publish_agreement(agreement)
    current = read_current_agreement(store)
    if current is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="pass --agreement agreement.toml once")
    return current


def _ingest_files(
    source: RecordingSource, settings: Settings, store: Store, intake: IngestResult, progress: ProgressCallback
) -> None:
    names = [name for name in source.files if may_be_sound(name)]
    if not names:
        intake.refused += [(printable_name(name), _describe_other_kind(source, name)) for name in source.files[:_NAMED_FILES]]
    sidecars = SidecarReader(source, [word for member in intake.agreement.members for word in (member.id, member.name)])
    for i, name in enumerate(names):
        shown = printable_name(name)

        def report_progress(share: float, i: int = i, shown: str = shown) -> None:
            progress(0.95 * (i + share) / len(names), f"listening to {shown}")

        report_progress(0.0)
        try:
            with source.open(name) as path:
                facts = sidecars.facts_about(name)
                _ingest_file(path, shown, facts, settings, store, intake, report_progress, hide_secrets(settings.source))
        except StoreError:
            raise  # unreachable or full: the next file would fail as well
        except AudioTuneError as e:
            intake.refused.append((shown, _refusal_reason(e)))
        except OSError as e:
            intake.refused.append((shown, f"it cannot be read: {e.strerror or e}"))
    intake.unused += [(printable_name(name), printable_name(words)) for name, words in sidecars.list_unused()]


def _describe_other_kind(source: RecordingSource, name: str) -> str:
    """What a file is that is no recording by its name; said where a source holds nothing else."""
    try:
        with source.open(name) as path:
            kind = recognise_file(path)
    except (AudioTuneError, OSError) as e:
        return str(e)
    return f"this is {kind.words}, no sound file{f'; {kind.cure}' if kind.cure else ''}"


def _ingest_agreed(scratch: Path, settings: Settings, store: Store, intake: IngestResult) -> None:
    """Imports what waited, from whatever source, and what everybody in it has agreed to keep by now."""
    for waits, path, known, facts in open_agreed(store, scratch):
        if waits.recording in intake.rows or waits.recording in intake.find_known(store).rows:
            continue
        try:
            _ingest_file(path, known.name, facts, settings, store, intake, lambda share: None, known.source)
        except StoreError:
            raise
        except AudioTuneError as e:
            intake.refused.append((known.name, _refusal_reason(e)))


def _ingest_file(
    path: Path,
    name: str,
    facts: RecordingFacts,
    settings: Settings,
    store: Store,
    intake: IngestResult,
    progress: Callable[[float], None],
    source: str,
) -> None:
    """Imports one file: checks it, stores its bytes and their description, then adds the row. Whom it names is never forgotten."""
    if path.stat().st_size > settings.largest_file_gib * GIB:
        raise SourceError("it is larger than largest_file_gib")
    facts = facts.with_defaults(_facts_from_settings(settings))
    licence = facts.licence or intake.agreement.recordings_licence
    id = compute_digest(path)
    people = intake.named[id] = tuple(dict.fromkeys((*intake.named.get(id, ()), *facts.contributors)))
    check_contributors(people, "")
    said = WaitingFacts(
        name=name,
        source=source,
        licence=licence,
        session=facts.session,
        instrument=facts.instrument,
        words=facts.words,
        labels=facts.labels,
    )
    try:
        is_licensed = not _describe_licence_fault(licence, intake.agreement)
        if is_licensed and not _load_description(id, store):
            require_decision_on(id, f"{name}, from {source}", licence, intake.agreement, intake.governance)
        if is_licensed and find_unasked(intake.agreement, read_consents(store, [id]), id, people, read_standing(store)):
            _hold_file(path, id, people, said, store, intake)
        elif id in intake.rows:
            intake.duplicates.append((name, intake.rows[id].name))
            intake.rows[id] = intake.rows[id].model_copy(update={"contributors": people})
        else:
            _require_consent(id, people, licence, store, intake.agreement)
            intake.rows[id] = _describe_recording(path, id, people, said, settings, store, intake, progress)
    except (ConsentError, SoundError, SourceError):
        members = [who for who in people if intake.agreement.find_member(who)]
        intake.governance.record_standing_consents(intake.agreement, id, members)
        raise


def _hold_file(path: Path, id: Digest, people: tuple[str, ...], said: WaitingFacts, store: Store, intake: IngestResult) -> None:
    """Lets a file wait for who is named in it and asks for each recording; also one of which the first name agreed."""
    is_known = id in intake.find_known(store).rows
    words = hold_file(path, id, people, said, intake.uploader, is_known, store, intake.agreement, intake.governance)
    intake.rows.pop(id, None)
    if id not in intake.held:
        intake.waiting.append((said.name, words))
    intake.held[id] = words


def _describe_recording(
    path: Path,
    id: Digest,
    people: tuple[str, ...],
    said: WaitingFacts,
    settings: Settings,
    store: Store,
    intake: IngestResult,
    progress: Callable[[float], None],
) -> Recording:
    """The row of a recording, whose bytes and description are stored by then."""
    known = _load_description(id, store)
    if known:
        _require_whole(known, settings)
        intake.reused += 1
    else:
        known = _describe_and_store(path, id, settings, store, progress)
        intake.decoded_s += known.frames / known.sample_rate_hz
    return Recording(id=id, contributors=people, **dict(said), **dict(known))


def _facts_from_settings(settings: Settings) -> RecordingFacts:
    return RecordingFacts(
        split_member_ids(settings.contributors), settings.licence.strip(), settings.session.strip(), settings.instrument.strip()
    )


def _require_consent(id: Digest, contributors: tuple[str, ...], licence: str, store: Store, agreement: Agreement) -> None:
    consents, standing = read_consents(store, [id]), read_standing(store)
    reasons = list(decide_policy("ingest", agreement, consents, {id: contributors}, standing=standing).reasons)
    if fault := _describe_licence_fault(licence, agreement):
        reasons.append(fault)
    if reasons:
        raise ConsentError(_join_reasons(reasons))


def _describe_licence_fault(licence: str, agreement: Agreement) -> str:
    """Why the agreement does not accept a licence; empty where it does."""
    accepted = dict.fromkeys((agreement.recordings_licence, *agreement.accepted_licences))
    if licence in accepted:
        return ""
    meant = suggest_licence(agreement, licence)
    cure = f"did you mean {meant!r}?" if meant else f"it accepts {', '.join(accepted)}"
    return f"the licence {licence!r} is not accepted by the agreement: {cure}"


def _record_people(intake: IngestResult, store: Store, *, keep_likenesses: bool) -> None:
    """Records who is heard in each recording: who is named, was named before, or is heard in what sounds the same and came earlier.

    What may not even be stored is refused, what waits for somebody's word is listed. Likenesses are always looked for, also where they
    are not kept: the same take, only louder, must not come in without the people who are heard in it.
    """
    known = load_known_recordings(store)  # anew: other runs took recordings in meanwhile
    likenesses = find_likenesses(store, intake.rows, known)
    before: dict[Digest, Recording] = {}
    for id, row in list(intake.rows.items()):
        earlier = find_earlier_people(id, likenesses[id], known, before)
        before[id] = row
        try:
            intake.governance.record_standing_consents(intake.agreement, id, row.contributors, earlier)
            consents = read_consents(store, [id])
            reasons = decide_policy("ingest", intake.agreement, consents, {id: row.contributors}).reasons
            if reasons:
                raise ConsentError(_join_reasons(reasons), cure=_WAITING_CURE.format(id=id))
        except ConsentError as e:
            intake.refused.append((row.name, _refusal_reason(e)))
            del intake.rows[id]
            continue
        heard = list_heard(consents, {id: row.contributors})[id]
        kept = likenesses[id] if keep_likenesses else ()
        intake.rows[id] = row.model_copy(update={"contributors": heard, "likenesses": kept})
        unasked = [who for who in heard if who not in row.contributors and consents[id, who].follows]
        if unasked:
            words = f"sounds like recordings in which {', '.join(unasked)} is heard, who is not named. "
            intake.waiting.append((row.name, words + _WAITING_CURE.format(id=id)))


def _join_reasons(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return "; ".join(reasons[:_REASONS]) + more


def _load_description(id: Digest, store: Store) -> StoredDescription | None:
    try:
        known = StoredDescription.model_validate_json(store.get(_description_key(id)))
    except (NotInStoreError, ValidationError):
        return None
    return known if store.exists(known.blob) and store.exists(known.fingerprint) else None


def _require_whole(described: FileDescription, settings: Settings) -> None:
    if described.ends_early and settings.refuse_cut:
        raise SoundError(f"the file is cut short: it {described.notes[0]}", cure="copy it again, or set refuse_cut to false")


def _describe_and_store(
    path: Path, id: Digest, settings: Settings, store: Store, progress: Callable[[float], None]
) -> StoredDescription:
    described, suffix, words = describe_file(path, settings, progress)
    _require_whole(described, settings)
    blob = store.put_blob(path, suffix)  # the large one first: where it finds no room, nothing lies around
    known = StoredDescription(blob=blob, fingerprint=store.put_blob(words.astype("<u4").tobytes(), ".fp"), **dict(described))
    if id not in known.blob:
        raise SourceError("the file changed while it was read", cure="wait until it is finished and run again")
    store.put(_description_key(id), known.model_dump_json().encode())
    return known


def _description_key(id: Digest) -> str:
    return DESCRIPTIONS.key(str(_METHOD), f"{id}.json")


def _compute_metrics(intake: IngestResult) -> dict[str, float]:
    rows = intake.rows.values()
    return {
        "recordings": len(rows),
        "refused": len(intake.refused),
        "waiting": len(intake.held),
        "same_bytes": len(intake.duplicates),
        "unused": len(intake.unused),
        "reused": intake.reused,
        "seconds": round(sum(row.duration_s for row in rows), 3),
        "with_likeness": sum(bool(row.likenesses) for row in rows),
        "ends_early": sum(row.ends_early for row in rows),
        "clipped": sum(row.description.clipped_share > 0 for row in rows),
        "with_dropouts": sum(row.description.dropouts > 0 for row in rows),
    }


def _refusal_reason(e: AudioTuneError) -> str:
    """The error's message and cure. Errors of sidecars and consent records name them; the recording's name is shown already."""
    place = f" ({printable_name(e.where)})" if isinstance(e, SourceError | ConsentError) and e.where else ""
    return f"{e.what}{place}{f'; {e.cure}' if e.cure else ''}"


def printable_name(name: str) -> str:
    """A name without control and invalid characters, at most 300 characters long."""
    whole = name.encode("utf-8", "replace").decode()
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in whole)
    return shown if len(shown) <= 300 else f"{shown[:200]}…{PurePosixPath(shown).suffix[:20]}"


def _limit_progress(progress: ProgressCallback, every_s: float = 2.0) -> ProgressCallback:
    """Reports progress at most every two seconds: ten thousand short sounds must not write as many lines."""
    last = -every_s

    def report_progress(share: float, words: str) -> None:
        nonlocal last
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            progress(share, words)

    return report_progress
