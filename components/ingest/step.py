"""Checks, describes and stores recordings. A recording that was described before is not decoded again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import ValidationError

from audiotune.audio.fingerprint import FingerprintIndex, FingerprintWords, Match
from audiotune.domain import manifest as manifests
from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Digest, Likeness, Recording
from audiotune.errors import AgreementError, AudioTuneError, ConsentError, NotInStoreError, SourceError, StoreError
from audiotune.governance import (
    Agreement,
    decide_policy,
    load_agreement,
    read_consents,
    read_current_agreement,
)
from audiotune.governance.writer import GovernanceWriter, open_governance_writer
from audiotune.reporting.progress import ProgressCallback
from audiotune.store import Store, compute_digest
from audiotune.store.layout import DESCRIPTIONS, RECORDINGS
from components.executor import StepResult
from components.ingest.file_description import FileDescription, describe_file
from components.ingest.open_source import open_source
from components.ingest.recording_facts import RecordingFacts, split_member_ids
from components.ingest.report import IngestReport, render_report
from components.ingest.settings import Settings
from components.ingest.sidecars import SidecarReader
from components.ingest.sources import GIB, RecordingSource, may_be_sound

_METHOD = 1  # raise it when the same bytes get another description; stored descriptions are then not used


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
    refused: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)  # (name, name of the recording with the same bytes)
    unused: list[tuple[str, str]] = field(default_factory=list)  # (table or sidecar, what it says that is about no recording)
    reused: int = 0
    decoded_s: float = 0.0


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
    intake = IngestResult(_require_agreement(settings.agreement, store, governance), governance)
    with tempfile.TemporaryDirectory(prefix="ingest-") as scratch:
        source = open_source(settings, Path(scratch), store)
        intake.refused += [(printable_name(name), reason) for name, reason in source.refused]
        _ingest_files(source, settings, store, intake, _limit_progress(progress))
    if settings.likenesses and intake.rows:
        progress(0.95, "comparing sounds")
        _find_likenesses(intake, store)
    subtitle = f"{settings.source} · agreement of {intake.agreement.group}, version {intake.agreement.version}"
    page = IngestReport(subtitle, list(intake.rows.values()), intake.refused, intake.duplicates, intake.reused, intake.unused)
    report.write_text(render_report(page), encoding="utf-8")
    if not intake.rows:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in intake.refused) or "it holds no sound files"
        raise SourceError(f"nothing was accepted ({reasons[:1500]})", where=settings.source, cure="mend what is named")
    rows = Manifest("recordings", list(intake.rows.values()), {"source": settings.source})
    key = rows.save(store)
    rows.write(recordings)
    progress(1.0, f"{len(intake.rows)} recordings, {len(intake.refused)} refused")
    return StepResult({"recordings_key": key}, _compute_metrics(intake), {"recordings": {"rows": len(intake.rows), "key": key}})


def _require_agreement(path: str, store: Store, governance: GovernanceWriter) -> Agreement:
    if path:
        agreement = load_agreement(Path(path).expanduser())
        governance.publish_agreement(agreement)
        return agreement
    current = read_current_agreement(store)
    if current is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="pass --agreement agreement.toml once")
    return current


def _ingest_files(
    source: RecordingSource, settings: Settings, store: Store, intake: IngestResult, progress: ProgressCallback
) -> None:
    names = [name for name in source.files if may_be_sound(name)]
    sidecars = SidecarReader(source)
    for i, name in enumerate(names):
        shown = printable_name(name)

        def report_progress(share: float, i: int = i, shown: str = shown) -> None:
            progress(0.95 * (i + share) / len(names), f"listening to {shown}")

        report_progress(0.0)
        try:
            with source.open(name) as path:
                _ingest_file(path, shown, sidecars.facts_about(name), settings, store, intake, report_progress)
        except StoreError:
            raise  # unreachable or full: the next file would fail as well
        except AudioTuneError as e:
            intake.refused.append((shown, _refusal_reason(e)))
        except OSError as e:
            intake.refused.append((shown, f"it cannot be read: {e.strerror or e}"))
    intake.unused += [(printable_name(name), printable_name(words)) for name, words in sidecars.list_unused()]


def _ingest_file(
    path: Path,
    name: str,
    facts: RecordingFacts,
    settings: Settings,
    store: Store,
    intake: IngestResult,
    progress: Callable[[float], None],
) -> None:
    """Imports one file: checks it, stores its bytes and their description, then adds the row."""
    if path.stat().st_size > settings.largest_file_gib * GIB:
        raise SourceError("it is larger than largest_file_gib")
    facts = facts.with_defaults(_facts_from_settings(settings))
    licence = facts.licence or intake.agreement.recordings_licence
    id = compute_digest(path)
    if id in intake.rows:
        intake.duplicates.append((name, intake.rows[id].name))
        return
    _require_consent(id, facts.contributors, licence, store, intake.agreement)
    known = _load_description(id, store)
    if known:
        intake.reused += 1
    else:
        known = _describe_and_store(path, id, settings, store, progress)
        intake.decoded_s += known.frames / known.sample_rate_hz
    intake.governance.record_standing_consents(intake.agreement, id, facts.contributors)
    intake.rows[id] = Recording(
        id=id,
        name=name,
        source=settings.source,
        contributors=facts.contributors,
        licence=licence,
        session=facts.session,
        instrument=facts.instrument,
        words=facts.words,
        **dict(known),
    )


def _facts_from_settings(settings: Settings) -> RecordingFacts:
    return RecordingFacts(
        split_member_ids(settings.contributors), settings.licence.strip(), settings.session.strip(), settings.instrument.strip()
    )


def _require_consent(id: Digest, contributors: tuple[str, ...], licence: str, store: Store, agreement: Agreement) -> None:
    reasons = list(decide_policy("ingest", agreement, read_consents(store, [id]), {id: contributors}).reasons)
    if licence not in (agreement.recordings_licence, *agreement.accepted_licences):
        reasons.append(f"the licence {licence!r} is not accepted by the agreement")
    if reasons:
        raise ConsentError("; ".join(reasons))


def _load_description(id: Digest, store: Store) -> StoredDescription | None:
    try:
        known = StoredDescription.model_validate_json(store.get(_description_key(id)))
    except (NotInStoreError, ValidationError):
        return None
    return known if store.exists(known.blob) and store.exists(known.fingerprint) else None


def _describe_and_store(
    path: Path, id: Digest, settings: Settings, store: Store, progress: Callable[[float], None]
) -> StoredDescription:
    described, suffix, words = describe_file(path, settings, progress)
    blob = store.put_blob(path, suffix)  # the large one first: where it finds no room, nothing lies around
    known = StoredDescription(blob=blob, fingerprint=store.put_blob(words.astype("<u4").tobytes(), ".fp"), **dict(described))
    if id not in known.blob:
        raise SourceError("the file changed while it was read", cure="wait until it is finished and run again")
    store.put(_description_key(id), known.model_dump_json().encode())
    return known


def _description_key(id: Digest) -> str:
    return DESCRIPTIONS.key(str(_METHOD), f"{id}.json")


def _find_likenesses(intake: IngestResult, store: Store) -> None:
    """Finds every recording's likenesses in this source and in the store."""
    index: FingerprintIndex[Digest] = FingerprintIndex()
    prints: dict[Digest, FingerprintWords] = {}
    for row in (*_load_earlier_recordings(store, intake.rows.keys()), *intake.rows.values()):
        if not row.fingerprint:
            continue  # rows of other programs have no fingerprint
        try:
            prints[row.id] = np.frombuffer(store.fetch(row.fingerprint).read_bytes(), "<u4").astype(np.uint32)
        except NotInStoreError:
            continue  # withdrawn
        index.add(row.id, prints[row.id])
    for id, row in intake.rows.items():
        likenesses = (_likeness_from_match(other, match) for other, match in index.find(prints[id]) if other != id)
        intake.rows[id] = row.model_copy(update={"likenesses": tuple(likenesses)})


