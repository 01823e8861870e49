"""LoRA adapters that a request adds to its release: looked up in the registry, checked for consent as a release is, and for the base.

Memory holds only what describes them: a batch that needs their matrices reads them (audiotune/stable_audio/adapters.py).
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from audiotune.domain.generation import AdapterRequest, AppliedAdapter
from audiotune.domain.release import Release
from audiotune.errors import GovernanceError, ModelError, RegistryError, StoreError
from services.generation.engine.work import LoadedRelease
from services.generation.errors import (
    AdapterConsentError,
    AdapterLookupError,
    NotReadyError,
    RepeatedAdapterError,
    RequestError,
    UnfitAdapterError,
    UnknownAdapterError,
    is_outage,
)
from services.generation.settings import GenerationSettings

if TYPE_CHECKING:
    from audiotune.stable_audio.adapters import Adapter

_NAME = re.compile(r"([^@:]*)(.*)", re.DOTALL)  # name, and "@alias", ":version" or ""
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")  # versions in the registry
_KEPT = 256  # adapters and aliases that are remembered


class AdapterSource(Protocol):
    """Where adapters come from: the port that the real registry and the tests' fake stand behind."""

    def version_at(self, name: str, alias: str) -> str | None:
        """The version an alias points to. Raises RegistryError when the registry is away."""

    def find_release(self, name: str, version: str) -> Release | None:
        """A registered version, or None. Raises RegistryError when the registry is away."""

    def list_adapters(self) -> list[Release]:
        """Every registered release that is an adapter beside its base. Raises RegistryError."""

    def load_adapter(self, release: Release) -> Adapter:
        """Its adapter, whose bytes have been checked against its digest. Raises ModelError, StoreError."""

    def check_fit(self, loaded: LoadedRelease, adapter: Adapter) -> None:
        """Raises ModelError when the adapter does not fit the model."""

    def require_consent(self, release: Release) -> None:
        """Raises GovernanceError when somebody in it has withdrawn, or when its lineage is not that of its dataset."""


@dataclass(frozen=True)
class ChosenAdapter:
    """An adapter that a request may add.

    Attributes:
        extra: what is added beside the loaded weights; less than `strength` where they hold the adapter already.
    """

    release: Release
    adapter: Adapter
    strength: float
    extra: float

    @property
    def as_applied(self) -> AppliedAdapter:
        return AppliedAdapter(
            release=self.release.name, version=self.release.version, digest=self.adapter.digest, strength=self.strength
        )


@dataclass
class _CachedAdapter:
    release: Release
    adapter: Adapter
    agreed_at: float  # on the monotonic clock: when the store last said that everybody agrees
    news: int = -1  # how much news of the ledger there was then


