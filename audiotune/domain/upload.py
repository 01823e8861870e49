"""An upload: files that a member uploaded in the studio, with the member's information about them. The bytes are blobs.

The record's key is under `inbox/`. Ingest reads it by the source `upload:ID`, so that the bytes are stored only once.
"""

from __future__ import annotations

import re

from pydantic import Field, ValidationError

from audiotune.domain.frozen_model import FrozenModel
from audiotune.errors import NotInStoreError, SourceError
from audiotune.store.layout import INBOX
from audiotune.store.port import Store

SOURCE_PREFIX = "upload:"
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class UploadedFile(FrozenModel):
    """One file of an upload. `size` in bytes."""

    name: str
    blob: str
    size: int


class Upload(FrozenModel):
    """The record of an upload.

    Attributes:
        id: sorts by time.
        uploaded_by: member id.
        contributors: member ids heard in all of the files.
    """

    id: str
    uploaded_by: str
    contributors: tuple[str, ...] = Field(min_length=1)
    session: str = Field(default="", max_length=200)
    instrument: str = Field(default="", max_length=200)
    licence: str = Field(default="", max_length=200)
    files: tuple[UploadedFile, ...] = Field(min_length=1)

    @property
    def key(self) -> str:
        return INBOX.key(self.id, "upload.json")

    @property
    def source(self) -> str:
        """The name of this upload as a source of `ingest`."""
        return f"{SOURCE_PREFIX}{self.id}"


def read_upload(store: Store, id: str) -> Upload:
    """The record of an upload. Raises SourceError, StoreError."""
    if not _ID.fullmatch(id):
        raise SourceError(f"{id!r} is no upload", cure="name an upload as the studio's Upload page does")
    key = INBOX.key(id, "upload.json")
    try:
        return Upload.model_validate_json(store.get(key))
    except NotInStoreError:
        raise SourceError(
            "the store has no such upload", where=f"{key} ({store.url})", cure="is this the studio's store?"
        ) from None
    except ValidationError as e:
        raise SourceError("the record of the upload is damaged", where=key, cure="upload the files again") from e
