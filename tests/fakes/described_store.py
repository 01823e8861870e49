"""A store with described takes in it, without any sound being decoded: for what happens between segments and a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Description, Recording
from audiotune.domain.segment import Segment, segment_id
from audiotune.governance import Agreement, Member, publish_agreement
from audiotune.governance.agreement import ALL_USES
from audiotune.governance.consent import record_standing_consents
from audiotune.store import FolderStore
from tests.fakes.layout_store import LayoutStore

RATE_HZ = 44_100
PEOPLE = ("ana", "ben", "chi")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def recording(name: str, **more: Any) -> Recording:
    """A recording nobody ever made; one second of silence as far as its numbers go."""
    silence = Description(peak_dbfs=None, true_peak_dbtp=None, loudness_lufs=None, dc_offset=(0.0,), clipped_share=0, dropouts=0)
    facts: dict[str, Any] = {
        "id": digest(name), "blob": f"blobs/{digest(name)}", "name": name, "source": "tests", "contributors": ("ana",),
        "licence": "CC0-1.0", "format": "WAV PCM_16", "sample_rate_hz": RATE_HZ, "channels": 1, "frames": RATE_HZ * 60,
        "description": silence, "fingerprint": "",
    }  # fmt: skip
    return Recording(**{**facts, **more})


def segment(take: Recording, place: int, blob: str = "") -> Segment:
    """The second number `place` of a take."""
    start, end = place * RATE_HZ, (place + 1) * RATE_HZ
    return Segment(
        id=segment_id(take.id, start, end, 0.0, 0.0, 0.0), recording=take.id, start_frame=start, end_frame=end,
        sample_rate_hz=RATE_HZ, blob=blob or f"blobs/sha256/{digest('s')[:2]}/{digest('s')}.flac", frames=RATE_HZ,
    )  # fmt: skip


def agreement(*extra: Member) -> Agreement:
    members = (*(Member(id=who, name=who.title(), consents_to=ALL_USES) for who in PEOPLE), *extra)
    return Agreement(
        group="Test <Group>", version=1, members=members, recordings_licence="LicenseRef-members-only",
        accepted_licences=("CC0-1.0",), weights_licence="LicenseRef-co-owned", allowed_uses=ALL_USES,
    )  # fmt: skip


@dataclass(frozen=True)
class DescribedStore:
    """What was made. `segments` by take name."""

    store: FolderStore
    key: str
    takes: Mapping[str, Recording]
    segments: Mapping[str, list[Segment]]


def make_described_store(
    folder: Path, takes: list[Recording], each: int = 2, group: Agreement | None = None, blob: bytes | None = None
) -> DescribedStore:
    """A store with takes, `each` segments of each, the agreement and standing consent; `blob` is the sound of all segments."""
    store = LayoutStore(folder)
    group = group or agreement()
    publish_agreement(store, group)
    key = store.put_blob(blob, ".flac") if blob else ""
    segments = {take.name: [segment(take, i, key) for i in range(each)] for take in takes}
    for take in takes:
        record_standing_consents(store, group, take.id, take.contributors)
    recordings = Manifest("recordings", takes, {"source": "tests"}).save(store)
    rows = [one for take in takes for one in segments[take.name]]
    made = Manifest("segments", rows, {"recordings": recordings}).save(store)
    return DescribedStore(store, made, {take.name: take for take in takes}, segments)
