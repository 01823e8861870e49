"""What a store says was made of its recordings: every manifest, memo, checkpoint and card that names blobs. Read once, kept in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from audiotune.domain.base64_files import decode_base64_file
from audiotune.domain.checkpoint import Checkpoint
from audiotune.domain.dataset import DatasetRow, LatentRow
from audiotune.domain.lineage import TrainedWeights
from audiotune.domain.manifest import Manifest, fetch_manifest, list_manifests
from audiotune.domain.recording import Digest, Recording
from audiotune.domain.release import Evaluation, Release
from audiotune.domain.segment import Segment
from audiotune.domain.upload import Upload
from audiotune.errors import ManifestError, NotInStoreError, StoreError
from audiotune.store.layout import (
    BASES,
    CHECKPOINTS,
    CUTS,
    EVALUATED_SOUNDS,
    EVALUATIONS,
    INBOX,
    JOB_EVENTS,
    LATENTS,
    LINEAGES,
    RELEASES,
)
from audiotune.store.port import BLOB_PATTERN, Store, compute_digest

_FIRST_EVENT = "000000.json"  # of a job: it holds the request
_Row = TypeVar("_Row", bound=BaseModel)
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class CutList:
    """Finished segments of one recording, under a key of their own."""

    key: str
    recording: Digest
    segments: list[Segment]


class StoreTraces:
    """One look at a store. Objects that cannot be read, as those of another version, name nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @cached_property
    def recordings(self) -> list[Recording]:
        return [row for manifest in self._read_manifests("recordings", Recording) for row in manifest.rows]

    @cached_property
    def cuts(self) -> list[CutList]:
        found = []
        for entry in self.store.list(CUTS.path):
            manifest = self._read_manifest(entry.key, "cuts", Segment)
            if manifest:
                found.append(CutList(entry.key, str(manifest.meta.get("recording", "")), manifest.rows))
        return found

    @cached_property
    def segments(self) -> list[Segment]:
        listed = [row for manifest in self._read_manifests("segments", Segment) for row in manifest.rows]
        return [*listed, *(segment for cut in self.cuts for segment in cut.segments)]

    @cached_property
    def datasets(self) -> dict[Digest, Manifest[DatasetRow]]:
        return {manifest.digest: manifest for manifest in self._read_manifests("datasets", DatasetRow)}

    @cached_property
    def latents(self) -> list[LatentRow]:
        return [row for manifest in self._read_manifests("latents", LatentRow) for row in manifest.rows]

    @cached_property
    def encodings(self) -> dict[str, frozenset[str]]:
        """Key of a memo of encode -> the latents that it names."""
        found = {}
        for entry in self.store.list(LATENTS.path):
            parts = _read_json(self.store, entry.key)
            if isinstance(parts, list) and all(isinstance(part, dict) for part in parts):
                found[entry.key] = frozenset(str(part.get("latents")) for part in parts)
        return found

    @cached_property
    def checkpoints(self) -> dict[str, Checkpoint]:
        return dict(self._read_models(CHECKPOINTS.path, Checkpoint))

    @cached_property
    def trained(self) -> dict[str, TrainedWeights]:
        """Key -> which dataset weights were trained on."""
        return dict(self._read_models(LINEAGES.path, TrainedWeights))

    @cached_property
    def cards(self) -> list[Release]:
        return [card for _, card in self._read_models(RELEASES.path, Release)]

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        return dict(self._read_models(EVALUATIONS.path, Evaluation))

    @cached_property
    def evaluated_sounds(self) -> dict[str, tuple[str, str]]:
        """Key -> (identity of the weights that made it; key of its sound). Empty for those that no weights are written down for."""
        read = ((entry.key, _read_json(self.store, entry.key)) for entry in self.store.list(EVALUATED_SOUNDS.path))
        return {
            key: (str(found.get("weights", "")), str(found.get("sound", ""))) for key, found in read if isinstance(found, dict)
        }

    @cached_property
    def uploads(self) -> list[Upload]:
        return [upload for _, upload in self._read_models(INBOX.path, Upload, "/upload.json")]

    @cached_property
    def start_sounds(self) -> dict[str, Digest]:
        """Folder of a job -> SHA-256 of the file that a member sent with it to start from. Empty where this program may not look."""
        found: dict[str, Digest] = {}
        with suppress(StoreError):
            for entry in self.store.list(JOB_EVENTS.path):
                if entry.key.endswith(_FIRST_EVENT):
                    event = _read_json(self.store, entry.key)
                    request = event.get("request") if isinstance(event, dict) else None
                    audio = request.get("init_audio") if isinstance(request, dict) else None
                    with suppress(ValueError):  # no base64: nobody ever heard it
                        if audio:
                            found[entry.key.removesuffix(_FIRST_EVENT)] = compute_digest(decode_base64_file(str(audio)))
        return found

    @cached_property
    def base_blobs(self) -> frozenset[str]:
        """Blobs of base models."""
        texts = (self._get_text(entry.key) for entry in self.store.list(BASES.path))
        return frozenset(match.group(0) for text in texts for match in BLOB_PATTERN.finditer(text))

    def _read_manifests(self, kind: str, row: type[_Row]) -> list[Manifest[_Row]]:
        read = (self._read_manifest(entry.key, kind, row) for entry in list_manifests(self.store, kind))
        return [manifest for manifest in read if manifest]

    def _read_manifest(self, key: str, kind: str, row: type[_Row]) -> Manifest[_Row] | None:
        try:
            return fetch_manifest(self.store, key, kind, row)
        except (ManifestError, NotInStoreError):
            return None

    def _read_models(self, prefix: str, model: type[_Model], ending: str = ".json") -> Iterator[tuple[str, _Model]]:
        for entry in self.store.list(prefix):
            if entry.key.endswith(ending):
                try:
                    yield entry.key, model.model_validate_json(self.store.get(entry.key))
                except (ValidationError, NotInStoreError):
                    continue

    def _get_text(self, key: str) -> str:
        try:
            return self.store.get(key).decode("utf-8", errors="replace")
        except NotInStoreError:
            return ""


def _read_json(store: Store, key: str) -> object:
    try:
        return json.loads(store.get(key))
    except (ValueError, NotInStoreError):
        return None
