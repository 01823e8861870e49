"""A registry of releases in memory, with what withdrawals ask of `audiotune.registry.releases`."""

from __future__ import annotations

from audiotune.domain.release import Release


class MemoryRegistry:
    """Versions by name. `marks`: why a version may not play. `run_files`: by run."""

    def __init__(self) -> None:
        self.versions: dict[str, dict[str, Release]] = {}
        self.aliases: dict[str, dict[str, str]] = {}
        self.marks: dict[tuple[str, str], str] = {}
        self.run_files: dict[str, list[str]] = {}

    def add(self, release: Release, *aliases: str) -> None:
        self.versions.setdefault(release.name, {})[release.version] = release
        for alias in aliases:
            self.set_alias(release.name, alias, release.version)

    def list_release_names(self) -> list[str]:
        return sorted(self.versions)

    def list_releases(self, name: str) -> list[Release]:
        return list(self.versions.get(name, {}).values())

    def list_aliases(self, name: str) -> dict[str, str]:
        return dict(self.aliases.get(name, {}))

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self.aliases.setdefault(name, {})[alias] = version

    def delete_alias(self, name: str, alias: str) -> None:
        self.aliases.get(name, {}).pop(alias, None)

    def mark_withdrawn(self, name: str, version: str, why: str) -> bool:
        before = self.marks.get((name, version), "")
        self.marks[name, version] = why
        return before != why

    def delete_run_files(self, run_id: str) -> bool:
        return self.run_files.pop(run_id, None) is not None

    def delete_release(self, name: str, version: str, run_id: str, digest: str, adapter: str) -> bool:
        found = self.versions.get(name, {}).get(version)
        if found is None or (found.digest, found.weights.adapter_digest) != (digest, adapter):
            return False
        del self.versions[name][version]
        self.aliases[name] = {alias: at for alias, at in self.list_aliases(name).items() if at != version}
        return True
