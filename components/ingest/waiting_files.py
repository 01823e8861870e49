"""Files that wait for somebody's word: brought in but not taken in, and taken in when everybody has agreed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from audiotune.audio.decode import open_sound
from audiotune.domain.recording import Digest
from audiotune.domain.upload import SOURCE_PREFIX, read_upload
from audiotune.domain.waiting_sound import (
    WaitingFacts,
    download_waiting_sound,
    find_recording,
    is_waiting_key,
    read_waiting_facts,
    store_waiting_sound,
)
from audiotune.errors import AudioTuneError
from audiotune.governance import Agreement
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.waiting import list_agreed
from audiotune.governance.waiting_record import WaitingRecording, join_names
from audiotune.governance.writer import GovernanceWriter
from audiotune.store import Store
from components.ingest.recording_facts import RecordingFacts


def hold_file(
    path: Path,
    id: Digest,
    people: tuple[str, ...],
    facts: WaitingFacts,
    uploader: Uploader,
    is_known: bool,
    store: Store,
    agreement: Agreement,
    governance: GovernanceWriter,
) -> str:
    """Asks the people of a file, whose bytes wait until then. Returns whose word it waits for, in words.

    Args:
        is_known: the same bytes were taken in before; they are not stored a second time.

    Raises SoundError: it is no sound.
    """
    with open_sound(path) as sound:
        next(sound.blocks, None)
    waits = open_ledger(store).read_state().waiting.get(id)
    is_held = is_known or (waits is not None and not waits.outcome)
    key = "" if is_held else uploader.waiting.get(id) or store_waiting_sound(store, path, id, facts)
    asked = governance.hold_recording(agreement, id, people, key, uploader.member)
    who = join_names(asked, {member.id: member.name for member in agreement.members})
    if is_known:
        return f"{who} is named only now, and asked. Until then it is in no training, no release and no generated sound."
    waits = open_ledger(store).read_state().waiting[id]
    return (
        f"waits for {who}. They hear it in the studio, under Agreement, My recordings, and answer there. "
        f"Without an answer until {waits.until[:10]} it is deleted."
    )


@dataclass(frozen=True)
class Uploader:
    """Who brought a source in with the studio; empty for other sources. `waiting`: recording -> key where its bytes wait already."""

    member: str = ""
    waiting: Mapping[Digest, str] = field(default_factory=dict)


def find_uploader(source: str, store: Store) -> Uploader:
    """Raises SourceError: there is no such upload."""
    name = source.strip()
    if not name.startswith(SOURCE_PREFIX):
        return Uploader()
    upload = read_upload(store, name.removeprefix(SOURCE_PREFIX))
    keys = [file.blob for file in upload.files if is_waiting_key(file.blob)]
    return Uploader(upload.uploaded_by, {find_recording(key) or "": key for key in keys})


def open_agreed(store: Store, scratch: Path) -> Iterator[tuple[WaitingRecording, Path, WaitingFacts, RecordingFacts]]:
    """Recordings that everybody in them has agreed to keep: each with its bytes, valid until the next, and what was said about it.

    What was deleted or damaged in the meantime is passed over: who brought it in sees that it is gone.
    """
    state = open_ledger(store).read_state()
    for waits in list_agreed(state):
        path = scratch / f"agreed-{waits.recording}"
        try:
            facts = read_waiting_facts(store, waits.sound)
            download_waiting_sound(store, waits.sound, path)
        except (AudioTuneError, ValueError):
            path.unlink(missing_ok=True)
            continue
        people = tuple(who for who, record in state.consents[waits.recording].items() if record.heard)
        said = RecordingFacts(people, facts.licence, facts.session, facts.instrument, facts.words, facts.labels)
        yield waits, path, facts, said
        path.unlink(missing_ok=True)


def end_due_waiting(store: Store, governance: GovernanceWriter) -> None:
    """Ends what is over by now. Where that fails, the governance service or the studio does it a little later."""
    if open_ledger(store).read_state().waiting:
        with suppress(AudioTuneError):
            governance.end_due_waiting()
