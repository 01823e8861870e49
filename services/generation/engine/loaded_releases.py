"""The releases in memory, by name; requests that name none get the first one."""

from __future__ import annotations

import math
import threading
import time

from services.generation.engine.work import LoadedRelease
from services.generation.errors import NotReadyError, UnknownReleaseError, WithdrawnError

NOTHING_YET, _LOADING = "nothing is registered under the alias", "loading"


class LoadedReleases:
    """What is served now, and why something is not.

    Attributes:
        trouble: release name -> why it, or its newest version, is not served; "" as name: why nothing is known at all.
        withdrawn: release name -> why its version under the alias may not be played, and what is played instead.
        exhausted: the last work found no memory; not ready until a sound was made again.
        fresh_s: how long after the store's last yes a release is served at most, whoever else is stuck.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, LoadedRelease] = {}
        self.names: tuple[str, ...] = ()
        self.trouble: dict[str, str] = {"": _LOADING}
        self.withdrawn: dict[str, str] = {}
        self._sought: dict[str, object] = {}
        self.exhausted = False
        self.fresh_s = math.inf

    @property
    def default_release(self) -> LoadedRelease | None:
        with self._lock:
            found = (self._loaded[name] for name in self.names if name in self._loaded)
            return next((loaded for loaded in found if self._is_fresh(loaded)), None)

    @property
    def by_name(self) -> dict[str, LoadedRelease]:
        with self._lock:
            return dict(self._loaded)

    @property
    def waits_for_first(self) -> bool:
        """The registry answers, and nothing was ever registered: nothing is wrong, there is just nothing to serve yet."""
        return not self.by_name and not self.withdrawn and bool(self.trouble) and set(self.trouble.values()) == {NOTHING_YET}

    @property
    def is_loading(self) -> bool:
        """Nothing is served yet, and nothing is known to be wrong."""
        return not self.by_name and not self.withdrawn and set(self.trouble.values()) <= {_LOADING}

    @property
    def reason(self) -> str:
        """All troubles in one sentence; empty when there is none."""
        told = (*self.withdrawn.items(), *self.trouble.items())
        reasons = [f"{name}: {why}" if name and len(self.names) > 1 else why for name, why in told if why]
        return "; ".join([*reasons, *(["memory is full"] if self.exhausted else [])])

    def put(self, loaded: LoadedRelease) -> None:
        with self._lock:
            self._loaded[loaded.release.name] = loaded

    def drop(self, name: str) -> None:
        with self._lock:
            self._loaded.pop(name, None)

    def withdraw(self, loaded: LoadedRelease, why: str) -> None:
        """Stops a release for good: somebody took back their consent. Another version of its name is sought from now on."""
        name = loaded.release.name
        with self._lock:
            loaded.withdrawn, loaded.agreed_at = why, -math.inf
            self.withdrawn[name], self._sought[name] = why, object()
            if self._loaded.get(name) is loaded:
                del self._loaded[name]

    def list_sought(self) -> dict[str, object]:
        """The names for which another version is sought, for `end_search`."""
        with self._lock:
            return dict(self._sought)

    def end_search(self, sought: dict[str, object]) -> None:
        """These searches have ended; one that began meanwhile goes on."""
        with self._lock:
            self._sought = {name: search for name, search in self._sought.items() if sought.get(name) is not search}

    def is_sought(self, name: str | None = None) -> bool:
        """Whether the release of that name, or the default one, is not served at this moment, but may be at the next.

        The default one is the first of several: another one does not stand in for it before the search has ended.
        """
        with self._lock:
            first = next((one for one in self.names if one in self._loaded or one in self._sought), "")
            asked = name or first
            return asked in self._sought and asked not in self._loaded

    def get(self, name: str | None = None) -> LoadedRelease:
        """The release of that name, or the default one.

        Raises:
            WithdrawnError: somebody took back their consent to it, and nothing else may play; with the reason.
            NotReadyError: it is not served now; with the reason.
            UnknownReleaseError: none of this name is served here.
        """
        served = self.by_name
        found = served.get(name) if name else self.default_release
        if found is None and name and served and name not in self.names:
            bound = f"one of {', '.join(served)}"
            raise UnknownReleaseError(f"release {name[:80]!r} is not served", where="release", cure=bound)
        if found is None or not self._is_fresh(found):
            names = [name] if name else [*self.withdrawn]
            if any(one in self.withdrawn for one in names):  # and why the one that should take its place does not, if so
                told = (words.get(one, "") for one in names for words in (self.withdrawn, self.trouble))
                why = "; ".join(filter(None, told))
                raise WithdrawnError(f"no release is served: {why}", cure="a release without them must be trained")
            why = self.trouble.get(name or "") or self.reason or "nobody can be asked whether everybody agrees"
            raise NotReadyError(f"no release is served: {why}", cure="see /v1/health")
        return found

    def loaded_for(self, asked: LoadedRelease) -> LoadedRelease:
        """The release itself while it is in memory, else the version that took its place. Raises NotReadyError."""
        return asked if asked.model is not None and self._is_fresh(asked) else self.get(asked.release.name)

    def _is_fresh(self, loaded: LoadedRelease) -> bool:
        return time.monotonic() - loaded.agreed_at <= self.fresh_s
