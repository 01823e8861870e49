"""A launcher of our own: tells what it was told to tell, and remembers what it was given."""

from __future__ import annotations

from collections.abc import Iterator

from audiotune.errors import AudioTuneError
from services.studio.prepare_runner import PrepareProgress
from services.studio.uploads import Upload


class ScriptedPrepareRunner:
    """Yields `news`, then raises `error` if there is one."""

    place = "in a test"

    def __init__(self, news: list[PrepareProgress], error: AudioTuneError | None = None) -> None:
        self.news, self.error = news, error
        self.given: list[Upload] = []

    def prepare_upload(self, upload: Upload) -> Iterator[PrepareProgress]:
        self.given.append(upload)
        yield from self.news
        if self.error:
            raise self.error
