"""Releases as the studio shows them: the store's cards, and which of them the generation service plays now."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from audiotune.domain.release import Release
from audiotune.store.layout import RELEASES
from audiotune.store.port import Store


def list_releases(store: Store) -> list[Release]:
    """Every release with a card in the store, newest first; a card of another format is passed over."""
    found = []
    for entry in store.list(RELEASES.path):
        if entry.key.endswith(".json"):
            try:
                found.append(Release.model_validate_json(store.get(entry.key)))
            except ValidationError:
                continue
    return sorted(found, key=lambda release: release.made, reverse=True)


def read_evaluation_report(store: Store, releases: list[Release], digest: str) -> str | None:
    """The evaluation report of a release as a page, or None. Asks by digest, so nobody can ask for any other key."""
    release = next((r for r in releases if r.digest == digest), None)
    if release is None or not release.evaluation.report:
        return None
    return store.get(release.evaluation.report).decode("utf-8", errors="replace")


def find_aliases(listed: list[dict[str, Any]], release: Release) -> list[str]:
    """The aliases the service's listing gives a release, found by digest or by name and version."""
    for entry in listed:
        same = entry.get("digest") == release.digest
        same = same or (entry.get("name"), str(entry.get("version", ""))) == (release.name, release.version)
        if same:
            return [str(alias) for alias in entry.get("aliases") or [entry.get("alias")] if alias]
    return []
