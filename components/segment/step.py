"""Cuts recordings into segments. A recording that was cut before with the same settings is not cut again."""

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from audiotune.audio.decode import open_sound
from audiotune.audio.downmix import Mix
from audiotune.audio.sound import RENDER_CHANNELS, to_decibels
from audiotune.domain.label_tracks import TimeLabel
from audiotune.domain.manifest import Manifest, fetch_manifest, load_manifest
from audiotune.domain.recording import Recording
from audiotune.domain.segment import Segment
from audiotune.errors import AudioTuneError, ManifestError, SoundError, StoreError
from audiotune.governance import read_consents
from audiotune.governance.excepted import split_excepted
from audiotune.reporting.progress import ProgressCallback
from audiotune.store import Store
from audiotune.store.layout import CUTS
from components.executor import StepResult
from components.segment.features import RecordingFeatures, extract_features
from components.segment.label_cuts import LabelCuts, find_label_cuts
from components.segment.rendering import extract_frames, measure_mix, mix_blocks, render_segment
from components.segment.report import SegmentedRecording, render_report
from components.segment.segment_bounds import SegmentBounds, find_segment_bounds, keep_whole
from components.segment.settings import Settings
from components.segment.speech import detect_speech

_METHOD = "5"  # raise it when the same settings cut differently: stored results of the old method are then not used
_COLUMNS = 1000  # of a waveform picture
_NOT_IN_KEY = {"pictures", "cut_at_labels"}  # the report's own; and what the labels in the key say
_Cuts = list[tuple[SegmentBounds, bool]]


def run_step(
    settings: Settings, store: Store, progress: ProgressCallback, *, recordings: Path, segments: Path, report: Path, metrics: Path
) -> StepResult:
    """Cuts every recording of the manifest. Raises SoundError when there is no segment at all."""
    manifest = load_manifest(recordings, "recordings", Recording)
    results = []
    for i, recording in enumerate(manifest.rows):
        progress(i / len(manifest.rows), f"listening to {recording.name}")
        results.append(_segment_recording(recording, store, settings))
    consents = read_consents(store, [recording.id for recording in manifest.rows])
    rows, excepted = split_excepted(consents, (segment for result in results for segment in result.segments))
    results = [_leave_out(result, excepted) for result in results]
    report.write_text(render_report(results, settings.pictures), encoding="utf-8")
    if not rows:
        said = [f"{r.recording.name}: {r.fault}" for r in results if r.fault] or [why for _, why in excepted]
        faults = "; ".join(said) or "every recording is silent"
        raise SoundError(f"no segment was found ({faults[:500]})", cure="lower onset_db, quietest_dbfs or min_sound_s")
    whole = Manifest("segments", rows, {"recordings": manifest.key})
    manifest.save(store)
    key = whole.save(store)
    whole.write(segments)
    progress(1.0, f"{len(rows)} segments from {len(results)} recordings")
    return StepResult({"segments_key": key}, _compute_metrics(results, rows), {"segments": {"rows": len(rows), "key": key}})


def _leave_out(result: SegmentedRecording, excepted: list[tuple[Segment, str]]) -> SegmentedRecording:
    """A result without the segments that touch what a player left out; what was cut stays stored for when it is taken back."""
    gone = {segment.id for segment, _ in excepted}
    return replace(result, segments=[segment for segment in result.segments if segment.id not in gone])


def _compute_metrics(results: list[SegmentedRecording], rows: list[Segment]) -> dict[str, float]:
    lengths = [segment.duration_s for segment in rows]
    return {
        "recordings": len(results),
        "segments": len(rows),
        "seconds_in": round(sum(r.recording.duration_s for r in results), 3),
        "seconds_kept": round(sum(lengths), 3),
        "median_segment_s": round(float(np.median(lengths)), 3),
        "talk": sum(segment.speech for segment in rows),
        "without_segments": sum(not r.segments for r in results),
        "failed": sum(bool(r.fault) for r in results),
        "reused": sum(r.reused for r in results),
        "with_labels": sum(bool(r.notes) for r in results),
    }


