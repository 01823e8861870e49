"""What a model is measured with: recorded segments, and the sounds that base and tuned model make of the same words and seeds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from audiotune import distance, sound
from audiotune.dataset import DatasetRow, LatentRow, Split
from audiotune.fingerprint import Words, fingerprint
from audiotune.manifest import Manifest
from audiotune.sound import Sound
from audiotune.stable_audio.load import StableAudio
from audiotune.stable_audio.sample import Request, generate
from audiotune.store.port import Store
from components.evaluate.settings import Settings

_SHORTEST_S = 0.25  # of a made sound


@dataclass(frozen=True)
class Heard:
    """A sound with all that is measured of it, computed once.

    Attributes:
        text: its caption.
        latents: statistics of its latents (`distance.latent_statistics`), or None where they are not compared.
    """

    sound: Sound
    text: str
    latents: distance.Matrix | None
    mel: distance.Mel = field(init=False)
    words: Words = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mel", distance.log_mel(self.sound))
        object.__setattr__(self, "words", fingerprint(self.sound))


def recorded(
    store: Store, dataset: Manifest[DatasetRow], latents: Manifest[LatentRow], split: Split, settings: Settings
) -> list[Heard]:
    """The segments of a split, cut to what one row of latents holds, in an order that does not follow the recordings.

    `settings.references` segments at most; their latents come from the manifest, nothing is encoded again.
    """
    first: dict[str, LatentRow] = {}
    for row in latents.rows:
        first.setdefault(row.segment, row)
    chosen = sorted((r for r in dataset.rows if r.split == split and r.segment.id in first), key=lambda row: row.segment.id)
    return [_heard(store, row, first[row.segment.id], settings) for row in chosen[: settings.references]]


def _heard(store: Store, row: DatasetRow, latents: LatentRow, settings: Settings) -> Heard:
    whole = sound.read(store.fetch(row.segment.blob))
    part = whole.cut(0, round(latents.seconds * whole.sample_rate_hz))
    return Heard(part, row.caption.text, _stored_statistics(store, latents) if wants_latents(settings) else None)


def _stored_statistics(store: Store, row: LatentRow) -> distance.Matrix:
    from audiotune import tensors

    return distance.latent_statistics(tensors.read(store.fetch(row.latents))["latents"].numpy())


def wants_latents(settings: Settings) -> bool:
    return settings.embedding == "mel_latents"


def requests_for(settings: Settings, segments: Sequence[Heard], first_seed: int) -> list[Request]:
    """One request a segment: its caption, its length, a seed of its own."""
    return [
        Request(
            segment.text,
            seconds=max(_SHORTEST_S, segment.sound.duration_s),
            steps=settings.steps,
            guidance=settings.guidance,
            seed=first_seed + number,
        )
        for number, segment in enumerate(segments)
    ]


class Maker:
    """Makes sounds with one model; keeps each in the store, and opens the model only for one that is not there yet.

    Args:
        model: names the model: the digests of its weights and config.
        open_model: loads it.
    """

    def __init__(self, store: Store, model: str, open_model: Callable[[], StableAudio], settings: Settings) -> None:
        self._store, self._model, self._open, self._settings = store, model, open_model, settings
        self._opened: StableAudio | None = None

    @property
    def sa(self) -> StableAudio:
        """The model; loaded on first use."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def close(self) -> None:
        """Lets the model go: base and tuned model need not be in memory at once."""
        self._opened = None

    def made(self, requests: Sequence[Request], tell: Callable[[int, int], None]) -> list[Heard]:
        """The model's sounds for the requests."""
        return [self._made(r, number, len(requests), tell) for number, r in enumerate(requests)]

    def _made(self, request: Request, number: int, total: int, tell: Callable[[int, int], None]) -> Heard:
        key = f"evaluations/sounds/{self.digest(request)}.json"
        if not self._store.exists(key):
            self._make(request, key)
        tell(number + 1, total)
        kept = json.loads(self._store.get(key))
        statistics = np.array(kept["latents"]) if kept["latents"] else None
        return Heard(sound.read(self._store.fetch(kept["sound"])), request.prompt, statistics)

    def _make(self, request: Request, key: str) -> None:
        import torch

        from audiotune.stable_audio.encode import encode

        with torch.no_grad():
            made = generate(self.sa, [self._fitting(request)])[0]
            latents = distance.latent_statistics(encode(self.sa, made)).tolist() if wants_latents(self._settings) else []
        blob = self._store.put_blob(made.to_bytes("FLAC", "PCM_24"), ".flac")
        self._store.put(key, json.dumps({"sound": blob, "latents": latents}).encode())

    def _fitting(self, request: Request) -> Request:
        """A recorded segment may be longer than the model's window by a frame or two."""
        longest_s = self.sa.window_frames / self.sa.sample_rate_hz
        return dataclasses.replace(request, seconds=min(request.seconds, longest_s))

    def digest(self, request: Request) -> str:
        what = [2, self._model, wants_latents(self._settings), request.prompt, round(request.seconds, 6), request.steps]
        return hashlib.sha256(json.dumps([*what, request.guidance, request.seed]).encode()).hexdigest()
