"""The list of what the registry holds. Nothing is decided by it: swaps, gates and consent ask the registry themselves.

The registry is asked at most every FRESH_S, however often the list is read; what is served now is looked up each time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from audiotune.domain.release import Release
from audiotune.errors import AudioTuneError
from services.generation.engine.adapters import AdapterResolver
from services.generation.engine.loaded_releases import LoadedReleases

FRESH_S = 2.0
T = TypeVar("T")
_Row = tuple[Release, dict[str, str], str]  # with the aliases of its name, and why it is not served


class ReleaseRegistry(Protocol):
    """As far as the API reads it; `audiotune.registry.releases` is one."""

    def list_release_names(self) -> list[str]: ...
    def list_aliases(self, name: str) -> dict[str, str]: ...
    def list_releases(self, name: str) -> list[Release]: ...
    def read_release(self, name: str, version: str) -> Release: ...
    def find_release(self, name: str, version: str) -> Release | None: ...


class CachedAnswer(Generic[T]):
    """An answer that may be `fresh_s` old. Callers that come while the question is under way share its answer or its error; errors
    are not kept."""

    def __init__(self, ask: Callable[[], T], fresh_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._fresh_s, self._clock = ask, fresh_s, clock
        self._lock = threading.Lock()
        self._answer: Future[T] | None = None
        self._asked_at = 0.0

    def __call__(self) -> T:
        with self._lock:
            answer, now = self._answer, self._clock()
            asks = answer is None or (answer.done() and now - self._asked_at >= self._fresh_s)
            if answer is None or asks:
                answer = self._answer = Future()
                self._asked_at = now
        if asks:
            try:
                answer.set_result(self._ask())
            except BaseException as e:
                answer.set_exception(e)
                with self._lock:
                    if self._answer is answer:
                        self._answer = None
        return answer.result()

    def forget(self) -> None:
        """Something has changed: the next call asks anew."""
        with self._lock:
            self._answer = None


class ReleaseCatalogue:
    """The releases and adapters that can be asked for."""

    def __init__(
        self,
        loaded: LoadedReleases,
        adapters: AdapterResolver,
        registry: ReleaseRegistry,
        require_lineage: Callable[[Release], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loaded_releases, self._offered_adapters, self._registry = loaded, adapters, registry
        self._require_lineage = require_lineage
        self._releases = CachedAnswer(self._read_releases, FRESH_S, clock)
        self._adapters = CachedAnswer(self._read_adapters, FRESH_S, clock)

    def forget(self) -> None:
        """An alias may have moved."""
        self._releases.forget()
        self._adapters.forget()

    def list_releases(self) -> list[dict[str, Any]]:
        """Newest first, under each name. Raises RegistryError."""
        served = self._loaded_releases.by_name
        return [
            {
                "name": release.name,
                "digest": release.digest,
                "serving": (now := served.get(release.name)) is not None and now.release.version == release.version,
                "gate": fault or ("passed" if release.evaluation.passed else "; ".join(release.evaluation.reasons)),
                **_describe_release(release, aliases, fault),
            }
            for release, aliases, fault in self._releases()
        ]

    def list_adapters(self) -> list[dict[str, Any]]:
        """The adapters that a request may name, and the releases here that each fits. Raises RegistryError."""
        served = self._loaded_releases.by_name.values()
        return [
            {
                "release": release.name,
                "digest": (pointer := release.weights).adapter_digest,
                "base": pointer.base,
                "fits": [one.release.name for one in served if one.release.weights.base_digest == pointer.base_digest],
                **_describe_release(release, aliases, fault),
            }
            for release, aliases, fault in self._adapters()
        ]

    def _read_releases(self) -> list[_Row]:
        found: list[_Row] = []
        for name in self._loaded_releases.names or self._registry.list_release_names():
            aliases = self._registry.list_aliases(name)
            found += [(release, aliases, self._find_fault(release)) for release in self._registry.list_releases(name)]
        return found

    def _read_adapters(self) -> list[_Row]:
        offered = self._offered_adapters.list_offered()
        aliases = {name: self._registry.list_aliases(name) for name in {release.name for release in offered}}
        return [(release, aliases[release.name], self._find_fault(release)) for release in offered]

    def _find_fault(self, release: Release) -> str:
        """Why a release is not served whatever its gate said: its lineage is not true, or cannot be looked up."""
        try:
            self._require_lineage(release)
        except AudioTuneError as e:
            return str(e)
        return ""


def _describe_release(release: Release, aliases: dict[str, str], fault: str) -> dict[str, Any]:
    return {
        "version": release.version,
        "aliases": sorted(alias for alias, version in aliases.items() if version == release.version),
        "made": release.made.isoformat(),
        "licence": release.licence,
        "notice": release.notice,
        "contributors": () if fault else release.lineage.contributors,
    }
