"""What a model is measured with: recorded segments, and the sounds that base and tuned model make of the same words and seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from audiotune import sound
from audiotune.dataset import DatasetRow, Split
from audiotune.manifest import Manifest
from audiotune.sound import Sound
from audiotune.stable_audio.load import StableAudio
from audiotune.stable_audio.sample import Request, generate
from audiotune.store.port import Store
from components.evaluate.settings import Settings

_MANY = 300  # segments compared at most; more tell nothing new


@dataclass(frozen=True)
class Recorded:
    """A segment as it was recorded, cut to the model's window."""

    row: DatasetRow
    sound: Sound


def recorded(store: Store, dataset: Manifest[DatasetRow], split: Split, longest_s: float) -> list[Recorded]:
    """The segments of a split, in an order that does not follow the recordings."""
    rows = sorted((row for row in dataset.rows if row.split == split), key=lambda row: row.segment.id)[:_MANY]
    found = []
    for row in rows:
        whole = sound.read(store.fetch(row.segment.blob))
        found.append(Recorded(row, whole.cut(0, round(longest_s * whole.sample_rate_hz))))
    return found


def requests_for(settings: Settings, segments: Sequence[Recorded]) -> list[Request]:
    """One request a segment: its caption, its length, a seed of its own."""
    return [
        Request(
            segment.row.caption.text,
            seconds=max(0.2, segment.sound.duration_s),
            steps=settings.steps,
            guidance=settings.guidance,
            seed=settings.seed + number,
        )
        for number, segment in enumerate(segments)
    ]


def made(sa: StableAudio, requests: Sequence[Request], tell: Callable[[int, int], None]) -> list[Sound]:
    """The model's sounds for the requests."""
    import torch

    with torch.no_grad():
        return generate(sa, requests, tell)


def made_once(
    store: Store,
    digest: str,
    open_model: Callable[[], StableAudio],
    requests: Sequence[Request],
    tell: Callable[[int, int], None],
) -> list[Sound]:
    """The same, kept in the store: a base model is asked the same questions again for every release."""
    asked = json.dumps([digest, *([r.prompt, r.seconds, r.steps, r.guidance, r.seed] for r in requests)])
    key = f"manifests/base-sounds/{hashlib.sha256(asked.encode()).hexdigest()}.json"
    if store.exists(key):
        return [sound.read(store.fetch(blob)) for blob in json.loads(store.get(key))]
    sounds = made(open_model(), requests, tell)
    blobs = [store.put_blob(one.to_bytes("FLAC", "PCM_24"), ".flac") for one in sounds]
    store.put(key, json.dumps(blobs).encode())
    return [sound.read(store.fetch(blob)) for blob in blobs]


def white_noise(like: Sound) -> Sound:
    """Noise of the same length, to measure flatness against."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, like.frames))
    return Sound(noise.astype(np.float32), like.sample_rate_hz)
