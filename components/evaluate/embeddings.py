"""Embeddings of sounds for KAD. Mel and latent statistics need no download; CLAP and PANNs do."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from audiotune.audio import distance
from audiotune.audio.sound import Sound
from audiotune.errors import ModelError, first_line
from components.evaluate.measured_sounds import MeasuredSound
from components.evaluate.settings import Settings

_CLAP_RATE_HZ, _PANNS_RATE_HZ = 48_000, 32_000


def embed_sound_sets(
    settings: Settings, reference: Sequence[MeasuredSound], *others: Sequence[MeasuredSound]
) -> list[distance.Matrix]:
    """One matrix [sounds, values] for the reference and for each of the other sets.

    Raises:
        ModelError: CLAP or PANNs are selected and not available.
    """
    sets = (reference, *others)
    if settings.embedding == "clap":
        return [_embed_with_clap([one.sound for one in sounds], settings.embedding_model) for sounds in sets]
    if settings.embedding == "panns":
        return [_embed_with_panns([one.sound for one in sounds], settings) for sounds in sets]
    return distance.balance_statistics(*map(_compute_statistics, sets))


def _compute_statistics(sounds: Sequence[MeasuredSound]) -> list[distance.Matrix]:
    """Mel statistics and, if every sound has them, latent statistics."""
    statistics = [np.stack([distance.compute_mel_statistics(one.mel) for one in sounds])]
    latents = [one.latents for one in sounds if one.latents is not None]
    if len(latents) == len(sounds):
        statistics.append(np.stack(latents))
    return statistics


def _embed_with_clap(sounds: Sequence[Sound], name: str) -> distance.Matrix:
    """Audio embeddings of LAION-CLAP (Wu et al. 2023), from a model on Hugging Face or in a folder."""
    import torch

    try:
        from transformers import ClapModel, ClapProcessor

        model, processor = ClapModel.from_pretrained(name), ClapProcessor.from_pretrained(name)
    except (ImportError, OSError, ValueError) as e:
        cure = "set embedding_model to a folder with a CLAP model, let this machine reach Hugging Face, or take mel_latents"
        raise ModelError(f"CLAP cannot be loaded: {first_line(e)}", where=name, cure=cure) from e
    rows = []
    with torch.no_grad():
        for sound in sounds:
            mono = sound.to_mono().resample(_CLAP_RATE_HZ).data[0]
            inputs = processor(audio=mono, sampling_rate=_CLAP_RATE_HZ, return_tensors="pt")
            features: Any = model.get_audio_features(**inputs)
            rows.append(getattr(features, "pooler_output", features)[0].double().numpy())
    return np.stack(rows)


def _embed_with_panns(sounds: Sequence[Sound], settings: Settings) -> distance.Matrix:
    """The 2048 values of PANNs' CNN14 (Kong et al. 2020), by panns-inference."""
    try:
        from panns_inference import AudioTagging  # type: ignore[import-not-found]
    except ImportError as e:
        cure = "install panns-inference (it downloads CNN14 once), or take embedding mel_latents"
        raise ModelError("PANNs are not installed", where="embedding", cure=cure) from e
    tagger = AudioTagging(checkpoint_path=settings.embedding_model or None, device="cpu")
    rows = []
    for sound in sounds:
        mono = sound.to_mono().resample(_PANNS_RATE_HZ).data
        padded = np.pad(mono, ((0, 0), (0, max(0, _PANNS_RATE_HZ - mono.shape[1]))))  # CNN14 needs about a second
        rows.append(np.asarray(tagger.inference(padded)[1][0], dtype=np.float64))
    return np.stack(rows)
