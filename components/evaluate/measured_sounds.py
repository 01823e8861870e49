"""The sounds of an evaluation: recorded segments, and sounds that base and tuned model generate with the same captions and seeds."""

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
from audiotune.stable_audio.known_bases import GenerationDefaults
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.sample import SamplingRequest, count_batch_threads, generate_sounds
from audiotune.stable_audio.threads import use_threads
from audiotune.store.layout import EVALUATED_SOUNDS
from audiotune.store.port import Store
from components.evaluate.settings import Settings

_SHORTEST_S = 0.25  # of a generated sound


@dataclass(frozen=True)
class MeasuredSound:
    """A sound and its features, computed once.

    Attributes:
        text: its caption.
        latents: statistics of its latents (`distance.compute_latent_statistics`), or None if they are not compared.
        recording: id of the recording that it is a segment of; empty for a made sound.
    """

    sound: Sound
    text: str
    latents: distance.Matrix | None
    recording: str = ""
    mel: distance.Mel = field(init=False)
    words: FingerprintWords = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mel", distance.compute_log_mel(self.sound))
        object.__setattr__(self, "words", fingerprint_sound(self.sound))


def load_recorded_segments(
    store: Store, dataset: Manifest[DatasetRow], latents: Manifest[LatentRow], split: Split, settings: Settings
) -> list[MeasuredSound]:
    """At most `settings.references` segments of a split, each cut to its first row of latents, ordered by id.

    The order mixes the recordings. The latents are those of the manifest.
    """
    first: dict[str, LatentRow] = {}
    for row in latents.rows:
        first.setdefault(row.segment, row)
    chosen = sorted((r for r in dataset.rows if r.split == split and r.segment.id in first), key=lambda row: row.segment.id)
    return [_measure_segment(store, row, first[row.segment.id], settings) for row in chosen[: settings.references]]


def _measure_segment(store: Store, row: DatasetRow, latents: LatentRow, settings: Settings) -> MeasuredSound:
    whole = sound.read_sound(store.fetch(row.segment.blob))
    part = whole.cut(0, round(latents.seconds * whole.sample_rate_hz))
    statistics = _read_latent_statistics(store, latents) if compares_latents(settings) else None
    return MeasuredSound(part, row.caption.text, statistics, row.segment.recording)


def _read_latent_statistics(store: Store, row: LatentRow) -> distance.Matrix:
    from audiotune.store import tensor_files

    return distance.compute_latent_statistics(tensor_files.read_tensors(store.fetch(row.latents))["latents"].numpy())


def compares_latents(settings: Settings) -> bool:
    return settings.embedding == "mel_latents"


def choose_sampling(settings: Settings, defaults: GenerationDefaults) -> Settings:
    """The settings, with the base's own steps and guidance where they do not say."""
    guidance = defaults.guidance if settings.guidance is None else settings.guidance
    return settings.model_copy(update={"steps": settings.steps or defaults.comparison_steps, "guidance": guidance})


def build_requests(settings: Settings, segments: Sequence[MeasuredSound], first_seed: int) -> list[SamplingRequest]:
    """One request per segment, with its caption, its length and its own seed."""
    return [
        build_request(settings, segment.text, max(_SHORTEST_S, segment.sound.duration_s), first_seed + number)
        for number, segment in enumerate(segments)
    ]


def build_request(settings: Settings, text: str, seconds: float, seed: int) -> SamplingRequest:
    """A request with the steps and guidance of settings that `choose_sampling` completed."""
    assert settings.steps is not None
    assert settings.guidance is not None
    return SamplingRequest(text, seconds=seconds, steps=settings.steps, guidance=settings.guidance, seed=seed)


class CachedSoundGenerator:
    """Generates sounds with one model and stores them; loads the model only for a sound that is not in the store.

    Args:
        model: the digests of its weights and config.
        open_model: loads it.

    Attributes:
        threads: number of threads for the last generated sound; 0 while all sounds came from the store.
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
        """Frees the model, so that base and tuned model are not in memory together."""
        self._opened = None

    def generate_sounds(
        self, requests: Sequence[SamplingRequest], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> list[MeasuredSound]:
        """The model's sounds for the requests. Calls `progress` with (sounds done, all sounds)."""
        sounds = []
        for request in requests:
            sounds.append(self._read_or_generate(request))
            progress(len(sounds), len(requests))
        return sounds

    def _read_or_generate(self, request: SamplingRequest) -> MeasuredSound:
        key = EVALUATED_SOUNDS.key(f"{self.request_digest(request)}.json")
        if not self._store.exists(key):
            self._generate_and_store(request, key)
        kept = json.loads(self._store.get(key))
        statistics = np.array(kept["latents"]) if kept["latents"] else None
        return MeasuredSound(sound.read_sound(self._store.fetch(kept["sound"])), request.prompt, statistics)

    def _generate_and_store(self, request: SamplingRequest, key: str) -> None:
        import torch

        from audiotune.stable_audio.autoencoder import encode_sound

        sa = self.stable_audio
        longest_s = sa.window_frames / sa.sample_rate_hz  # a recorded segment may be a frame or two longer
        request = dataclasses.replace(request, seconds=min(request.seconds, longest_s))
        self.threads = count_batch_threads(sa, request, 1)
        latents = []
        with torch.no_grad(), use_threads(self.threads):
            generated = generate_sounds(sa, [request])[0]
            if compares_latents(self._settings):
                latents = distance.compute_latent_statistics(encode_sound(sa, generated)).tolist()
        blob = self._store.put_blob(generated.to_bytes("FLAC", "PCM_24"), ".flac")
        made_with = self._model.partition(" ")[0]  # so that it can be erased together with these weights
        self._store.put(key, json.dumps({"sound": blob, "latents": latents, "weights": made_with}).encode())

    def request_digest(self, request: SamplingRequest) -> str:
        inputs = [3, self._model, compares_latents(self._settings), request.prompt, round(request.seconds, 6), request.steps]
        return hashlib.sha256(json.dumps([*inputs, request.guidance, request.seed]).encode()).hexdigest()
