"""A hub of model repositories in a dictionary: a port of ours, so that no test needs the network."""

from __future__ import annotations

from pathlib import Path

from audiotune.errors import SourceError


class FakeHub:
    """Repositories as name -> file -> content; counts what is downloaded."""

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        self.repositories = repositories
        self.downloads: list[str] = []

    def list_files(self, repository: str) -> tuple[str, ...]:
        if repository not in self.repositories:
            raise SourceError("no such repository", where=repository)
        return tuple(self.repositories[repository])

    def download(self, repository: str, file: str, folder: Path) -> Path:
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.repositories[repository][file])
        self.downloads.append(f"{repository}/{file}")
        return target
