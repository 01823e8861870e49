"""The tiny base that ships: its autoencoder keeps pitch and envelope, its words mean what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from audiotune.audio.synthesizer import Patch, play_patch
from audiotune.stable_audio import conditioning
from audiotune.stable_audio.autoencoder import decode_latents, encode_sound
from audiotune.stable_audio.base_models import find_shipped_folder
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.sample import SamplingRequest, generate_sounds
from bases.tiny import caption_words, training_sounds
from benchmarks import tiny_base

FOLDER = Path(__file__).resolve().parents[2] / "bases" / "tiny"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not (FOLDER / "model.safetensors").exists(), reason="the tiny base is not trained here: bases/tiny/make.py"
    ),
]


@pytest.fixture(scope="module")
def sa() -> StableAudio:
    return load_model(find_shipped_folder() / "tiny")


def test_the_autoencoder_keeps_pitch_and_envelope(sa: StableAudio) -> None:
    kept = tiny_base.reconstruction([tiny_base.through(sa, audio) for audio in tiny_base.held_out(100, tonal=True)])
    assert kept["envelope"] >= 0.9
    assert kept["within 50 cents"] >= 0.8


def test_a_low_drone_and_a_high_pluck_differ_the_right_way_round(sa: StableAudio) -> None:
    heard = tiny_base.contrast(sa, 10)
    assert heard["centroid right"] >= 9
    assert heard["envelope right"] >= 9
    assert heard["quietest peak dBFS"] > -30
    assert heard["flatness median"] < 0.3 * heard["flatness of white noise"]


def test_latents_are_of_unit_size_and_true_length(sa: StableAudio) -> None:
    latents = np.concatenate(
        [encode_sound(sa, Sound(a[None], training_sounds.RATE_HZ)) for a in tiny_base.held_out(30, tonal=False)], axis=1
    )
    assert latents.shape[0] == sa.latent_channels
    assert np.abs(latents.std(axis=1) - 1).max() < 0.5
    stereo = Sound(np.repeat(play_patch(Patch("mid", "drone", "saw", 220.0), 1.0, 44_100).data, 2, axis=0), 44_100)
    assert encode_sound(sa, stereo).shape == (sa.latent_channels, 22)
    assert decode_latents(sa, encode_sound(sa, stereo), 22_050).frames == 22_050


def test_silence_stays_silent(sa: StableAudio) -> None:
    silence = Sound(np.zeros((1, 22_050), dtype=np.float32), 22_050)
    assert decode_latents(sa, encode_sound(sa, silence)).peak_dbfs < -40


def test_words_it_never_heard_are_spelt_and_mean_nothing_yet(sa: StableAudio) -> None:
    tokenizer = sa.model.conditioner.conditioners["prompt"].tokenizer
    assert "[UNK]" not in tokenizer.tokenize("Weirdly gurgling Rhodes808, déjà-vu")
    embedding, mask = conditioning.embed_prompts(sa, ["glitchy spooky qwxz"], [1.0])["prompt"]
    assert int(mask.sum()) > 3
    assert float(embedding.abs().max()) == 0.0


def test_the_shipped_tokenizer_is_the_one_the_words_make(tmp_path: Path) -> None:
    caption_words.write_tokenizer(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (FOLDER / "tokenizer" / "tokenizer.json").read_bytes()


def test_the_shipped_weights_are_small_and_hold_no_pickle() -> None:
    weights = FOLDER / "model.safetensors"
    assert weights.stat().st_size <= 16 * 1024 * 1024


def test_shorter_requests_give_shorter_sounds(sa: StableAudio) -> None:
    short, long = generate_sounds(sa, [SamplingRequest("mid saw drone", seconds=s, steps=4) for s in (0.5, 2.9)])
    assert short.frames == round(0.5 * 22_050)
    assert long.frames == round(2.9 * 22_050)
    assert not np.allclose(long.data[:, : short.frames], short.data)


def test_real_sounds_keep_their_envelope(sa: StableAudio) -> None:
    import os

    folder = Path(os.environ.get("AUDIOTUNE_REAL_SOUNDS", "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real sounds at {folder}")
    kept = tiny_base.reconstruction([tiny_base.through(sa, audio) for audio in tiny_base.real_sounds(folder, 30)])
    assert kept["envelope"] >= 0.8
    assert kept["centroid"] >= 0.9
