"""What the store shows beside the ledger: new releases, and trainings that have ended. Does not import gradio."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

from audiotune.domain.release import Release
from audiotune.errors import StoreError
from audiotune.governance.open_matters import NEWS_DAYS, StoredNews
from audiotune.store.layout import TRAININGS
from audiotune.store.port import Store
from services.studio.releases import list_releases
from services.studio.run_records import RunFolder
from services.studio.training_runs import TrainingEnd, TrainingStart

_ENDED = TRAININGS.compile(r"(\d{6})/ended\.json")
_OUTCOMES = {"done": "is done", "failed": "failed", "cancelled": "was cancelled"}


class StoredNewsReader:
    """Reads the news of the last days.

    Args:
        every_s: seconds for which they are answered from memory, for all pages together.
    """

    def __init__(self, store: Store, every_s: float = 10.0) -> None:
        self._store, self._every_s = store, every_s
        self._lock = threading.Lock()
        self._seen: tuple[float, list[StoredNews]] | None = None

    def list_news(self) -> list[StoredNews]:
        """The newest first. Raises StoreError."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > self._every_s:
                found = [*self._list_releases(), *self._list_ended_runs()]
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

    def _list_ended_runs(self) -> list[StoredNews]:
        since, found = datetime.now(UTC) - timedelta(days=NEWS_DAYS), []
        for entry in self._store.list(TRAININGS.path):
            match = _ENDED.fullmatch(entry.key)
            if match and entry.modified >= since:
                folder = RunFolder(self._store, TRAININGS.folder(match[1]))
                begun, end = folder.read_start(TrainingStart), folder.read_end(TrainingEnd)
                if begun and end:
                    words = f"your training of {begun.name} {_OUTCOMES.get(end.how, 'ended, and nobody knows how')}"
                    found.append(StoredNews(f"run-{int(match[1])}", "run", end.time, words, begun.member))
        return found


def _describe_release(release: Release) -> str:
    return f"{release.name} {release.version} is a new release"


def list_news_if_there(reader: StoredNewsReader) -> list[StoredNews]:
    """As `list_news`; nothing while the store is away, which other parts of a page say."""
    try:
        return reader.list_news()
    except StoreError:
        return []
