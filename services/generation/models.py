"""Releases from the real registry and store: digest and consent are checked before anything is loaded."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from audiotune import governance
from audiotune.errors import GenerationError, ModelError, RegistryError, StoreError
from audiotune.partial import write_whole
from audiotune.registry import releases
from audiotune.release import Release
from audiotune.store.port import Store
from services.generation.adapters import AdapterModels
from services.generation.following import Models
from services.generation.settings import Settings
from services.generation.work import Loaded

if TYPE_CHECKING:
    from audiotune.stable_audio.adapters import Adapter

_SLACK = 1.5  # of the weights' size: what a model needs beside its weights while it is loaded and tried


class RegisteredModels(Models, AdapterModels):
    """Follows aliases in MLflow."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store

    def versions(self) -> dict[str, str | None]:
        return {name: self._version(name, alias) for name, alias in self.named().items()}

    def named(self) -> dict[str, str]:
        """Release name -> alias. Raises RegistryError when it must be chosen."""
        if self._settings.release:
            return self._settings.releases
        known = releases.names()
        if len(known) != 1:
            found = ", ".join(known) or "none"
            raise RegistryError(f"which release? registered: {found}", cure="set AUDIOTUNE_GENERATION_RELEASE to one or several")
        return {known[0]: self._settings.alias}

    def _version(self, name: str, alias: str) -> str | None:
        version = releases.version_at(name, alias)
        return releases.version_at(name, "candidate") if version is None and self._settings.candidates else version

    def load(self, name: str, version: str) -> Loaded:
        release = releases.get(name, version)
        self.consent(release)
        return self._opened(release)

    def _opened(self, release: Release) -> Loaded:
        from audiotune.stable_audio.packed import pack
        from audiotune.stable_audio.released import open_weights

        return Loaded(release, pack(open_weights(self._store, release.weights, device=self._settings.device)))

    def consent(self, release: Release) -> None:
        governance.require(self._store, "generate", release.lineage.recordings)

    def fits_beside(self, name: str, version: str, old: Loaded) -> bool:
        """The new version is taken to be as large as the old one: a release keeps its architecture."""
        import torch

        needed = sum(p.numel() * p.element_size() for p in old.model.model.parameters()) * _SLACK
        if old.model.device.type == "cuda":
            return bool(torch.cuda.mem_get_info(old.model.device)[0] > needed)
        return bool(free_memory() > needed)

    def version_at(self, name: str, alias: str) -> str | None:
        return releases.version_at(name, alias)

    def release(self, name: str, version: str) -> Release | None:
        return releases.get(name, version) if releases.is_known(name, version) else None

    def adapters(self) -> list[Release]:
        return [release for name in releases.names() for release in releases.adapters(name)]

    def adapter(self, release: Release) -> Adapter:
        from audiotune.stable_audio.adapters import Adapter

        pointer = release.weights
        if not pointer.adapter_digest:
            raise ModelError(
                "the adapter's key does not carry its digest", where=pointer.adapter, cure="register the release again"
            )
        self._store.fetch(pointer.adapter)
        return Adapter(pointer.adapter_digest, lambda: self._store.fetch(pointer.adapter))

    def fits(self, loaded: Loaded, adapter: Adapter) -> None:
        from audiotune.stable_audio import adapters

        adapters.check(loaded.model, adapter.fetch())

    def remember(self, release: Release) -> None:
        try:
            write_whole(self._remembered_path(release.name), release.model_dump_json())
        except OSError:
            return  # a cache that cannot be written is no reason not to serve

    def remembered(self) -> list[Loaded]:
        found = [loaded for path in self._remembered_paths() if (loaded := self._from_cache(path)) is not None]
        if not found:
            raise GenerationError("the local cache holds no release that was served here")
        return found

    def _remembered_paths(self) -> list[Path]:
        if self._settings.release:
            return [self._remembered_path(name) for name in self._settings.releases]
        paths = sorted(self._remembered_path("x").parent.glob("*.json"))
        return paths if len(paths) == 1 else []

    def _from_cache(self, path: Path) -> Loaded | None:
        """Weights are fetched through the store, which has them in its cache and asks nobody. What consent says now must wait
        until the store is back, but a withdrawal that can be read counts."""
        try:
            release = Release.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None
        with suppress(StoreError):  # away: the last answer was yes, or it would not have been remembered
            self.consent(release)
        return self._opened(release)

    def _remembered_path(self, name: str) -> Path:
        folder = os.environ.get("AUDIOTUNE_CACHE") or str(
            Path(os.environ.get("XDG_CACHE_HOME") or tempfile.gettempdir()) / "audiotune"
        )
        store = "".join(c if c.isalnum() else "-" for c in self._store.url)[-80:]
        return Path(folder) / "generation" / store / f"{name}.json"


def free_memory() -> float:
    """Bytes that can still be taken: of the machine, or of the container when that is less."""
    free = [float(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line]
    group = Path("/sys/fs/cgroup")
    try:
        limit = float((group / "memory.max").read_text())
        free.append(limit - float((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        pass
    return min(free, default=float("inf"))
