"""A hub of model repositories in a dictionary: a port of ours, so that no test needs the network."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from audiotune.errors import SourceError
from audiotune.stable_audio.hub import HubFile, HubSnapshot

LARGE = (".safetensors", ".ckpt", ".bin", ".model")  # of these a hub knows the SHA-256


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

    def read_snapshot(self, repository: str) -> HubSnapshot:
        contents = {path: self.repositories[repository][path] for path in self.list_files(repository)}
        return HubSnapshot(repository, "1" * 40, {path: describe_file(path, data) for path, data in contents.items()})

    def read_range(self, snapshot: HubSnapshot, file: HubFile, begin: int, end: int, out: BinaryIO) -> None:
        out.write(self.repositories[snapshot.repository][file.path][begin:end])
        self.downloads.append(f"{snapshot.repository}/{file.path}")


def describe_file(path: str, data: bytes) -> HubFile:
    """A file as a hub lists it."""
    return HubFile(path, len(data), hashlib.sha256(data).hexdigest() if path.endswith(LARGE) else "")
