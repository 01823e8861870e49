"""Stable Audio 3 in its true shape, very small: load, encode, train, sample and decode, beside stable-audio-tools' own generation."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audiotune.audio.synthesizer import Patch, play_patch
from audiotune.errors import ModelError
from audiotune.stable_audio import conditioning
from audiotune.stable_audio.autoencoder import decode_latents, encode_sound
from audiotune.stable_audio.buildable import check_buildable
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.sample import SamplingRequest, generate_batch, generate_sounds
from audiotune.stable_audio.upstream_factory import import_factory, silence_output
from components.finetune.settings import Settings
from components.finetune.training_model import BatchPart, TrainingModel
from tests.fakes.stable_audio_3 import LATENTS, make_small_config, write_small_base

pytestmark = pytest.mark.integration
FRAMES, RATIO, RATE_HZ = 14, 4096, 44_100
SECONDS = FRAMES * RATIO / RATE_HZ


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_base(tmp_path_factory.mktemp("sa3"))


@pytest.fixture(scope="module")
def sa(folder: Path) -> StableAudio:
    return load_model(folder, base="stable-audio-3-small-music-base")


def built_by_upstream(folder: Path, objective: str) -> Any:
    """By stable-audio-tools alone, with its own T5Gemma conditioner."""
    config = make_small_config(objective)
    words = config["model"]["conditioning"]["configs"][0]["config"]
    words.update(model_path=str(folder / "text_encoder" / "t5gemma-b-b-ul2"))
    del words["repo_id"], words["subfolder"]
    from safetensors.torch import load_file

    with silence_output():
        model = import_factory().create_model_from_config(config)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


@pytest.mark.parametrize(
    ("objective", "sampler", "guidance"), [("rectified_flow", "euler", 7.0), ("rf_denoiser", "pingpong", 1.0)]
)
def test_it_sounds_as_stable_audio_tools_makes_it(
    objective: str, sampler: str, guidance: float, folder: Path, tmp_path: Path
) -> None:
    from stable_audio_tools.inference.generation import generate_diffusion_cond_inpaint

    for path in ("model.safetensors", "text_encoder"):
        (tmp_path / path).symlink_to(folder / path)
    (tmp_path / "model_config.json").write_text(json.dumps(make_small_config(objective)))
    name = "stable-audio-3-small-music" + ("-base" if objective == "rectified_flow" else "")
    ours = load_model(tmp_path, base=name)
    assert (ours.defaults.sampler, ours.defaults.guidance) == (sampler, guidance)
    made = generate_sounds(ours, [SamplingRequest("low drone", seconds=SECONDS, steps=4, guidance=guidance, seed=7)])[0]
    with torch.random.fork_rng(devices=[]), silence_output():
        theirs = generate_diffusion_cond_inpaint(
            built_by_upstream(folder, objective), steps=4, cfg_scale=guidance, seed=7, device="cpu", sampler_type=sampler,
            conditioning=[{"prompt": "low drone", "seconds_total": SECONDS}], sample_size=FRAMES * RATIO, return_latents=True,
            adapt_duration_to_conditioning=False, use_effective_length_for_schedule=False, mask_padding_attention=False,
        )  # fmt: skip
    wanted = decode_latents(ours, theirs[0].numpy(), made.frames)
    assert np.abs(wanted.data).max() > 0.01
    assert np.allclose(made.data, wanted.data, atol=1e-5 * np.abs(wanted.data).max())


def test_a_sound_of_any_length_becomes_as_many_latents_as_it_needs_and_always_the_same(sa: StableAudio) -> None:
    """Its autoencoder works in pairs of latent frames and adds noise of torch's own."""
    tone, before = play_patch(Patch("mid", "drone", "saw", 220.0), 2.5 * RATIO / RATE_HZ, RATE_HZ), torch.get_rng_state()
    latents = encode_sound(sa, tone)
    assert latents.shape == (LATENTS, 3)
    torch.rand(5)
    assert np.array_equal(encode_sound(sa, tone), latents)
    heard = decode_latents(sa, latents)
    assert heard.frames == 3 * RATIO
    torch.rand(5)
    assert np.array_equal(decode_latents(sa, latents).data, heard.data)
    torch.set_rng_state(before)
    encode_sound(sa, tone)
    assert torch.equal(torch.get_rng_state(), before), "the global generator was touched"


