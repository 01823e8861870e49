"""What the store shows beside the ledger: new releases, and trainings and uploads that have ended. Does not import gradio."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from re import Match, Pattern

from audiotune.domain.upload import read_upload
from audiotune.errors import SourceError, StoreError
from audiotune.governance.open_matters import NEWS_DAYS, StoredNews
from audiotune.store.layout import INBOX, TRAININGS
from audiotune.store.port import Store
from services.studio.releases import list_releases
from services.studio.run_records import RunEnd, RunFolder, RunStart
from services.studio.training_runs import TrainingEnd, TrainingStart

_TRAINING = TRAININGS.compile(r"(\d{6})/ended\.json")
_UPLOAD = INBOX.compile(r"([^/]+)/runs/(\d{6})/ended\.json")
_OUTCOMES = {"done": "is done", "failed": "failed", "cancelled": "was cancelled"}
_CUT = {"done": "is cut into segments", "failed": "could not be cut into segments", "cancelled": "was cancelled"}
_UNKNOWN = "ended, and nobody knows how"


class StoredNewsReader:
    """Reads the news of the last days.

    Args:
        every_s: seconds for which they are answered from memory, for all pages together.
    """

    def __init__(self, store: Store, every_s: float = 10.0) -> None:
        self._store, self._every_s = store, every_s
        self._lock = threading.Lock()
        self._seen: tuple[float, list[StoredNews]] | None = None
        self._ended: dict[str, StoredNews | None] = {}  # by the key of the end's record, which is written once

    def list_news(self) -> list[StoredNews]:
        """The newest first. Raises StoreError."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > self._every_s:
                found = [*self._list_releases()]
                found += self._list_ended(TRAININGS.path, _TRAINING, self._describe_training)
                found += self._list_ended(INBOX.path, _UPLOAD, self._describe_upload)
                self._seen = (time.monotonic(), sorted(found, key=lambda one: one.time, reverse=True))
            return self._seen[1]

    def _list_releases(self) -> list[StoredNews]:
        since = datetime.now(UTC) - timedelta(days=NEWS_DAYS)
        return [
            StoredNews(
                f"release-{one.name}-{one.version}-{one.digest[:16]}",
                "release",
                one.made,
                f"{one.name} {one.version} is a new release",
            )
            for one in list_releases(self._store)
            if one.made >= since
        ]

    def _list_ended(
        self, prefix: str, pattern: Pattern[str], describe: Callable[[Match[str]], StoredNews | None]
    ) -> Iterator[StoredNews]:
        since = datetime.now(UTC) - timedelta(days=NEWS_DAYS)
        for entry in self._store.list(prefix):
            match = pattern.fullmatch(entry.key)
            if match and entry.modified >= since:
                if entry.key not in self._ended:
                    self._ended[entry.key] = describe(match)
                if news := self._ended[entry.key]:
                    yield news

    def _describe_training(self, match: Match[str]) -> StoredNews | None:
        folder = RunFolder(self._store, TRAININGS.folder(match[1]))
        begun, end = folder.read_start(TrainingStart), folder.read_end(TrainingEnd)
        if begun is None or end is None or end.by == begun.member:
            return None
        words = f"your training of {begun.name} {_OUTCOMES.get(end.how, _UNKNOWN)}"
        return StoredNews(f"run-{int(match[1])}", "run", end.time, words, begun.member)

    def _describe_upload(self, match: Match[str]) -> StoredNews | None:
        folder = RunFolder(self._store, INBOX.folder(match[1], "runs", match[2]))
        begun, end = folder.read_start(RunStart), folder.read_end(RunEnd)
        if begun is None or end is None or end.by == begun.member:
            return None
        try:
            upload = read_upload(self._store, match[1])
        except SourceError:
            return None  # erased, or damaged
        files = "1 file" if len(upload.files) == 1 else f"{len(upload.files)} files"
        words = f"your upload of {files} {_CUT.get(end.how, _UNKNOWN)}"
        return StoredNews(f"upload-{match[1]}-{int(match[2])}", "upload", end.time, words, begun.member)


def list_news_if_there(reader: StoredNewsReader) -> list[StoredNews]:
    """As `list_news`; nothing while the store is away, which other parts of a page say."""
    try:
        return reader.list_news()
    except StoreError:
        return []
