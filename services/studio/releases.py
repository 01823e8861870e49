"""Releases as the studio shows them: the records in the store, and the aliases that the generation service knows."""

from typing import Any

from pydantic import ValidationError

from audiotune.domain.release import Release
from audiotune.store.layout import RELEASES
from audiotune.store.port import Store


def list_releases(store: Store) -> list[Release]:
    """Every release that has a record in the store, newest first; a record of another format is skipped."""
    releases = []
    for entry in store.list(RELEASES.path):
        if entry.key.endswith(".json"):
            try:
                releases.append(Release.model_validate_json(store.get(entry.key)))
            except ValidationError:
                continue
    return sorted(releases, key=lambda release: release.made, reverse=True)


def read_evaluation_report(store: Store, releases: list[Release], digest: str) -> str | None:
    """The evaluation report of a release as a page, or None. Found by digest, so that a page cannot read any other key."""
    release = next((r for r in releases if r.digest == digest), None)
    if release is None or not release.evaluation.report:
        return None
    return store.get(release.evaluation.report).decode("utf-8", errors="replace")


def find_aliases(listed: list[dict[str, Any]], release: Release) -> list[str]:
    """The aliases the service's listing gives a release, found by digest or by name and version."""
    for entry in listed:
        named_alike = (entry.get("name"), str(entry.get("version", ""))) == (release.name, release.version)
        if named_alike or entry.get("digest") == release.digest:
            return [str(alias) for alias in entry.get("aliases") or [entry.get("alias")] if alias]
    return []