def _load_earlier_recordings(store: Store, new: AbstractSet[Digest]) -> list[Recording]:
    rows: dict[Digest, Recording] = {}
    for entry in store.list(RECORDINGS.path):
        rows |= {row.id: row for row in manifests.fetch_manifest(store, entry.key, "recordings", Recording).rows}
    return [rows[id] for id in sorted(rows.keys() - new)]


def _likeness_from_match(other: Digest, match: Match) -> Likeness:
    return Likeness(
        recording=other,
        kind="same_sound" if match.is_whole else "overlap",
        bit_error_rate=round(match.bit_error_rate, 4),
        start_s=round(match.start_s, 3),
        other_start_s=round(match.other_start_s, 3),
        duration_s=round(match.duration_s, 3),
    )


def _compute_metrics(intake: IngestResult) -> dict[str, float]:
    rows = intake.rows.values()
    return {
        "recordings": len(rows),
        "refused": len(intake.refused),
        "same_bytes": len(intake.duplicates),
        "unused": len(intake.unused),
        "reused": intake.reused,
        "seconds": round(sum(row.duration_s for row in rows), 3),
        "with_likeness": sum(bool(row.likenesses) for row in rows),
        "clipped": sum(row.description.clipped_share > 0 for row in rows),
        "with_dropouts": sum(row.description.dropouts > 0 for row in rows),
    }


def _refusal_reason(e: AudioTuneError) -> str:
    """The error's message and cure. Only errors of sidecars include the file, since the recording's name is shown already."""
    place = f" ({printable_name(e.where)})" if isinstance(e, SourceError) and e.where else ""
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
