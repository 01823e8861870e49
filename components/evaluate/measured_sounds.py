"""What a model is measured with: recorded segments, and the sounds that base and tuned model make of the same words and seeds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from audiotune.audio import distance, sound
from audiotune.audio.fingerprint import FingerprintWords, fingerprint_sound
from audiotune.audio.sound import Sound
from audiotune.domain.dataset import DatasetRow, LatentRow, Split
from audiotune.domain.manifest import Manifest
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.sample import SamplingRequest, count_batch_threads, generate_sounds
from audiotune.stable_audio.threads import use_threads
from audiotune.store.layout import EVALUATED_SOUNDS
from audiotune.store.port import Store
from components.evaluate.settings import Settings

_SHORTEST_S = 0.25  # of a made sound


@dataclass(frozen=True)
class MeasuredSound:
    """A sound with all that is measured of it, computed once.

    Attributes:
        text: its caption.
        latents: statistics of its latents (`distance.compute_latent_statistics`), or None where they are not compared.
    """

    sound: Sound
    text: str
    latents: distance.Matrix | None
    mel: distance.Mel = field(init=False)
    words: FingerprintWords = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mel", distance.compute_log_mel(self.sound))
        object.__setattr__(self, "words", fingerprint_sound(self.sound))


def load_recorded_segments(
    store: Store, dataset: Manifest[DatasetRow], latents: Manifest[LatentRow], split: Split, settings: Settings
) -> list[MeasuredSound]:
    """The segments of a split, cut to what one row of latents holds, in an order that does not follow the recordings.

    `settings.references` segments at most; their latents come from the manifest, nothing is encoded again.
    """
    first: dict[str, LatentRow] = {}
    for row in latents.rows:
        first.setdefault(row.segment, row)
    chosen = sorted((r for r in dataset.rows if r.split == split and r.segment.id in first), key=lambda row: row.segment.id)
    return [_measure_segment(store, row, first[row.segment.id], settings) for row in chosen[: settings.references]]


def _measure_segment(store: Store, row: DatasetRow, latents: LatentRow, settings: Settings) -> MeasuredSound:
    whole = sound.read_sound(store.fetch(row.segment.blob))
    part = whole.cut(0, round(latents.seconds * whole.sample_rate_hz))
    return MeasuredSound(part, row.caption.text, _read_latent_statistics(store, latents) if compares_latents(settings) else None)


def _read_latent_statistics(store: Store, row: LatentRow) -> distance.Matrix:
    from audiotune.store import tensor_files

    return distance.compute_latent_statistics(tensor_files.read_tensors(store.fetch(row.latents))["latents"].numpy())


def compares_latents(settings: Settings) -> bool:
    return settings.embedding == "mel_latents"


def build_requests(settings: Settings, segments: Sequence[MeasuredSound], first_seed: int) -> list[SamplingRequest]:
    """One request a segment: its caption, its length, a seed of its own."""
    return [
        SamplingRequest(
            segment.text,
            seconds=max(_SHORTEST_S, segment.sound.duration_s),
            steps=settings.steps,
            guidance=settings.guidance,
            seed=first_seed + number,
        )
        for number, segment in enumerate(segments)
    ]


class CachedSoundGenerator:
    """Makes sounds with one model; keeps each in the store, and opens the model only for one that is not there yet.

    Args:
        model: names the model: the digests of its weights and config.
        open_model: loads it.

    Attributes:
        threads: how many threads the last sound was made on; 0 while all of them came from the store.
    """

    threads = 0

    def __init__(self, store: Store, model: str, open_model: Callable[[], StableAudio], settings: Settings) -> None:
        self._store, self._model, self._open, self._settings = store, model, open_model, settings
        self._opened: StableAudio | None = None

    @property
    def stable_audio(self) -> StableAudio:
        """The model; loaded on first use."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def close(self) -> None:
        """Lets the model go: base and tuned model need not be in memory at once."""
        self._opened = None

    def generate_sounds(self, requests: Sequence[SamplingRequest], tell: Callable[[int, int], None]) -> list[MeasuredSound]:
        """The model's sounds for the requests."""
        return [self._read_or_generate(r, number, len(requests), tell) for number, r in enumerate(requests)]

    def _read_or_generate(
        self, request: SamplingRequest, number: int, total: int, tell: Callable[[int, int], None]
    ) -> MeasuredSound:
        key = EVALUATED_SOUNDS.key(f"{self.request_digest(request)}.json")
        if not self._store.exists(key):
            self._generate_and_store(request, key)
        tell(number + 1, total)
        kept = json.loads(self._store.get(key))
        statistics = np.array(kept["latents"]) if kept["latents"] else None
        return MeasuredSound(sound.read_sound(self._store.fetch(kept["sound"])), request.prompt, statistics)

    def _generate_and_store(self, request: SamplingRequest, key: str) -> None:
        import torch

        from audiotune.stable_audio.autoencoder import encode_sound

        fitting = self._limit_length(request)
        self.threads = count_batch_threads(self.stable_audio, fitting, 1)
        with torch.no_grad(), use_threads(self.threads):
            made = generate_sounds(self.stable_audio, [fitting])[0]
            latents = (
                distance.compute_latent_statistics(encode_sound(self.stable_audio, made)).tolist()
                if compares_latents(self._settings)
                else []
            )
        blob = self._store.put_blob(made.to_bytes("FLAC", "PCM_24"), ".flac")
        self._store.put(key, json.dumps({"sound": blob, "latents": latents}).encode())

    def _limit_length(self, request: SamplingRequest) -> SamplingRequest:
        """A recorded segment may be longer than the model's window by a frame or two."""
        longest_s = self.stable_audio.window_frames / self.stable_audio.sample_rate_hz
        return dataclasses.replace(request, seconds=min(request.seconds, longest_s))

    def request_digest(self, request: SamplingRequest) -> str:
        what = [2, self._model, compares_latents(self._settings), request.prompt, round(request.seconds, 6), request.steps]
        return hashlib.sha256(json.dumps([*what, request.guidance, request.seed]).encode()).hexdigest()
