"""Opens the source of recordings; its kind follows from the form of its name."""

from __future__ import annotations

from pathlib import Path

from audiotune.domain.upload import SOURCE_PREFIX, read_upload
from audiotune.errors import SourceError
from audiotune.stable_audio.hub import HuggingFace
from audiotune.store import Store, open_store
from components.ingest.addresses import hide_secrets, is_address
from components.ingest.remote_sources import HubSource, StoreSource, download_address, download_drive, parse_drive_id
from components.ingest.settings import Settings
from components.ingest.sources import RecordingSource, UploadSource, open_local


def open_source(settings: Settings, scratch: Path, store: Store) -> RecordingSource:
    """Opens `settings.source`.

    Args:
        scratch: an empty folder for downloads and unpacked files; the caller deletes it afterwards.
        store: has the uploads of the studio.

    Raises:
        SourceError: the source is empty, unknown or unreadable, or has too many files.
        StoreError: the object store cannot be read.
    """
    name = settings.source.strip()
    if not name:
        raise SourceError("no source is named", cure="pass --source with a folder, file, zip or address")
    source = _open_by_kind(name, settings, scratch, store)
    if len(source.files) > settings.most_files:
        raise SourceError(
            f"{len(source.files)} files are too many", where=hide_secrets(name), cure="split it, or raise most_files"
        )
    return source


def _open_by_kind(name: str, settings: Settings, scratch: Path, store: Store) -> RecordingSource:
    if name.startswith(SOURCE_PREFIX):
        return UploadSource(store, read_upload(store, name.removeprefix(SOURCE_PREFIX)), settings, scratch)
    if name.startswith("s3://"):
        return StoreSource(open_store(name), settings)
    if name.startswith("hf:"):
        return HubSource(name.removeprefix("hf:"), settings, scratch, HuggingFace("dataset"))
    drive_id = name.removeprefix("gdrive:") if name.startswith("gdrive:") else parse_drive_id(name)
    if drive_id:
        return open_local(download_drive(drive_id, scratch), settings, scratch)
    if is_address(name):
        return open_local(download_address(name, settings, scratch), settings, scratch)
    return open_local(Path(name.removeprefix("file://")).expanduser(), settings, scratch)
