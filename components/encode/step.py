"""Encodes every segment and every caption of a dataset once with the base model.

Results are stored under the hash of their inputs and reused: a second dataset that shares segments with the first encodes only
the new ones, and a second run encodes nothing. Sounds keep their true length; none is padded.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from audiotune.audio.sound import Sound, read_sound
from audiotune.domain.dataset import DatasetRow, LatentRow, contributors_by_recording
from audiotune.domain.manifest import Manifest, load_manifest
from audiotune.errors import NotInStoreError, TrainingError
from audiotune.governance import require_permission
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_models import BaseModelFolder, resolve_base
from audiotune.store.layout import LATENTS
from audiotune.store.port import Store
from components.encode.settings import Settings
from components.encode.views import draw_view
from components.executor import StepResult

_VERSION = 1  # raise it when the same segment gets other latents
_CAPTIONS_AT_ONCE = 64


class DatasetEncoder:
    """Encodes with the base model, which is loaded only for segments or captions that are not in the store."""

    def __init__(self, settings: Settings, store: Store, base: BaseModelFolder) -> None:
        self.settings, self.store, self.base = settings, store, base
        self.encoded = self.embedded = 0

    @cached_property
    def model(self) -> Any:
        from audiotune.stable_audio.load import load_model

        return load_model(self.base.folder, device=self.settings.device)

    def base_facts(self) -> dict[str, Any]:
        """The base model's values for the latents manifest."""
        known = self._read_memo("base")
        if known is None:
            sa = self.model
            known = {
                "sample_rate_hz": sa.sample_rate_hz,
                "downsampling_ratio": sa.downsampling_ratio,
                "latent_channels": sa.latent_channels,
                "window_s": sa.window_frames / sa.sample_rate_hz,
            }
            self._write_memo("base", known)
        return dict(known)

    def encode_segment(self, blob: str, part_s: float, number: int = 0) -> list[dict[str, Any]]:
        """Latents of a view of a rendered segment, part by part: store key, latent frames, seconds."""
        tail_s, view = self.settings.tail_s, draw_view(self.settings, blob, number)
        changed = [asdict(view)] if number else []
        name = _hash_inputs(["parts", blob.rpartition("/")[2], part_s, tail_s, *changed])
        known = self._read_memo(name)
        if known is None or not all(self.store.exists(part["latents"]) for part in known):
            sound = read_sound(self.store.fetch(blob))
            parts = enumerate(cut_parts(view.apply(sound) if number else sound, part_s, tail_s))
            seeds = view.noise_seed
            known = [self._encode_part(part, None if seeds is None else seeds + place) for place, part in parts]
            self._write_memo(name, known)
        return list(known)

    def embed_captions(self, texts: Sequence[str]) -> dict[str, str]:
        """Text -> store key of its embedding."""
        known = {text: self._read_memo(_hash_inputs(["words", text])) for text in texts}
        missing = [text for text, key in known.items() if key is None or not self.store.exists(key)]
        for start in range(0, len(missing), _CAPTIONS_AT_ONCE):
            known |= self._embed_texts(missing[start : start + _CAPTIONS_AT_ONCE])
        return {text: str(key) for text, key in known.items()}

    def _encode_part(self, sound: Sound, noise_seed: int | None) -> dict[str, Any]:
        import torch

        from audiotune.stable_audio.autoencoder import encode_sound
        from audiotune.store import tensor_files

        latents = torch.from_numpy(encode_sound(self.model, sound, noise_seed))
        self.encoded += 1
        key = tensor_files.store_tensors(self.store, {"latents": tensor_files.wrap_tensor(latents)})
        return {"latents": key, "latent_frames": int(latents.shape[1]), "seconds": round(sound.duration_s, 6)}

    def _embed_texts(self, texts: list[str]) -> dict[str, str]:
        from audiotune.stable_audio import text_embeddings

        keys = dict(zip(texts, text_embeddings.store_embeddings(self.store, self.model, texts), strict=True))
        for text, key in keys.items():
            self._write_memo(_hash_inputs(["words", text]), key)
        self.embedded += len(texts)
        return keys

    def _read_memo(self, name: str) -> Any:
        try:
            return json.loads(self.store.get(self._memo_key(name)))
        except NotInStoreError:
            return None

    def _write_memo(self, name: str, value: Any) -> None:
        self.store.put(self._memo_key(name), json.dumps(value).encode())

    def _memo_key(self, name: str) -> str:
        return LATENTS.key(f"{self.base.digest[:32]}-v{_VERSION}", f"{name}.json")


