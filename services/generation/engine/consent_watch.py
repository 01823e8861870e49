"""Asks again and again whether everybody who is heard in the loaded releases agrees, in a thread of its own.

A release is served while the last yes is fresh. A no stops it at once. Whatever is neither (the store is away, a record cannot be read, a
bug) counts towards the grace; when it is over, the release is stopped until there is a yes. A store that never answers stops it as well:
`LoadedReleases` looks at the time of the last yes itself.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from audiotune.domain.release import Release
from audiotune.errors import AudioTuneError
from services.generation.engine.loaded_releases import LoadedReleases
from services.generation.engine.work import LoadedRelease
from services.generation.errors import describe_error, is_refusal
from services.generation.settings import GenerationSettings

LOG = logging.getLogger("audiotune.generation")
_ANSWER_S = 10.0  # beside the grace, that a question may take


class ConsentSource(Protocol):
    """As far as the watch needs a source of releases."""

    def require_consent(self, release: Release) -> None: ...
    def cache_release(self, release: Release) -> None: ...
    def forget_release(self, release: Release) -> None: ...


class ConsentWatch:
    """See the module.

    Args:
        on_stop: called with a release that was stopped, before the reason is shown.
    """

    def __init__(
        self,
        settings: GenerationSettings,
        source: ConsentSource,
        loaded: LoadedReleases,
        on_stop: Callable[[LoadedRelease], None],
    ) -> None:
        self._settings, self._source, self._loaded_releases, self._on_stop = settings, source, loaded, on_stop
        loaded.fresh_s = settings.grace_s + settings.consent_s + _ANSWER_S
        self._doubts: dict[str, str] = {}
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
        while not self._stopped.wait(self._settings.consent_s):
            loaded = self._loaded_releases.by_name
            self._doubts = {name: words for name, words in self._doubts.items() if name in loaded}
            for release in loaded.values():
                self._ask(release)

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
                self._stop_release(loaded, str(e))
            elif silent_s > self._settings.grace_s:
                words = f"nobody could say for {silent_s:.0f} s whether everybody agrees"
                self._stop_release(loaded, f"{words}: {describe_error(e)}")
            else:
                self._doubts[name] = f"it is not known whether everybody agrees: {describe_error(e)}"
        else:
            loaded.agreed_at = self.asked_at
            self._doubts.pop(name, None)
            self._source.cache_release(loaded.release)
        finally:
            self.asked_at = 0.0

    def _stop_release(self, loaded: LoadedRelease, why: str) -> None:
        LOG.warning("%s is not served any more: %s", loaded.release.name, why)
        loaded.agreed_at = -math.inf  # nothing is made of it for requests that wait already
        self._loaded_releases.drop(loaded.release.name)
        self._doubts.pop(loaded.release.name, None)
        self._on_stop(loaded)
        self._loaded_releases.trouble[loaded.release.name] = why
