"""Stores uploads unchanged, with the people who play on them, before any step runs.

Each file is checked first; a refusal has its reason. The bytes are stored once, as blobs; the record (audiotune.domain.upload) names
them. File names are for people only and never become a path of this machine.
"""

from __future__ import annotations

import itertools
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from audiotune.audio.decode import open_sound
from audiotune.domain.upload import SOURCE_PREFIX, Upload, UploadedFile
from audiotune.domain.waiting_sound import WaitingFacts, find_recording, is_waiting_key, store_waiting_sound
from audiotune.errors import AudioTuneError, GovernanceError, SoundError
from audiotune.governance import Agreement, read_consents
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.waiting import find_unasked
from audiotune.governance.writer import GovernanceWriter
from audiotune.store.port import Store, blob_key, compute_digest

_LONGEST_NAME = 120  # letters; file systems stop at 255 bytes and names may be in any script


@dataclass(frozen=True)
class RejectedFile:
    """A file that was not stored, and why."""

    name: str
    reason: str


def check_recording_file(path: Path, name: str, limit_mb: int) -> None:
    """Raises SoundError, with a cure for musicians, for a file that cannot be a recording."""
    size = path.stat().st_size
    if size == 0:
        raise SoundError("the file is empty (0 bytes)", cure="copy it again from where it was recorded")
    if size > limit_mb * 1_000_000:
        raise SoundError(f"the file is larger than {limit_mb} MB", cure="cut the take, or bring it in from a folder or bucket")
    try:
        with open_sound(path) as file:
            next(file.blocks, None)
    except SoundError as e:
        raise SoundError(e.what, cure=e.cure) from e  # without the name of the temporary file


def store_upload(
    store: Store, paths: Sequence[tuple[Path, str]], said: Mapping[str, object], agreement: Agreement, limit_mb: int
) -> tuple[Upload | None, list[RejectedFile]]:
    """Stores the files that can be a recording; returns their record (None when every file was refused) and the refused files.

    Args:
        paths: the path of each file, and its name for people.
        said: uploaded_by, contributors, session, instrument, licence.

    What has to wait for somebody's word is stored where it can be deleted again; `ask_people` asks them.

    Raises:
        GovernanceError: no contributor is named, or one who is no member.
        AudioTuneError: a field is too long.
    """
    _check_people(said, agreement)
    id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    kept, refused, taken = [], [], set[str]()
    for path, given in paths:
        name = _pick_unused_name(clean_file_name(given), taken)
        try:
            check_recording_file(path, name, limit_mb)
        except SoundError as e:
            refused.append(RejectedFile(given, str(e)))
            continue
        key = _store_file(store, path, name, f"{SOURCE_PREFIX}{id}", said, agreement)
        kept.append(UploadedFile(name=name, blob=key, size=path.stat().st_size))
        taken.add(name)
    if not kept:
        return None, refused
    try:
        upload = Upload.model_validate({"id": id, "files": tuple(kept), **said})
    except ValueError as e:
        raise AudioTuneError("a field is too long", where="session, instrument or licence", cure="keep each under 200") from e
    store.put(upload.key, upload.model_dump_json(indent=1).encode(), only_new=True)
    return upload, refused


def _store_file(store: Store, path: Path, name: str, source: str, said: Mapping[str, object], agreement: Agreement) -> str:
    """Stores the bytes, or finds where they wait already; returns their key."""
    recording, suffix = compute_digest(path), Path(name).suffix.lower()
    state, people = open_ledger(store).read_state(), [str(who) for who in cast(Sequence[object], said["contributors"])]
    unasked = find_unasked(agreement, read_consents(store, [recording]), recording, people, state.standing)
    if not unasked or store.exists(blob_key(recording, suffix)):
        return store.put_blob(path, suffix)
    waits = state.waiting.get(recording)
    if waits and not waits.outcome:
        return waits.sound
    facts = {field: str(said.get(field, "")) for field in ("session", "instrument")}
    licence = str(said.get("licence") or agreement.recordings_licence)
    return store_waiting_sound(store, path, recording, WaitingFacts(name=name, source=source, licence=licence, **facts))


def ask_people(writer: GovernanceWriter, agreement: Agreement, upload: Upload) -> list[UploadedFile]:
    """Asks everybody whose word the files of an upload wait for; returns those that wait for nobody."""
    ready = []
    for file in upload.files:
        recording = find_recording(file.blob)
        if recording is None or not is_waiting_key(file.blob):
            ready.append(file)
        else:
            writer.hold_recording(agreement, recording, upload.contributors, file.blob, upload.uploaded_by)
    return ready


def clean_file_name(given: str) -> str:
    """A file name that stays in its folder on any machine: no path, no control letters, no leading dot or dash."""
    name = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    name = re.sub(r'[\x00-\x1f\x7f-\x9f<>:"|?*\u200b-\u200f\u202a-\u202e\u2066-\u2069]', "_", name).strip().lstrip(".-")
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, ""
    stem = stem.strip()[: _LONGEST_NAME - len(suffix) - 1] or "recording"
    while len(f"{stem}.{suffix}".encode()) > 240:
        stem = stem[:-1]
    return f"{stem}.{suffix[:12]}" if suffix else stem


def _pick_unused_name(name: str, taken: set[str]) -> str:
    stem, dot, suffix = name.rpartition(".") if "." in name else (name, "", "")
    numbered = (f"{stem} ({number}){dot}{suffix}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)


def _check_people(said: Mapping[str, object], agreement: Agreement) -> None:
    contributors = said.get("contributors")
    people = [str(id) for id in contributors] if isinstance(contributors, (list, tuple)) else []
    if not people:
        raise GovernanceError("nobody is named who plays on it", cure="choose everybody who can be heard")
    for id in (*people, str(said.get("uploaded_by"))):
        member = agreement.find_member(id)
        if member is None or member.left:
            raise GovernanceError(f"{id!r} is no member in the agreement", cure="choose from the members shown")
