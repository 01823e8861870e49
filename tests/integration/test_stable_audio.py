"""Loading, conditioning, encoding and generating with a real, random stable-audio-tools model of the tiny shape."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audiotune.audio.sound import Sound
from audiotune.audio.synthesizer import Patch, play_patch
from audiotune.errors import GenerationError, ModelError
from audiotune.stable_audio import conditioning, samplers
from audiotune.stable_audio.autoencoder import decode_latents, encode_sound
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.onednn_layers import pack_linear_layers
from audiotune.stable_audio.sample import SamplingRequest, generate_batch, generate_sounds
from tests.fakes.random_model import make_random_config, make_random_model

pytestmark = pytest.mark.integration
TINY = Path(__file__).resolve().parents[2] / "bases" / "tiny"
ALL_SAMPLERS = [(objective, name) for objective in ("v", "rectified_flow") for name in samplers.list_samplers(objective)]


@pytest.fixture(scope="module")
def sa() -> StableAudio:
    return make_random_model(0)


@pytest.fixture(scope="module")
def flow() -> StableAudio:
    return make_random_model(0, "rectified_flow")


@pytest.fixture(scope="module")
def tone() -> Sound:
    return play_patch(Patch("mid", "drone", "saw", 220.0), 0.7, 16_000)


@pytest.mark.parametrize(("objective", "sampler"), ALL_SAMPLERS)
def test_a_request_sounds_the_same_alone_and_beside_others(
    objective: str, sampler: str, sa: StableAudio, flow: StableAudio
) -> None:
    model = sa if objective == "v" else flow
    requests = [
        SamplingRequest("low drone", seconds=0.5, steps=4, seed=1, sampler=sampler),
        SamplingRequest("high pluck", seconds=0.25, steps=3, seed=2, sampler=sampler, guidance=2.0),
        SamplingRequest("low drone", seconds=0.5, steps=4, seed=3, sampler=sampler),
    ]
    beside = generate_sounds(model, requests)
    for request, sound in zip(reversed(requests), reversed(beside)):
        assert np.array_equal(generate_sounds(model, [request])[0].data, sound.data)
    assert not np.array_equal(beside[0].data, beside[2].data), "another seed must sound different"


@pytest.mark.parametrize(("objective", "sampler"), ALL_SAMPLERS)
def test_a_batch_of_any_size_and_order_gives_the_same_bits(
    objective: str, sampler: str, sa: StableAudio, flow: StableAudio
) -> None:
    model = sa if objective == "v" else flow
    asked = [
        SamplingRequest(f"drone {s}", "harsh", seconds=s, steps=3, seed=n, sampler=sampler, guidance=1.5 + n)
        for n, s in enumerate((0.5, 0.49, 0.5, 0.5, 0.5))
    ]
    alone = [generate_sounds(model, [request])[0].data for request in asked]
    for order in ((0, 1), (4, 3, 2, 1, 0), (2, 0, 4)):
        for place, sound in zip(order, generate_batch(model, [asked[place] for place in order])):
            assert sound is not None
            assert np.array_equal(sound.data, alone[place])


def test_eight_together_on_the_tiny_base_are_the_bits_of_each_alone() -> None:
    """The shipped model's layers are wide enough for other kernels than the tiny shape's."""
    model = load_model(TINY)
    asked = [SamplingRequest(f"drone {n}", seconds=0.5, steps=2, seed=n) for n in range(8)]
    for request, sound in zip(asked, generate_batch(model, asked)):
        assert sound is not None
        assert np.array_equal(sound.data, generate_sounds(model, [request])[0].data)


def test_a_batch_on_more_threads_than_a_request_alone_has_the_bits_of_each_alone() -> None:
    from audiotune.stable_audio.sample import count_batch_threads
    from audiotune.stable_audio.threads import use_threads

    model = load_model(TINY)
    with use_threads(2):
        for seconds in (0.75, 1.5):
            asked = [SamplingRequest(f"drone {n}", seconds=seconds, steps=2, seed=n) for n in range(8)]
            assert [count_batch_threads(model, asked[0], count) for count in (1, 8)] == [1, 2]
            for request, sound in zip(asked, generate_batch(model, asked)):
                assert sound is not None
                assert np.array_equal(sound.data, generate_sounds(model, [request])[0].data)


@pytest.mark.parametrize("negatives", [("", ""), ("hiss", "xyzzy")], ids=["none", "a known and an unknown word"])
def test_a_packed_model_sounds_the_same_and_gives_the_same_bits_in_any_batch(negatives: tuple[str, str]) -> None:
    plain, packed = make_random_model(0), pack_linear_layers(make_random_model(0))
    asked = [
        SamplingRequest("low drone", negative_prompt=negatives[n // 2 % 2], seconds=0.25 * (1 + n % 2), steps=4, seed=n)
        for n in range(7)
    ]
    expected, made = generate_sounds(plain, asked), generate_sounds(packed, asked)
    for one, other, request in zip(expected, made, asked):
        assert np.abs(one.data - other.data).max() < 1e-3 * np.abs(one.data).max()
        assert np.array_equal(generate_sounds(packed, [request])[0].data, other.data)


def test_a_packed_model_cannot_be_taken_for_a_whole_one(sa: StableAudio) -> None:
    import torch

    packed = pack_linear_layers(make_random_model(0))
    own, whole = packed.model.state_dict(), sa.model.state_dict()
    assert {name: value.shape for name, value in own.items()} == {name: value.shape for name, value in whole.items()}
    gone = [name for name, value in own.items() if bool(torch.isnan(value).all())]
    assert any(".to_qkv.weight" in name for name in gone) == torch.backends.mkldnn.is_available()
    assert all(name.endswith(".weight") for name in gone)


def test_who_is_gone_is_computed_no_further_and_the_rest_keeps_its_bits(sa: StableAudio) -> None:
    asked = [SamplingRequest("low drone", seconds=0.5, steps=6, seed=s) for s in range(3)]
    rows: list[int] = []
    gone: set[int] = set()

    def at_step(done: int, _total: int) -> None:
        if done == 2:
            gone.add(1)

    hook = sa.model.model.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    try:
        made = generate_batch(sa, asked, at_step, lambda: gone)
    finally:
        hook.remove()
    assert rows == [3, 3, 2, 2, 2, 2]
    assert made[1] is None
    for place in (0, 2):
        sound = made[place]
        assert sound is not None
        assert np.array_equal(sound.data, generate_sounds(sa, [asked[place]])[0].data)
    with pytest.raises(CancelledError):
        generate_batch(sa, asked, None, lambda: {0, 1, 2})


def test_a_short_sound_is_denoised_in_fewer_frames(sa: StableAudio) -> None:
    seen: list[int] = []
    hook = sa.model.model.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-1]))
    try:
        generate_sounds(sa, [SamplingRequest("x", seconds=0.25, steps=3)])
        short = sum(seen)
        seen.clear()
        generate_sounds(sa, [SamplingRequest("x", seconds=1.0, steps=3)])
    finally:
        hook.remove()
    assert short == 3 * 16
    assert sum(seen) == 3 * 64


def test_agrees_with_upstream_given_the_same_noise(sa: StableAudio) -> None:
    import torch
    from stable_audio_tools.inference.generation import generate_diffusion_cond

    rng, flags = torch.get_rng_state(), torch.backends.cuda.matmul.allow_tf32
    ours = generate_sounds(
        sa, [SamplingRequest("warm saw", "noise", seconds=1.024, steps=8, seed=7, guidance=3.0, sampler="dpmpp-2m")]
    )[0]
    assert torch.equal(torch.get_rng_state(), rng), "the global generator was touched"
    assert torch.backends.cuda.matmul.allow_tf32 == flags
    theirs = generate_diffusion_cond(
        sa.model,
        steps=8,
        cfg_scale=3.0,
        conditioning=[{"prompt": "warm saw", "seconds_total": 1.024}],
        negative_conditioning=[{"prompt": "noise", "seconds_total": 1.024}],
        sample_size=sa.window_frames,
        seed=7,
        device="cpu",
        sampler_type="dpmpp-2m",
        apg_scale=0.0,
    )
    wanted = theirs[0].numpy()[:, : ours.frames]
    assert np.allclose(ours.data, wanted / max(1.0, np.abs(wanted).max()), atol=1e-4)


def test_steps_are_reported_and_can_be_stopped(sa: StableAudio) -> None:
    progress_calls: list[tuple[int, int]] = []
    generate_sounds(
        sa,
        [SamplingRequest("a", seconds=0.2, steps=3), SamplingRequest("b", seconds=0.2, steps=2)],
        lambda *at: progress_calls.append(at),
    )
    assert progress_calls == [(i, 5) for i in range(1, 6)]

    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_sounds(sa, [SamplingRequest("a", seconds=0.2, steps=50)], stop)


def test_an_init_sound_is_kept_the_more_the_weaker_it_is_changed(sa: StableAudio, tone: Sound) -> None:
    wanted = encode_sound(sa, tone)
    distances = []
    for strength in (0.05, 0.4, 1.0):
        made = generate_sounds(
            sa, [SamplingRequest("x", seconds=tone.duration_s, steps=10, guidance=1, init=tone, init_strength=strength)]
        )[0]
        distances.append(float(np.abs(made.data - decode_latents(sa, wanted, made.frames).data).mean()))
    assert distances[0] < 0.5 * distances[1] < 0.5 * distances[2] * 1.5


@pytest.mark.parametrize("objective", ["v", "rectified_flow"])
def test_only_the_part_named_is_made_anew(objective: str, sa: StableAudio, flow: StableAudio, tone: Sound) -> None:
    model = sa if objective == "v" else flow
    asked = [
        SamplingRequest("x", seconds=tone.duration_s, steps=6, seed=n, init=tone, redo=(0.2, 0.2 + n / 10)) for n in range(1, 4)
    ]
    together = generate_batch(model, asked)
    for request, sound in zip(asked, together):
        assert sound is not None
        assert request.redo is not None
        start, end = (round(second * 16_000) for second in request.redo)
        changed = np.abs(sound.data[0] - tone.data[0, : sound.frames])
        assert changed[:start].max() == 0
        assert changed[end:].max(initial=0) == 0
        assert changed[start:end].max() > 1e-3
        assert np.array_equal(generate_sounds(model, [request])[0].data, sound.data), "the same alone"


def test_what_is_held_stays_in_the_latents(sa: StableAudio, tone: Sound) -> None:
    from audiotune.stable_audio import sample

    request = SamplingRequest("x", seconds=tone.duration_s, steps=8, seed=1, init=tone, redo=(0.3, 0.5))
    latents = sample._denoise_batch(sa, [request], lambda: None, None, 1)[0]
    wanted = encode_sound(sa, tone)
    held = np.r_[0:18, 33 : wanted.shape[1]]
    assert np.abs(latents[:, held] - wanted[:, held]).mean() < 0.05 * np.abs(wanted).mean() + 0.02
    with pytest.raises(GenerationError, match="redo"):
        generate_sounds(sa, [SamplingRequest("x", seconds=0.5, init=tone, redo=(0.4, 0.9))])


def test_words_guidance_and_words_to_avoid_matter(sa: StableAudio) -> None:
    plain = SamplingRequest("low drone", seconds=0.3, steps=3)
    others = [
        SamplingRequest("high pluck", seconds=0.3, steps=3),
        SamplingRequest("low drone", "harsh", seconds=0.3, steps=3),
        SamplingRequest("low drone", seconds=0.3, steps=3, guidance=1.0),
    ]
    first, *rest = generate_sounds(sa, [plain, *others])
    assert all(np.abs(first.data - other.data).max() > 1e-5 for other in rest)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seconds", 9.0),
        ("seconds", 0.0),
        ("steps", 0),
        ("guidance", float("nan")),
        ("seed", -1),
        ("sampler", "euler"),
        ("init_strength", 0.0),
    ],
)
def test_an_impossible_request_names_its_field(sa: StableAudio, field: str, value: Any) -> None:
    with pytest.raises(GenerationError) as refused:
        generate_sounds(sa, [SamplingRequest("x", **{"seconds": 0.5, field: value})])
    assert refused.value.where == field


def test_latents_have_true_length_and_are_no_draw(sa: StableAudio, tone: Sound) -> None:
    for frames in (1, 255, 256, 257, 5000):
        sound = tone.cut(0, frames)
        latents = encode_sound(sa, sound)
        assert latents.shape == (sa.latent_channels, -(-frames // sa.downsampling_ratio))
        assert latents.dtype == np.float32
    assert np.array_equal(encode_sound(sa, tone), encode_sound(sa, tone))
    assert decode_latents(sa, encode_sound(sa, tone), 777).frames == 777
    stereo = Sound(np.repeat(tone.resample(48_000).data, 2, axis=0), 48_000)
    assert encode_sound(sa, stereo).shape == encode_sound(sa, tone).shape


def test_conditioning_survives_rows_and_stacking(sa: StableAudio) -> None:
    both = conditioning.embed_prompts(sa, ["low drone", "qüux"], [0.5, 1.0])
    rows = conditioning.stack_rows([conditioning.take_row(both, 0), conditioning.take_row(both, 1)])
    for key, (embedding, mask) in both.items():
        assert np.array_equal(embedding.numpy(), rows[key][0].numpy())
        assert np.array_equal(mask.numpy(), rows[key][1].numpy())


def test_weights_must_be_safetensors_and_fit(sa: StableAudio, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = {k: v.contiguous() for k, v in sa.model.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    again = load_model(make_random_config(), tmp_path / "model.safetensors")
    assert all(
        np.array_equal(a.numpy(), b.numpy()) for a, b in zip(sa.model.state_dict().values(), again.model.state_dict().values())
    )
    with pytest.raises(ModelError, match="not a safetensors"):
        load_model(make_random_config(), tmp_path / "model.ckpt")
    state.popitem()
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(ModelError, match="1 of"):
        load_model(make_random_config(), tmp_path / "less.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:999])
    with pytest.raises(ModelError, match="cannot read"):
        load_model(make_random_config(), tmp_path / "cut.safetensors")


def test_an_autoencoder_in_half_precision_and_in_chunks_is_kept_whole_and_precise(tone: Sound) -> None:
    config = make_random_config()
    config["model"]["pretransform"] |= {"model_half": True, "chunked": True}
    halved, plain = make_random_model(0, config=config), make_random_model(0)
    assert {parameter.dtype for parameter in halved.model.pretransform.parameters()} == {torch.float32}
    latents = encode_sound(halved, tone)
    assert np.allclose(latents, encode_sound(plain, tone), atol=2e-2 * np.abs(latents).max())  # its weights were halves once
    assert decode_latents(halved, latents, tone.frames).frames == tone.frames


def test_a_t5_encoder_is_taken_from_the_folder(tmp_path: Path) -> None:
    from transformers import T5Config, T5EncoderModel

    shutil.copytree(TINY / "tokenizer", tmp_path / "text_encoder" / "t5-base")
    small = T5Config(vocab_size=600, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    T5EncoderModel(small).save_pretrained(tmp_path / "text_encoder" / "t5-base")
    config = make_random_config()
    prompt = config["model"]["conditioning"]["configs"][0]
    prompt.update(type="t5", config={"t5_model_name": "t5-base", "max_length": 16})
    (tmp_path / "model_config.json").write_text(json.dumps(config))
    model = load_model(tmp_path / "model_config.json")
    embedding, mask = conditioning.embed_prompts(model, ["low drone"], [1.0])["prompt"]
    assert embedding.shape == (1, 16, 64)
    assert int(mask.sum()) == 2
    assert generate_sounds(model, [SamplingRequest("low drone", seconds=0.2, steps=2)])[0].frames == 3200


def test_a_tokenizer_that_is_named_by_a_hub_name_is_taken_from_the_folder(tmp_path: Path) -> None:
    shutil.copytree(TINY / "tokenizer", tmp_path / "text_encoder" / "words")
    config = make_random_config()
    config["model"]["conditioning"]["configs"][0]["config"]["tokenizer_name"] = "someone/words"
    (tmp_path / "model_config.json").write_text(json.dumps(config))
    model = load_model(tmp_path / "model_config.json")
    assert conditioning.embed_prompts(model, ["low drone"], [1.0])["prompt"][0].shape[:2] == (1, 24)


def test_upstreams_own_factory_builds_the_tiny_base() -> None:
    program = """
import json, os, audiotune.stable_audio
from stable_audio_tools import create_model_from_config
os.chdir("bases/tiny")
model = create_model_from_config(json.load(open("model_config.json")))
print(type(model).__name__, model.pretransform.downsampling_ratio, model.pretransform.encoded_channels)
"""
    completed = subprocess.run(
        [sys.executable, "-c", program], cwd=TINY.parents[1], capture_output=True, text=True, timeout=300, check=False
    )
    assert completed.stdout.splitlines()[-1:] == ["ConditionedDiffusionModelWrapper 1024 32"], completed.stderr[-800:]