class AdapterResolver:
    """See the module. Many threads may use it."""

    def __init__(self, settings: GenerationSettings, models: AdapterSource) -> None:
        self._settings, self._source = settings, models
        self._lock = threading.RLock()
        self._cached_adapters: OrderedDict[tuple[str, str], _CachedAdapter] = OrderedDict()
        self._versions: OrderedDict[tuple[str, str], tuple[float, str | None]] = OrderedDict()
        self._known_names = (float("-inf"), "")
        self._news = 0

    def resolve(self, loaded: LoadedRelease, wishes: Sequence[AdapterRequest]) -> tuple[ChosenAdapter, ...]:
        """The request's adapters, in an order that does not depend on the request's.

        Raises:
            UnknownAdapterError, AdapterConsentError, UnfitAdapterError, RepeatedAdapterError: with the field at fault.
            AdapterLookupError: registry or store cannot be asked, and nothing is known from before.
            NotReadyError: a newer version takes the release's place at this moment.
        """
        if not wishes:
            return ()  # without the lock, which is held while the registry is asked
        chosen: list[ChosenAdapter] = []
        with self._lock:
            for place, wish in enumerate(wishes):
                try:
                    chosen.append(self._resolve_one(loaded, wish))
                    if any(other.adapter.digest == chosen[-1].adapter.digest for other in chosen[:-1]):
                        raise RepeatedAdapterError("the same adapter is named twice", cure="name each once")
                except RequestError as e:
                    e.where = f"adapters.{place}.release"
                    raise
                except (RegistryError, StoreError) as e:
                    raise AdapterLookupError(f"the adapters cannot be looked up: {e}", cure="try again in a moment") from e
        return tuple(sorted(chosen, key=lambda one: one.adapter.digest))

    def ask_again(self) -> dict[str, str]:
        """The ledger has news: asks again about all known adapters, now and when they are next wanted.

        Returns the digests of those that may not be used, each with the reason. Raises StoreError: nobody can say.
        """
        refused = {}
        with self._lock:
            self._news += 1
            known = list(self._cached_adapters.values())
            for cached in known:
                try:
                    self._check_consent(cached)
                except AdapterConsentError as e:
                    refused[cached.adapter.digest] = e.what
        if any(cached.news != self._news and cached.adapter.digest not in refused for cached in known):
            raise StoreError("nobody can say whether everybody agrees to the adapters", cure="look into the store's log")
        return refused

    def list_offered(self) -> list[Release]:
        """Every adapter that may be asked for, newest versions first. Raises RegistryError."""
        return [
            release for release in self._source.list_adapters() if self._is_allowed(release.name) and self._has_passed(release)
        ]

    def _resolve_one(self, loaded: LoadedRelease, wish: AdapterRequest) -> ChosenAdapter:
        cached = self._find_adapter(wish.release)
        pointer, base = cached.release.weights, loaded.release.weights
        misfit = f"does not fit {loaded.release.name}:"
        if pointer.base_digest != base.base_digest:
            bases = f"{pointer.base} ({pointer.base_digest[:12]}), the release from {base.base} ({base.base_digest[:12]})"
            raise _unfit_error(cached.release, f"{misfit} it was tuned from {bases}", "an adapter of the same base")
        if loaded.model is None:  # a newer version takes its place
            raise NotReadyError(f"release {loaded.release.name} is being exchanged", cure="try again in a moment")
        try:
            self._source.check_fit(loaded, cached.adapter)
        except ModelError as e:
            raise _unfit_error(cached.release, f"{misfit} {e.what}", "another adapter") from e
        own = 1.0 if cached.adapter.digest == base.adapter_digest else 0.0
        if own and wish.strength != own and not cached.adapter.adds_up:
            why = f"{loaded.release.name} holds it already, and a DoRA cannot be turned up or down in weights that hold it"
            raise _unfit_error(cached.release, why, "strength 1, or ask for a release of its base without it")
        return ChosenAdapter(cached.release, cached.adapter, wish.strength, wish.strength - own)

    def _find_adapter(self, named: str) -> _CachedAdapter:
        name, at = _NAME.findall(named)[0]
        version = self._find_version(name, at) if self._is_allowed(name) else None
        cached = (self._cached_adapters.get((name, version)) or self._open_adapter(name, version)) if version else None
        if cached is None or version is None:
            known = self._describe_known()
            raise UnknownAdapterError(f"there is no adapter {named[:100]!r}. Give {known}", cure=known)
        if not self._has_passed(cached.release):
            why = "; ".join(cached.release.evaluation.reasons) or "no reason given"
            raise _unfit_error(cached.release, f"did not pass its evaluation: {why}", "a version that passed")
        self._check_consent(cached)
        _cache_entry(self._cached_adapters, (name, version), cached)
        return cached

    def _open_adapter(self, name: str, version: str) -> _CachedAdapter | None:
        release = self._source.find_release(name, version)
        if release is None:
            return None
        if not release.weights.adapter:
            cure = "a release that was unwrapped with lora = keep; or ask for it as `release`"
            raise _unfit_error(release, "is no adapter: its adapter was merged, or it was tuned as a whole", cure)
        try:
            return _CachedAdapter(release, self._source.load_adapter(release), float("-inf"))
        except ModelError as e:
            raise _unfit_error(release, f"cannot be used: {e}", "another version") from e

    def _check_consent(self, cached: _CachedAdapter) -> None:
        """As for a release: checked again every `consent_s`; while the store is away, the last answer counts for `grace_s`."""
        now = time.monotonic()
        if now - cached.agreed_at < self._settings.consent_s and cached.news == self._news:
            return
        try:
            self._source.require_consent(cached.release)
            cached.agreed_at, cached.news = now, self._news
        except GovernanceError as e:
            if is_outage(e):
                if now - cached.agreed_at > self._settings.grace_s:
                    raise AdapterLookupError(f"nobody can say whether everybody agrees: {e}", cure="try again later") from e
                return
            self._cached_adapters.pop((cached.release.name, cached.release.version), None)
            raise AdapterConsentError(f"{_describe_release(cached.release)} may not be used: {e}", cure="leave it out") from e
        except StoreError:
            if now - cached.agreed_at > self._settings.grace_s:
                raise

    def _find_version(self, name: str, at: str) -> str | None:
        """The version that a name stands for, asked at most every `poll_s`; the last one known while the registry is away."""
        if at.startswith(":"):
            return at[1:] if _NUMBER.fullmatch(at[1:]) else None
        alias = at[1:] or self._settings.release_aliases.get(name, self._settings.alias)
        asked_at, known = self._versions.get((name, alias), (float("-inf"), None))
        if time.monotonic() - asked_at < self._settings.poll_s:
            return known
        try:
            known = self._source.version_at(name, alias)
        except RegistryError:
            if known is None:
                raise
        _cache_entry(self._versions, (name, alias), (time.monotonic(), known))
        return known

    def _describe_known(self) -> str:
        """The known adapters, for the message, looked up at most every `poll_s`: requests with wrong names are cheap to send."""
        asked_at, words = self._known_names
        if time.monotonic() - asked_at >= self._settings.poll_s:
            names = ", ".join(dict.fromkeys(release.name for release in self.list_offered()))[:300]
            words = f"one of: {names}" if names else "none: no adapter is registered here"
            self._known_names = (time.monotonic(), words)
        return words

    def _is_allowed(self, name: str) -> bool:
        return self._settings.adapters.strip() == "*" or name in self._settings.adapter_names

    def _has_passed(self, release: Release) -> bool:
        """Whether it passed its gate, or the group moved the followed alias to it; where candidates are served, `candidate` counts, too."""
        aliases = ["", "@candidate"] if self._settings.candidates else [""]
        return release.evaluation.passed or any(self._find_version(release.name, at) == release.version for at in aliases)


def _cache_entry(cache: OrderedDict[Any, Any], key: tuple[str, str], value: Any) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > _KEPT:
        cache.popitem(last=False)


def _describe_release(release: Release) -> str:
    return f"adapter {release.name} version {release.version}"


def _unfit_error(release: Release, why: str, cure: str) -> UnfitAdapterError:
    return UnfitAdapterError(f"{_describe_release(release)} {why}. Give {cure}", cure=cure)
