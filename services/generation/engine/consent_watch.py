"""Asks again and again whether everybody who is heard in the loaded releases agrees, in a thread of its own.

The ledger's newest number is looked at every `ledger_s`: one small question to the store. Where it has a new event, and every
`consent_s`, consent itself is asked for. A release is served while the last yes is fresh. A no stops it at once. Whatever is neither
(the store is away, a record cannot be read, a bug) counts towards the grace; when it is over, the release is stopped until there is
a yes. A store that never answers stops it as well: `LoadedReleases` looks at the time of the last yes itself.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Protocol

from audiotune.domain.release import Release
from audiotune.errors import AudioTuneError, ConsentError
from services.generation.engine.loaded_releases import LoadedReleases
from services.generation.engine.work import LoadedRelease
from services.generation.errors import describe_error, is_refusal
from services.generation.settings import GenerationSettings

LOG = logging.getLogger("audiotune.generation")
_ANSWER_S = 10.0  # beside the grace, that a question may take


class ConsentSource(Protocol):
    """As far as the watch needs a source of releases."""

    def find_newest_event(self) -> int:
        """The number of the ledger's newest event; changes with every word that anybody says. Raises StoreError, LedgerError."""

    def require_consent(self, release: Release) -> None: ...
    def cache_release(self, release: Release) -> None: ...
    def forget_release(self, release: Release) -> None: ...


class ConsentWatch:
    """See the module.

    Args:
        on_stop: called with a release that was stopped, before the reason is shown, and whether somebody said no.
        on_news: called after the releases were asked because of a new event; raises where it must be called again.
    """

    def __init__(
        self,
        settings: GenerationSettings,
        source: ConsentSource,
        loaded: LoadedReleases,
        on_stop: Callable[[LoadedRelease, bool], None],
        on_news: Callable[[], None],
    ) -> None:
        self._settings, self._source, self._loaded_releases = settings, source, loaded
        self._on_stop, self._on_news = on_stop, on_news
        loaded.fresh_s = settings.grace_s + settings.consent_s + _ANSWER_S
        self._doubts: dict[str, str] = {}
        self._seen: int | None = -1  # number of the newest event that everything was asked about; None: nobody could say
        self._untold = ""  # why it is not known whom the news concern
        self._all_asked_at = 0.0
        self._asked: weakref.WeakSet[LoadedRelease] = weakref.WeakSet()
        self.asked_at = 0.0  # when a question was put that is not answered yet
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run_loop, daemon=True, name="consent")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def doubt(self) -> str:
        """Why it is not known now whether everybody agrees; "" when it is."""
        return "; ".join(dict.fromkeys(self._doubts.values()))

    def _run_loop(self) -> None:
        while not self._stopped.wait(min(self._settings.ledger_s, self._settings.consent_s)):
            self._look()

    def _look(self) -> None:
        newest, loaded = self._find_newest_event(), self._loaded_releases.by_name
        has_news = newest != self._seen
        ask_all = has_news or time.monotonic() - self._all_asked_at >= self._settings.consent_s
        self._doubts = {name: words for name, words in self._doubts.items() if name in loaded}
        for release in loaded.values():
            if ask_all or release not in self._asked:  # a version may have been loaded while the event arrived
                self._ask(release)
        if ask_all:
            self._all_asked_at = time.monotonic()
        if has_news and (newest is None or (self._tell_news() and not self._doubts)):
            self._seen = newest

    def _find_newest_event(self) -> int | None:
        """None where nobody can say."""
        self.asked_at = time.monotonic()
        try:
            return self._source.find_newest_event()
        except Exception as e:
            if not isinstance(e, AudioTuneError):
                LOG.error("the ledger could not be looked at", exc_info=e)
            return None
        finally:
            self.asked_at = 0.0

    def _tell_news(self) -> bool:
        try:
            self._on_news()
        except Exception as e:
            if self._untold != describe_error(e):
                self._untold = describe_error(e)
                LOG.warning("adapters and jobs are checked again, for a new event may concern them: %s", self._untold)
            return False
        self._untold = ""
        return True

    def _ask(self, loaded: LoadedRelease) -> None:
        name, self.asked_at = loaded.release.name, time.monotonic()
        try:
            self._source.require_consent(loaded.release)
        except Exception as e:
            if not isinstance(e, AudioTuneError):
                LOG.error("consent to %s could not be asked", name, exc_info=e)
            silent_s = time.monotonic() - loaded.agreed_at
            if is_refusal(e):
                self._source.forget_release(loaded.release)  # or an outage that begins now would bring it back
                self._withdraw(loaded, e) if isinstance(e, ConsentError) else self._stop_release(loaded, str(e))
            elif silent_s > self._settings.grace_s:
                words = f"nobody could say for {silent_s:.0f} s whether everybody agrees"
                self._stop_release(loaded, f"{words}: {describe_error(e)}")
            else:
                self._doubts[name] = f"it is not known whether everybody agrees: {describe_error(e)}"
        else:
            loaded.agreed_at = self.asked_at
            self._asked.add(loaded)
            self._doubts.pop(name, None)
            self._source.cache_release(loaded.release)
        finally:
            self.asked_at = 0.0

    def _withdraw(self, loaded: LoadedRelease, e: ConsentError) -> None:
        why = describe_withdrawal(loaded.release.version, e)
        LOG.warning("%s is not served any more: %s", loaded.release.name, e)
        self._loaded_releases.withdraw(loaded, why)
        self._doubts.pop(loaded.release.name, None)
        self._on_stop(loaded, True)

    def _stop_release(self, loaded: LoadedRelease, why: str) -> None:
        LOG.warning("%s is not served any more: %s", loaded.release.name, why)
        loaded.agreed_at = -math.inf  # nothing is made of it for requests that wait already
        self._loaded_releases.drop(loaded.release.name)
        self._doubts.pop(loaded.release.name, None)
        self._on_stop(loaded, False)
        self._loaded_releases.trouble[loaded.release.name] = why


def describe_withdrawal(version: str, e: ConsentError) -> str:
    """Why a version may not be played, for whoever asks for it."""
    return f"version {version} may not be played any more: {e.what}"
