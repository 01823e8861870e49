"""What must follow in the registry when consent has changed or the group decided: the champion is the version decided on, where it may
play, and the others say why not.

Computed of the ledger alone, so it can be run at any time and again after a crash at any point. The generation service does not wait
for it: it asks the ledger itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.release import Release
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.release_standing import choose_champion, find_decided_champion, list_objections
from audiotune.store.port import Store


class ReleaseAliases(Protocol):
    """As far as this needs a registry: `audiotune.registry.releases`."""

    def list_release_names(self) -> list[str]: ...
    def list_releases(self, name: str) -> list[Release]: ...
    def list_aliases(self, name: str) -> dict[str, str]: ...
    def set_alias(self, name: str, alias: str, version: str) -> None: ...
    def delete_alias(self, name: str, alias: str) -> None: ...
    def mark_withdrawn(self, name: str, version: str, why: str) -> bool: ...


class RegistryChange(FrozenModel):
    """One thing that was done in the registry."""

    name: str
    version: str
    what: str

    def __str__(self) -> str:
        return f"{self.name} version {self.version}: {self.what}"


def follow_consent(store: Store, registry: ReleaseAliases) -> list[RegistryChange]:
    """Moves aliases and marks versions of every release. Returns what was changed: nothing the second time. Raises RegistryError."""
    return [change for name in registry.list_release_names() for change in follow_release_consent(store, registry, name)]


def follow_release_consent(store: Store, registry: ReleaseAliases, name: str) -> list[RegistryChange]:
    """As `follow_consent`, of the versions of one release."""
    state = open_ledger(store).read_state()
    return list(_follow_name(store, state, registry, name)) if state.agreement else []


def _follow_name(store: Store, state: GovernanceState, registry: ReleaseAliases, name: str) -> Iterator[RegistryChange]:
    releases, aliases = registry.list_releases(name), registry.list_aliases(name)
    silent = {release.version: "; ".join(list_objections(store, state, release, "champion", "generate")) for release in releases}
    champion, decided = aliases.get("champion"), find_decided_champion(state, name)
    if decided and decided != champion and silent.get(decided) == "":
        registry.set_alias(name, "champion", decided)
        champion = decided
        yield RegistryChange(name=name, version=decided, what="the champion, as the group decided")
    if champion is not None and silent.get(champion):
        yield _replace_champion(store, state, registry, releases, champion, silent[champion])
    candidate = aliases.get("candidate")
    if candidate is not None and silent.get(candidate):
        registry.delete_alias(name, "candidate")
        yield RegistryChange(name=name, version=candidate, what=f"no candidate any more: {silent[candidate]}")
    for version, why in silent.items():
        if registry.mark_withdrawn(name, version, why):
            yield RegistryChange(name=name, version=version, what=f"marked: {why}" if why else "may play again")


def _replace_champion(
    store: Store, state: GovernanceState, registry: ReleaseAliases, releases: list[Release], champion: str, why: str
) -> RegistryChange:
    name, other = releases[0].name, choose_champion(store, state, releases)
    if other is None:
        registry.delete_alias(name, "champion")
        return RegistryChange(name=name, version=champion, what=f"no champion any more, and no other version may play: {why}")
    registry.set_alias(name, "champion", other.version)
    return RegistryChange(name=name, version=champion, what=f"version {other.version} is the champion in its place: {why}")