def test_a_request_has_the_same_bits_beside_others_and_words_and_length_matter(sa: StableAudio) -> None:
    asked = [SamplingRequest(words, seconds=SECONDS, steps=2, seed=3) for words in ("low drone", "high pluck", "")]
    together = [sound for sound in generate_batch(sa, asked) if sound is not None]
    for request, sound in zip(asked, together, strict=True):
        assert np.array_equal(generate_sounds(sa, [request])[0].data, sound.data)
    assert not np.allclose(together[0].data, together[1].data)
    short, long = (conditioning.embed_prompts(sa, ["low drone"], [s])["seconds_total"][0] for s in (1.0, 4.0))
    assert not torch.allclose(short, long)


def test_the_padding_of_words_is_the_learned_one(sa: StableAudio, folder: Path) -> None:
    embedded, mask = conditioning.embed_prompts(sa, ["low drone"], [1.0])["prompt"]
    learned = sa.model.conditioner.conditioners["prompt"].padding_embedding
    assert mask.sum() < mask.numel()
    assert torch.equal(embedded[~mask], learned.expand_as(embedded[~mask]))


def test_a_part_is_made_anew_knowing_the_rest(sa: StableAudio) -> None:
    tone = play_patch(Patch("mid", "drone", "saw", 220.0), SECONDS, RATE_HZ)
    asked = SamplingRequest("low drone", seconds=SECONDS, steps=2, seed=1, init=tone, redo=(0.3, 0.6))
    seen: list[torch.Tensor] = []
    hook = sa.model.model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["local_add_cond"]), with_kwargs=True
    )
    try:
        generate_sounds(sa, [asked])
        generate_sounds(sa, [SamplingRequest("low drone", seconds=SECONDS, steps=1)])
    finally:
        hook.remove()
    given, none = seen[0][0], seen[-1]
    begin, end = int(0.3 * RATE_HZ / RATIO), int(np.ceil(0.6 * RATE_HZ / RATIO))
    assert given[0].tolist() == [0.0 if begin <= place < end else 1.0 for place in range(FRAMES)]
    wanted = torch.from_numpy(encode_sound(sa, tone.to_channels(2)))
    assert torch.allclose(given[1:, :begin], wanted[:, :begin])
    assert not given[1:, begin:end].any()
    assert not none.any()


def test_it_is_trained_with_sounds_of_different_length_in_one_batch(folder: Path) -> None:
    tuned = TrainingModel(load_model(folder), Settings(activation_checkpointing=False))
    random = torch.Generator().manual_seed(0)
    words = conditioning.embed_prompts(load_model(folder), ["low drone", "high pluck"], [1.0, 1.0])["prompt"]

    def part(rows: slice, frames: int) -> BatchPart:
        lengths = torch.tensor([5, 8])[rows]
        held = (torch.arange(frames) < lengths[:, None])[:, None]
        return BatchPart(
            latents=latents[rows, :, :frames] * held, noise=noise[rows, :, :frames] * held, frames=lengths,
            is_padded=bool((lengths < frames).any()),
            t=torch.tensor([0.4, 0.7])[rows], dropped=torch.tensor([False, True])[rows], prompts=["low drone", "high pluck"][rows],
            seconds=[0.5, 0.8][rows], embeddings={"prompt": [words[0][rows], words[1][rows]]},
        )  # fmt: skip

    latents, noise = (torch.randn(2, LATENTS, 8, generator=random) for _ in range(2))
    together = tuned(part(slice(0, 2), 8))
    alone = torch.cat([tuned(part(slice(0, 1), 5)), tuned(part(slice(1, 2), 8))])
    assert torch.allclose(together, alone, rtol=1e-4)
    together.sum().backward()
    learned = [name for name, value in tuned.trainable_parameters().items() if value.grad is not None and value.grad.any()]
    assert any("self_attn" in name for name in learned)
    assert not any("conditioner" in name for name in tuned.trainable_parameters())


def test_what_can_be_built_is_known_before_anything_is_fetched() -> None:
    check_buildable(make_small_config(), "somebody/base")
    for change, words in (
        (lambda model: model["pretransform"]["config"]["bottleneck"].update(type="later"), "cannot build"),
        (lambda model: model["conditioning"]["configs"][0].update(type="clap_text"), "clap_text"),
        (lambda model: model["diffusion"].update(diffusion_objective="x0"), "x0"),
        (lambda model: model["diffusion"]["config"].update(transformer_type="mm_transformer"), "mm_transformer"),
        (lambda model: model["diffusion"]["config"].update(norm_type="of_tomorrow"), "of_tomorrow"),
        (lambda model: model["diffusion"].pop("config"), "cannot build"),
    ):
        config = copy.deepcopy(make_small_config())
        change(config["model"])
        with pytest.raises(ModelError, match=words):
            check_buildable(config, "somebody/base")
