"""Releases from the real registry and store: digest and consent are checked before anything is loaded."""

from __future__ import annotations

from audiotune import governance
from audiotune.errors import RegistryError
from audiotune.registry import releases
from audiotune.release import Release
from audiotune.store.port import Store
from services.generation.engine import Models
from services.generation.line import Loaded
from services.generation.settings import Settings


class RegisteredModels(Models):
    """Follows an alias in MLflow."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store

    def version(self) -> tuple[str, str] | None:
        name = self.name()
        version = releases.version_at(name, self._settings.release_alias)
        if version is None and self._settings.candidates:
            version = releases.version_at(name, "candidate")
        return (name, version) if version else None

    def name(self) -> str:
        """The release's name. Raises RegistryError when it must be chosen."""
        if self._settings.release:
            return self._settings.release_name
        known = releases.names()
        if len(known) != 1:
            found = ", ".join(known) or "none"
            raise RegistryError(f"which release? registered: {found}", cure="set AUDIOTUNE_GENERATION_RELEASE to one of them")
        return known[0]

    def load(self, name: str, version: str) -> Loaded:
        from audiotune.stable_audio.released import open_weights

        release = releases.get(name, version)
        self.consent(release)
        return Loaded(release, open_weights(self._store, release.weights, device=self._settings.device))

    def consent(self, release: Release) -> None:
        governance.require(self._store, "generate", release.lineage.recordings)
