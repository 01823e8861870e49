"""Releases from the registry and the store: digest, lineage and consent are checked before anything is loaded."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from audiotune import governance
from audiotune.access.membership import judge_membership
from audiotune.domain.lineage import LineageChecker
from audiotune.domain.release import Release
from audiotune.errors import AudioTuneError, GenerationError, ModelError, RegistryError
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.release_standing import explain_silence, find_decided_champion, require_release_permission
from audiotune.registry import releases
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.cache_folder import choose_cache_folder
from audiotune.store.port import Store
from services.generation.engine.adapters import AdapterSource
from services.generation.engine.release_watcher import ReleaseSource
from services.generation.engine.work import LoadedRelease
from services.generation.errors import is_outage, is_refusal
from services.generation.settings import GenerationSettings

if TYPE_CHECKING:
    from audiotune.stable_audio.adapters import Adapter

_SLACK = 1.5  # of the weights' size: what a model needs beside its weights while it is loaded and tried


class ReleaseLoader(ReleaseSource, AdapterSource):
    """Follows aliases in MLflow."""

    def __init__(self, settings: GenerationSettings, store: Store) -> None:
        self._settings, self._store, self._lineages = settings, store, LineageChecker(store)

    def wanted_versions(self) -> dict[str, str | None]:
        aliases = self._settings.release_aliases
        if not aliases:
            known = releases.list_release_names()
            if len(known) != 1:
                what = f"which release? registered: {', '.join(known) or 'none'}"
                raise RegistryError(what, cure="set AUDIOTUNE_GENERATION_RELEASE to one or several")
            aliases = {known[0]: self._settings.alias}
        return {name: self._wanted_version(name, alias) for name, alias in aliases.items()}

    def _wanted_version(self, name: str, alias: str) -> str | None:
        version = self.version_at(name, alias)
        return releases.find_version_by_alias(name, "candidate") if version is None and self._settings.candidates else version

    def load(self, name: str, version: str) -> LoadedRelease:
        release = releases.read_release(name, version)
        self.require_consent(release)
        return self._open_release(release)

    def _open_release(self, release: Release) -> LoadedRelease:
        from audiotune.stable_audio.onednn_layers import pack_linear_layers
        from audiotune.stable_audio.release_weights import open_weights

        model = open_weights(self._store, release.weights, device=self._settings.device)
        return LoadedRelease(release, pack_linear_layers(model))

    def require_consent(self, release: Release) -> None:
        """Asks everybody whom the dataset's manifest names. Raises LineageError when the registry names others."""
        self._lineages.require(release)
        if not release.lineage.is_of_others:
            require_release_permission(self._store, "generate", release)

    def require_version(self, name: str, version: str) -> None:
        self.require_consent(releases.read_release(name, version))

    def find_clean_version(self, name: str, refused: str) -> str | None:
        state = open_ledger(self._store).read_state()
        found = (release for release in releases.list_releases(name) if release.version != refused)
        return next((release.version for release in found if self._may_replace(state, release)), None)

    def _may_replace(self, state: GovernanceState, release: Release) -> bool:
        """Whether it may play although no alias points to it, as the preview of a withdrawal says; and its lineage is true."""
        if explain_silence(self._store, state, release):
            return False
        try:
            self.require_consent(release)
        except AudioTuneError as e:
            if is_outage(e):
                raise
            return False
        return True

    def find_newest_event(self) -> int:
        return open_ledger(self._store).read_state().number

    def find_left(self, members: set[str]) -> set[str]:
        agreement = governance.read_current_agreement(self._store) if members else None
        return {member for member in members if agreement and judge_membership(agreement, member) != "member"}

    def fits_beside(self, name: str, version: str, old: LoadedRelease) -> bool:
        """The new version is taken to be as large as the old one: a release keeps its architecture."""
        import torch

        needed = sum(p.numel() * p.element_size() for p in old.model.model.parameters()) * _SLACK
        if old.model.device.type == "cuda":
            return bool(count_free_gpu_bytes(torch.cuda, old.model.device) > needed)
        return bool(measure_free_memory() > needed)

    def version_at(self, name: str, alias: str) -> str | None:
        """What the group decided on is the champion, whatever the registry's alias says: who writes there alone moves nothing."""
        decided = find_decided_champion(open_ledger(self._store).read_state(), name) if alias == "champion" else None
        return decided or releases.find_version_by_alias(name, alias)

    def find_release(self, name: str, version: str) -> Release | None:
        return releases.find_release(name, version)

    def list_adapters(self) -> list[Release]:
        return [release for name in releases.list_release_names() for release in releases.list_adapters(name)]

    def load_adapter(self, release: Release) -> Adapter:
        from audiotune.stable_audio.adapters import open_adapter

        pointer = release.weights
        if not pointer.adapter_digest:
            what, cure = "the adapter's key does not carry its digest", "register the release again"
            raise ModelError(what, where=pointer.adapter, cure=cure)
        return open_adapter(pointer.adapter_digest, lambda: self._store.fetch(pointer.adapter))

    def check_fit(self, loaded: LoadedRelease, adapter: Adapter) -> None:
        from audiotune.stable_audio import adapters

        adapters.check_adapter(loaded.model, adapter.fetch())

    def cache_release(self, release: Release) -> None:
        with suppress(OSError):  # a release is served, too, where the cache cannot be written
            write_atomic_file(self._cache_path(release.name), release.model_dump_json())

    def forget_release(self, release: Release) -> None:
        with suppress(OSError):
            self._cache_path(release.name).unlink(missing_ok=True)

    def load_cached(self) -> list[LoadedRelease]:
        found = [loaded for path in self._cache_paths() if (loaded := self._load_from_cache(path)) is not None]
        if not found:
            raise GenerationError("the local cache holds no release that was served here")
        return found

    def _cache_paths(self) -> list[Path]:
        if self._settings.release:
            return [self._cache_path(name) for name in self._settings.release_aliases]
        paths = sorted(self._cache_path("x").parent.glob("*.json"))
        return paths if len(paths) == 1 else []

    def _load_from_cache(self, path: Path) -> LoadedRelease | None:
        """The store has the weights in its local cache. While the store cannot say who agrees, its last yes counts for `grace_s`, across
        restarts: the file is written at each yes."""
        try:
            release = Release.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None
        agreed_s = 0.0
        try:
            self.require_consent(release)
        except AudioTuneError as e:
            agreed_s = time.time() - path.stat().st_mtime  # the last answer was yes, or the release would not be in the cache
            if is_refusal(e):
                self.forget_release(release)
            if is_refusal(e) or not 0 <= agreed_s <= self._settings.grace_s:
                raise
        loaded = self._open_release(release)
        loaded.agreed_at -= agreed_s
        return loaded

    def _cache_path(self, name: str) -> Path:
        store = "".join(c if c.isalnum() else "-" for c in self._store.url)[-80:]
        return choose_cache_folder() / "generation" / store / f"{name}.json"


def count_free_gpu_bytes(gpu: Any, device: Any) -> int:
    """Bytes of a GPU that can still be taken: free ones, and those in blocks that torch keeps and does not use.

    Args:
        gpu: torch.cuda, or what answers like it.
    """
    free: int = gpu.mem_get_info(device)[0]
    return free + int(gpu.memory_reserved(device)) - int(gpu.memory_allocated(device))


def measure_free_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Bytes that can still be taken: of the machine, or of the container (cgroup v2) when that is less; infinite where the system
    tells neither. File cache that the kernel gives back first counts as free, as in Kubernetes' working set."""
    free = []
    with suppress(OSError):
        free += [float(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if "MemAvailable" in line]
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (float((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
        free.append(limit - used)
        counts = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        free[-1] += float(counts.get("inactive_file", 0))
    return min(free, default=float("inf"))
