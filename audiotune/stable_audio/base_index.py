"""What the store knows of a base that was copied into it: the blob of each of its files, and where they came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from audiotune.domain.recording import Digest
from audiotune.errors import NotInStoreError
from audiotune.stable_audio.known_bases import find_known_base
from audiotune.store.layout import BASES
from audiotune.store.port import Store, digest_from_key


@dataclass(frozen=True)
class BaseIndex:
    """A base in the store.

    Attributes:
        files: path inside the base's folder -> store key. What is heard depends on these.
        notices: the same for its licence and notice, which do not count in the digest.
        revisions: repository of the hub -> the revision that was copied.
    """

    name: str
    files: Mapping[str, str]
    notices: Mapping[str, str] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> Digest:
        return compute_base_digest({path: digest_from_key(key) or "" for path, key in self.files.items()})


def compute_base_digest(files: Mapping[str, Digest]) -> Digest:
    """SHA-256 over the names and hashes of a base's files."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()


def read_base_index(store: Store, name: str) -> BaseIndex | None:
    """The index of a base by any of its names; None where the store has none."""
    try:
        return _parse_index(store.get(_index_key(choose_index_name(name))))
    except NotInStoreError:
        return None


def write_base_index(store: Store, index: BaseIndex) -> None:
    """Makes a base known by its name. All its blobs must be in the store already."""
    content = {**asdict(index), "digest": index.digest}
    store.put(_index_key(index.name), json.dumps(content, sort_keys=True).encode())


def choose_index_name(name: str) -> str:
    """The name that a base is kept under: its repository, or its own name where a repository holds two bases."""
    known = find_known_base(name)
    if known is None or not known.repository:
        return name
    return known.repository if find_known_base(known.repository) is known else known.name


def list_base_indexes(store: Store) -> Iterator[BaseIndex]:
    """All bases in the store."""
    for entry in store.list(BASES.path):
        yield _parse_index(store.get(entry.key))


def _parse_index(data: bytes) -> BaseIndex:
    found = json.loads(data)  # version 0.2 and older wrote name, files and digest alone
    return BaseIndex(found["name"], found["files"], found.get("notices", {}), found.get("revisions", {}))


def _index_key(name: str) -> str:
    return BASES.key(f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json")
