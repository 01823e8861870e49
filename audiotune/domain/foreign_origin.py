"""Who made weights that came from outside the group, and under what licence. It stays with everything that is made of them."""

from __future__ import annotations

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest

ORIGIN = "origin"  # metadata of an adapter's file: a ForeignOrigin as JSON


class ForeignOrigin(FrozenModel):
    """As somebody of the group stated it when the weights came in.

    Attributes:
        by: people or a project; also the group itself, for its own training elsewhere.
        licence: an SPDX name, or words.
        file: name of the file as it came.
        digest: SHA-256 of that file.
        program: what wrote it.
    """

    by: str = Field(min_length=1, max_length=200)
    licence: str = Field(min_length=1, max_length=200)
    file: str = Field(min_length=1, max_length=200)
    digest: Digest
    program: str = Field(min_length=1, max_length=60)

    @property
    def words(self) -> str:
        return f"{self.file}, made elsewhere by {self.by} with {self.program}, under {self.licence}"