def run_step(
    settings: Settings, store: Store, progress: ProgressCallback, *, dataset: Path, latents: Path, metrics: Path
) -> StepResult:
    """Writes the latents manifest.

    Raises TrainingError: an empty dataset. Raises ConsentError, AgreementError: a contributor has not agreed, or took it back meanwhile.
    """
    captioned = load_manifest(dataset, "datasets", DatasetRow)
    if not captioned.rows:
        raise TrainingError("the dataset holds no segment", where=str(dataset), cure="annotate some segments first")
    people = contributors_by_recording(captioned)
    require_permission(store, "encode", people)
    progress(0.0, f"finding the base model {settings.base}")
    base = resolve_base(store, settings.base, progress=lambda share, words: progress(0.0, words))
    encoder = DatasetEncoder(settings, store, base)
    facts = encoder.base_facts()
    embedded = encoder.embed_captions(list(dict.fromkeys(text for row in captioned.rows for text in row.caption.all_texts)))

    def report_progress(share: float, words: str) -> None:
        require_permission(store, "encode", people)  # it takes long: who withdraws meanwhile stops it
        progress(share, words)

    rows = list(_encode_rows(captioned.rows, encoder, settings.part_s or facts["window_s"], embedded, report_progress))
    unused = {name for name in Settings.model_fields if name.startswith("view")} if settings.views == 1 else set()
    made_with = settings.model_dump(mode="json", exclude={"device", *unused})
    meta = {
        "base": settings.base,
        "base_digest": encoder.base.digest,
        "dataset": captioned.digest,
        "settings": made_with,
        **facts,
    }
    encoded = Manifest("latents", rows, meta)
    encoded.write(latents)
    key = encoded.save(store)
    return StepResult(parameters={"latents_key": key}, metrics=_collect_metrics(rows, encoder))


def cut_parts(sound: Sound, part_s: float, tail_s: float) -> Iterator[Sound]:
    """Consecutive parts of at most `part_s` seconds; a last part under `tail_s` is left out unless it is the only one."""
    part = max(1, math.floor(part_s * sound.sample_rate_hz + 0.5))
    for start in range(0, max(1, sound.frames), part):
        rest = min(part, sound.frames - start)
        if start == 0 or rest >= tail_s * sound.sample_rate_hz:
            yield sound.cut(start, start + rest)


def _encode_rows(
    rows: Sequence[DatasetRow], encoder: DatasetEncoder, part_s: float, embedded: dict[str, str], progress: ProgressCallback
) -> Iterator[LatentRow]:
    for number, row in enumerate(rows):
        for view in range(encoder.settings.views if row.split == "train" else 1):
            for part in encoder.encode_segment(row.segment.blob, part_s, view):
                yield LatentRow(
                    segment=row.segment.id,
                    recording=row.segment.recording,
                    split=row.split,
                    captions=row.caption.all_texts,
                    embeddings=tuple(embedded[text] for text in row.caption.all_texts),
                    **part,
                )
        if (number + 1) % max(1, len(rows) // 20) == 0 or number + 1 == len(rows):
            progress((number + 1) / len(rows), f"{number + 1} of {len(rows)} segments encoded")


def _collect_metrics(rows: Sequence[LatentRow], encoder: DatasetEncoder) -> dict[str, float]:
    return {
        "rows": len(rows),
        "train_rows": sum(row.split == "train" for row in rows),
        "seconds": round(sum(row.seconds for row in rows), 3),
        "newly_encoded": encoder.encoded,
        "newly_embedded": encoder.embedded,
    }


def _hash_inputs(inputs: list[Any]) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
