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

from audiotune.audio.decode import open_sound
from audiotune.domain.upload import Upload, UploadedFile
from audiotune.errors import AudioTuneError, GovernanceError, SoundError
from audiotune.governance import Agreement
from audiotune.store.port import Store

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

    Raises:
        GovernanceError: no contributor is named, or one who is no member.
        AudioTuneError: a field is too long.
    """
    _check_people(said, agreement)
    kept, refused, taken = [], [], set[str]()
    for path, given in paths:
        name = _pick_unused_name(clean_file_name(given), taken)
        try:
            check_recording_file(path, name, limit_mb)
        except SoundError as e:
            refused.append(RejectedFile(given, str(e)))
            continue
        blob = store.put_blob(path, Path(name).suffix.lower())
        kept.append(UploadedFile(name=name, blob=blob, size=path.stat().st_size))
        taken.add(name)
    if not kept:
        return None, refused
    try:
        id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        upload = Upload.model_validate({"id": id, "files": tuple(kept), **said})
    except ValueError as e:
        raise AudioTuneError("a field is too long", where="session, instrument or licence", cure="keep each under 200") from e
    store.put(upload.key, upload.model_dump_json(indent=1).encode(), only_new=True)
    return upload, refused


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
