"""A store with a small group's work in it, made through the nouns: members, recordings, segments, answers, a release.

    python -m tests.fakes.seeded_store FOLDER      fills a folder to try the studio with

Every sound is made here from numpy tones.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audiotune.audio.sound import RENDER_RATE_HZ, Sound
from audiotune.domain import annotation
from audiotune.domain.annotation import Annotation
from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Description, Recording
from audiotune.domain.release import Evaluation, Lineage, Release, WeightsPointer
from audiotune.domain.segment import Segment, segment_id
from audiotune.governance import Agreement, Member, publish_agreement
from audiotune.governance.consent import record_standing_consents
from audiotune.store import FolderStore, Store, compute_digest
from tests.fakes.fades import apply_fades
from tests.fakes.layout_store import LayoutStore

ALL = ("store", "train", "release", "generate")
_TAKES = (
    ("tuesday drone.wav", ("ana", "ben"), "Tuesday jam", "modular", 110.0),
    ("plucks & bells.wav", ("chi",), "Tuesday jam", "FM voice", 660.0),
    ("feedback <loud>.wav", ("ana",), "Garage", "no-input mixer", 1760.0),
)


@dataclass(frozen=True)
class Seeded:
    """What was made."""

    store: FolderStore
    agreement: Agreement
    recordings: list[Recording]
    segments: list[Segment]
    release: Release


def agreement() -> Agreement:
    """Three members who agree to everything, and one who has left."""
    members = [Member(id=name.lower(), name=name, consents_to=ALL) for name in ("Ana", "Ben", "Chi")]
    members.append(Member(id="zoe", name="Zoe", left=True))
    return Agreement(
        group="The Patch Bay Five",
        version=1,
        members=tuple(members),
        recordings_licence="LicenseRef-members-only",
        accepted_licences=("CC0-1.0", "CC-BY-4.0"),
        weights_licence="LicenseRef-co-owned-by-the-members",
    )


def seed(folder: Path, segments_each: int = 4, segment_s: float = 1.5) -> Seeded:
    """Fills a fresh folder store.

    Args:
        segments_each: segments cut from each of the three recordings.
        segment_s: length of each in seconds.
    """
    store = LayoutStore(folder)
    group = agreement()
    publish_agreement(store, group)
    recordings, segments = [], []
    for name, people, session, instrument, pitch_hz in _TAKES:
        sound = _take(pitch_hz, segments_each * segment_s)
        recording = _recording(store, sound, name, people, session, instrument)
        record_standing_consents(store, group, recording.id, people)
        recordings.append(recording)
        segments += [_segment(store, recording, sound, i, segment_s) for i in range(segments_each)]
    kept = Manifest("recordings", recordings, {"source": "tests"}).save(store)
    Manifest("segments", segments, {"recordings": kept}).save(store)
    return Seeded(store, group, recordings, segments, _release(store, group, recordings, segments))


def copy_of(made: Seeded, folder: Path) -> Seeded:
    """The same group in another folder: much faster than seeding again, which waits for the disk at every write."""
    shutil.copytree(made.store.root, folder)
    return replace(made, store=LayoutStore(folder))


def answer(store: Store, segment: Segment, member: str, words: str = "", **tags: tuple[str, ...]) -> Annotation:
    """One member's answer, as the studio would have kept it."""
    given = Annotation(segment=segment.id, member=member, tags=dict(tags), words=words)
    annotation.save_annotation(store, given)
    return given


def tone(pitch_hz: float, seconds: float, sample_rate_hz: int = RENDER_RATE_HZ) -> Sound:
    """A decaying tone with a little detune between left and right."""
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    decay = np.exp(-2.5 * time_s / max(seconds, 0.01))
    left, right = (0.5 * decay * np.sin(2 * np.pi * hz * time_s) for hz in (pitch_hz, pitch_hz * 1.003))
    return Sound(np.stack([left, right]).astype(np.float32), sample_rate_hz)


def _take(pitch_hz: float, seconds: float) -> Sound:
    notes = [tone(pitch_hz * ratio, seconds / 4).data for ratio in (1, 1.5, 0.75, 1.25)]
    return Sound(np.concatenate(notes, axis=1), RENDER_RATE_HZ)


def _recording(store: Store, sound: Sound, name: str, people: tuple[str, ...], session: str, instrument: str) -> Recording:
    data = sound.to_bytes("WAV", "PCM_24")
    description = Description(
        peak_dbfs=sound.peak_dbfs, true_peak_dbtp=sound.peak_dbfs, loudness_lufs=-20.0, dc_offset=(0.0, 0.0),
        clipped_share=0.0, dropouts=0,
    )  # fmt: skip
    return Recording(
        id=compute_digest(data), blob=store.put_blob(data, ".wav"), name=name, source="tests", contributors=people,
        licence="LicenseRef-members-only", session=session, instrument=instrument, format="WAV PCM_24", bit_depth=24,
        sample_rate_hz=sound.sample_rate_hz, channels=2, frames=sound.frames, description=description, fingerprint="",
    )  # fmt: skip


def _segment(store: Store, recording: Recording, sound: Sound, place: int, segment_s: float) -> Segment:
    start, length = (round(x * recording.sample_rate_hz) for x in (place * segment_s, segment_s))
    end = min(start + length, recording.frames)
    rendered = apply_fades(sound.cut(start, end), 0.0, 0.01)
    return Segment(
        id=segment_id(recording.id, start, end, 0.0, 0.0, 0.01), recording=recording.id, start_frame=start, end_frame=end,
        sample_rate_hz=recording.sample_rate_hz, fade_out_s=0.01, blob=store.put_blob(rendered.to_bytes("FLAC"), ".flac"),
        frames=rendered.frames, loudness_lufs=-20.0,
    )  # fmt: skip


def _release(store: Store, group: Agreement, recordings: list[Recording], segments: list[Segment]) -> Release:
    weights, base = b"not real weights", "a" * 64
    pointer = WeightsPointer(
        weights=store.put_blob(weights, ".safetensors"), weights_digest=compute_digest(weights),
        config=store.put_blob(b"{}", ".json"), base="tiny", base_digest=base, dataset="d" * 64, step=800,
    )  # fmt: skip
    page = b"<!doctype html><title>Report</title><h1>How near the sounds come</h1>"
    release = Release(
        name="patch-bay", version="1", weights=pointer, licence=group.weights_licence, notice="",
        lineage=Lineage(
            dataset="d" * 64, segments=tuple(s.id for s in segments), recordings={r.id: r.contributors for r in recordings},
            annotators=("ana", "ben"), base="tiny", base_digest=base, agreement=group.digest,
        ),
        evaluation=Evaluation(
            metrics={"kad_before": 2.1, "kad_after": 0.8}, passed=False, reasons=("one sound is too near to a recording",),
            report=store.put_blob(page, ".html"),
        ),
    )  # fmt: skip
    release.save(store)
    return release


if __name__ == "__main__":
    made = seed(Path(sys.argv[1]), segments_each=8, segment_s=2.0)
    answer(made.store, made.segments[0], "ben", "like a ship's horn far away")
    print(f"{len(made.segments)} segments of {len(made.recordings)} recordings in {made.store.url}")