def _segment_recording(recording: Recording, store: Store, settings: Settings) -> SegmentedRecording:
    """Cuts one recording, or loads its earlier result. The report lists damaged ones."""
    key = _bounds_key(recording, settings)
    before = _load_earlier_result(recording, key, store)
    if before:
        return before
    try:
        path = store.fetch(recording.blob)
        mix = recording.mix or (measure_mix(path) if recording.channels > RENDER_CHANNELS else ())
        layers, heard, notes = _analyse_recording(path, mix, _list_regions(recording, settings), settings)
        peaks, loudest = _compute_peaks(heard), float(heard.peak.max(initial=0.0))
        rows = [row for cuts in layers for row in _render_segments(recording, path, mix, cuts, loudest, store, settings)]
        rows.sort(key=lambda row: (row.start_frame, row.end_frame))
    except StoreError:
        raise  # the next recording would fail as well
    except AudioTuneError as e:
        return SegmentedRecording(recording, [], np.zeros(1, np.uint8), fault=str(e))
    meta = {"recording": recording.id, "peaks": base64.b64encode(peaks.tobytes()).decode(), "notes": notes}
    store.put(key, Manifest("cuts", rows, meta).to_bytes())  # written last, when every blob is stored
    return SegmentedRecording(recording, rows, peaks, notes=notes)


def _list_regions(recording: Recording, settings: Settings) -> list[TimeLabel]:
    """The labels that a recording is cut at."""
    return [label for label in recording.labels if label.is_region] if settings.cut_at_labels else []


def _analyse_recording(
    path: Path, mix: Mix, regions: list[TimeLabel], settings: Settings
) -> tuple[list[_Cuts], RecordingFeatures, list[str]]:
    """Layers of cuts, each with the guess whether it is talk; the features they were found in; what the report says of labels."""
    with open_sound(path) as decoded:
        heard = extract_features(mix_blocks(decoded, mix), decoded.sample_rate_hz, settings.highpass_hz)
    found = find_label_cuts(regions, heard, settings) if regions else LabelCuts(())
    layers = found.layers or (keep_whole(heard, settings) if settings.whole else find_segment_bounds(heard, settings),)
    judged = [[(cut, detect_speech(heard, cut.start_frame, cut.end_frame)) for cut in cuts] for cuts in layers]
    return judged, heard, list(found.notes)


def _render_segments(
    recording: Recording,
    path: Path,
    mix: Mix,
    cuts: _Cuts,
    loudest: float,
    store: Store,
    settings: Settings,
) -> list[Segment]:
    rows = []
    loudest_dbfs = to_decibels(loudest)
    with open_sound(path) as decoded:
        sounds = extract_frames(mix_blocks(decoded, mix), (cut for cut, _ in cuts))
        for (cut, frames), (_, talk) in zip(sounds, cuts, strict=False):  # fewer when the file has become shorter since
            rows.append(render_segment(recording.id, cut, frames, decoded.sample_rate_hz, talk, store, settings, loudest_dbfs))
    return rows


def _bounds_key(recording: Recording, settings: Settings) -> str:
    """The key under which the cuts of this recording with these settings are stored."""
    unset = _NOT_IN_KEY if settings.whole else _NOT_IN_KEY | {"whole"}  # cuts of before this setting are used on
    inputs = f"{_METHOD} {recording.id} {settings.model_dump_json(exclude=unset)}"
    if regions := _list_regions(recording, settings):
        inputs += json.dumps([label.model_dump() for label in regions])
    return CUTS.key(f"{hashlib.sha256(inputs.encode()).hexdigest()}.jsonl")


def _load_earlier_result(recording: Recording, key: str, store: Store) -> SegmentedRecording | None:
    if not store.exists(key):
        return None
    try:
        done: Manifest[Segment] = fetch_manifest(store, key, "cuts", Segment)
    except ManifestError:
        return None  # damaged: cut again and overwrite it
    if not all(store.exists(segment.blob) for segment in done.rows):
        return None
    peaks: Any = np.frombuffer(base64.b64decode(done.meta["peaks"]), np.uint8)
    return SegmentedRecording(recording, done.rows, peaks, reused=True, notes=done.meta.get("notes", []))


def _compute_peaks(heard: RecordingFeatures) -> np.ndarray:
    """The columns of the picture, in bytes over a range of 96 dB."""
    if not len(heard.peak):
        return np.zeros(1, np.uint8)
    edges = np.linspace(0, len(heard.peak), min(_COLUMNS, len(heard.peak)) + 1).astype(np.int64)[:-1]
    level = 20 * np.log10(np.maximum(np.maximum.reduceat(heard.peak, edges), 1e-6))
    return np.clip(255 * (1 + level / 96), 0, 255).astype(np.uint8)
