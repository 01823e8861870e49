"""Manifests: JSON Lines files that steps pass on, while the sounds stay in the store.

The first line is a header with kind, format version, row count, digest of the rows and free metadata. A file that was cut or
changed does not load.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from audiotune.errors import ManifestError
from audiotune.store.atomic_files import write_atomic_file
from audiotune.store.layout import manifest_folder
from audiotune.store.port import Store, StoreEntry

VERSION = 1
Row = TypeVar("Row", bound=BaseModel)


@dataclass(frozen=True)
class Manifest(Generic[Row]):
    """Rows of one kind with metadata; `digest` is the SHA-256 of the rows' canonical JSON."""

    kind: str
    rows: list[Row]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return hashlib.sha256(_encode_rows(self.rows)).hexdigest()

    @property
    def key(self) -> str:
        """Store key of the manifest."""
        return manifest_key(self.kind, self.digest)

    def to_bytes(self) -> bytes:
        body = _encode_rows(self.rows)
        header = {
            "kind": self.kind,
            "version": VERSION,
            "rows": len(self.rows),
            "sha256": hashlib.sha256(body).hexdigest(),
            "meta": self.meta,
        }
        return json.dumps(header, sort_keys=True, ensure_ascii=False).encode() + b"\n" + body

    def write(self, path: Path) -> Path:
        return write_atomic_file(path, self.to_bytes())

    def save(self, store: Store) -> str:
        """Writes the manifest to the store and returns its key."""
        store.put(self.key, self.to_bytes())
        return self.key


def manifest_key(kind: str, digest: str) -> str:
    """Store key of a manifest."""
    return f"{manifest_folder(kind)}{digest}.jsonl"


def load_manifest(source: Path | bytes, kind: str, row: type[Row]) -> Manifest[Row]:
    """Reads and checks a manifest. Raises ManifestError: no manifest, another kind, cut, changed, or a row that does not fit."""
    where = str(source) if isinstance(source, Path) else f"a {kind} manifest"
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as e:
        raise ManifestError(f"cannot read the manifest: {e.strerror}", where=where, cure="run the step before again") from e
    head, _, body = data.partition(b"\n")
    header = _parse_header(head, where)
    if header.get("kind") != kind:
        raise ManifestError(f"a manifest of {header.get('kind')!r} where {kind!r} is needed", where=where)
    if header.get("version") != VERSION:
        raise ManifestError(f"manifest version {header.get('version')}, this program reads {VERSION}", where=where)
    if hashlib.sha256(body).hexdigest() != header.get("sha256"):
        raise ManifestError("the manifest was cut or changed after it was written", where=where, cure="run the step before again")
    try:
        rows = [row.model_validate_json(line) for line in body.splitlines()]
    except ValidationError as e:
        raise ManifestError(f"a row does not fit: {e.errors()[0]['msg']}", where=where) from e
    return Manifest(kind, rows, dict(header.get("meta") or {}))


def fetch_manifest(store: Store, key: str, kind: str, row: type[Row]) -> Manifest[Row]:
    """Loads a manifest from the store by key."""
    return load_manifest(store.get(key), kind, row)


def fetch_manifest_meta(store: Store, key: str) -> dict[str, Any]:
    """The metadata of a manifest in the store, without a look at its rows. Raises ManifestError, StoreError."""
    return dict(_parse_header(store.get(key).partition(b"\n")[0], key).get("meta") or {})


def list_manifests(store: Store, kind: str) -> list[StoreEntry]:
    """The manifests of this kind, the oldest first."""
    prefix = manifest_folder(kind)
    manifests = (e for e in store.list(prefix) if e.key.endswith(".jsonl") and "/" not in e.key.removeprefix(prefix))
    return sorted(manifests, key=lambda entry: (entry.modified, entry.key))


def find_newest_manifest(store: Store, kind: str) -> str | None:
    """The key of the manifest of this kind that was written last, or None."""
    manifests = list_manifests(store, kind)
    return manifests[-1].key if manifests else None


def _parse_header(line: bytes, where: str) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ManifestError("the first line is no manifest header", where=where, cure="pass the file the step before wrote")
    return header


def _encode_rows(rows: Iterable[BaseModel]) -> bytes:
    lines = (json.dumps(row.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()
