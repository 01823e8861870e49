"""Selects the segments of a dataset: one manifest by its key, or every segment in the store."""

from collections.abc import Iterable

from audiotune.domain import manifest
from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Recording
from audiotune.domain.segment import Segment
from audiotune.errors import ManifestError
from audiotune.store.layout import SEGMENTS
from audiotune.store.port import Store


def load_segments(store: Store, key: str) -> Manifest[Segment]:
    """The segments of a manifest; with "newest" those of all manifests, each recording as it was cut last.

    Every upload makes its own manifest, so the last one alone would omit earlier sessions.

    Raises:
        ManifestError: the store holds no segments.
    """
    if key != "newest":
        return manifest.fetch_manifest(store, key, "segments", Segment)
    entries = [entry for entry in store.list(SEGMENTS.path) if entry.key.endswith(".jsonl")]
    if not entries:
        raise ManifestError("the store holds no segments", where=store.url, cure="run prepare first")
    in_time = sorted(entries, key=lambda entry: (entry.modified, entry.key))
    cuts = [manifest.fetch_manifest(store, entry.key, "segments", Segment) for entry in in_time]
    return cuts[0] if len(cuts) == 1 else _merge_manifests(store, cuts)


def load_recordings(store: Store, cut: Manifest[Segment]) -> dict[str, Recording]:
    """The recordings of the segments. Raises ManifestError when no manifest names one."""
    key = cut.meta.get("recordings")
    if not key:
        raise ManifestError("the segments manifest names no recordings", where=cut.key, cure="run segment again")
    recordings = {r.id: r for r in manifest.fetch_manifest(store, str(key), "recordings", Recording).rows}
    missing = {segment.recording for segment in cut.rows} - set(recordings)
    if missing:
        raise ManifestError(
            f"no recording {min(missing)[:12]} in the recordings manifest", where=str(key), cure="run segment again"
        )
    return recordings


def select_newest_segments(cuts: Iterable[Iterable[Segment]]) -> list[Segment]:
    """Of several manifests, oldest first: each recording's segments from the last one that contains it, by recording."""
    newest: dict[str, list[Segment]] = {}
    for cut in cuts:
        by_recording: dict[str, list[Segment]] = {}
        for segment in cut:
            by_recording.setdefault(segment.recording, []).append(segment)
        newest |= by_recording
    return [segment for id in sorted(newest) for segment in newest[id]]


def _merge_manifests(store: Store, cuts: list[Manifest[Segment]]) -> Manifest[Segment]:
    """Merges manifests, oldest first, and saves the result and its recordings in the store."""
    recordings: dict[str, Recording] = {}
    for cut in cuts:
        recordings |= load_recordings(store, cut)
    rows = select_newest_segments([cut.rows for cut in cuts])
    ids = {segment.id for segment in rows}
    for cut in cuts:
        if len(cut.rows) >= len(rows) and {segment.id for segment in cut.rows} == ids:
            return cut  # it contains everything already
    key = Manifest("recordings", [recordings[id] for id in sorted(recordings)], {"source": "all uploads"}).save(store)
    merged = Manifest("segments", rows, {"recordings": key})
    merged.save(store)
    return merged
