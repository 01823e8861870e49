"""The table of known bases, and how a model is sampled when nobody says otherwise."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from audiotune.errors import ModelError
from audiotune.stable_audio.generation_defaults import add_generation_defaults, read_generation_defaults
from audiotune.stable_audio.known_bases import KNOWN_BASES, GenerationDefaults, KnownBase, find_known_base
from audiotune.stable_audio.samplers import list_samplers

TINY = Path(__file__).resolve().parents[3] / "bases" / "tiny" / "model_config.json"


def config_of(objective: str, **changes: Any) -> dict[str, Any]:
    return {
        "sample_rate": 44_100,
        "sample_size": 2_097_152,
        "model": {"diffusion": {"diffusion_objective": objective}},
        **changes,
    }


def test_each_base_is_named_once_and_found_by_its_name() -> None:
    assert len({base.name for base in KNOWN_BASES}) == len(KNOWN_BASES)
    assert all(find_known_base(base.name) is base for base in KNOWN_BASES)
    assert find_known_base("somebody/else") is None
    assert find_known_base("") is None


def test_a_repository_with_two_bases_names_the_one_in_its_plain_files() -> None:
    found = find_known_base("stabilityai/stable-audio-open-small")
    assert found is not None
    assert "model.safetensors" in found.files
    assert found.for_tuning == "stable-audio-open-small-base"


@pytest.mark.parametrize("base", [base for base in KNOWN_BASES if base.for_tuning], ids=lambda base: base.name)
def test_a_distilled_base_names_one_to_tune_that_was_not(base: KnownBase) -> None:
    tuned = find_known_base(base.for_tuning)
    assert tuned is not None
    assert not tuned.for_tuning
    assert tuned.defaults.sampler in list_samplers("rectified_flow")
    assert base.defaults.sampler == list_samplers("rf_denoiser")[0]


@pytest.mark.parametrize("base", [base for base in KNOWN_BASES if base.repository], ids=lambda base: base.name)
def test_a_base_of_a_hub_brings_words_before_weights_and_says_its_licence(base: KnownBase) -> None:
    files = base.files
    assert files.index(base.licence.files[0]) < files.index(base.config) < files.index(base.weights[0])
    assert "Powered by Stability AI" in base.licence.notice
    assert base.text_encoder is not None
    assert base.text_encoder.files[:2] == ("config.json", "model.safetensors")
    if base.text_encoder.repository == base.repository:
        assert f"{base.text_encoder.folder}/config.json" in files


def test_stable_audio_open_is_sampled_as_its_card_says() -> None:
    for name in ("stable-audio-open-1.0", "stabilityai/stable-audio-open-1.0"):
        found = read_generation_defaults(config_of("v"), name)
        assert found == GenerationDefaults(100, 7.0, "dpmpp-3m-sde", 0.3, 500.0, 30.0, 100)


def test_the_tiny_base_and_an_unknown_one_are_sampled_as_before() -> None:
    config = json.loads(TINY.read_bytes())
    assert read_generation_defaults(config, "tiny") == read_generation_defaults(config) == GenerationDefaults()
    assert read_generation_defaults(config, "somebody/else") == GenerationDefaults()


def test_a_config_without_a_known_base_is_sampled_by_its_own_demos_or_its_objective() -> None:
    demo = {"demo_steps": 30, "demo_cfg_scales": [1, 3, 9]}
    assert read_generation_defaults(config_of("v", training={"demo": demo})) == GenerationDefaults(30, 3.0)
    distilled = read_generation_defaults(config_of("rf_denoiser"))
    assert (distilled.steps, distilled.guidance, distilled.sampler) == (8, 1.0, "pingpong")


def test_a_release_carries_its_defaults_wherever_it_goes() -> None:
    carried = add_generation_defaults(config_of("v"), "stable-audio-open-1.0")
    moved = json.loads(json.dumps(carried))
    assert read_generation_defaults(moved, "/mnt/elsewhere") == read_generation_defaults(config_of("v"), "stable-audio-open-1.0")


def test_no_form_offers_more_than_the_window() -> None:
    short = config_of("v", sample_size=88_200)
    assert read_generation_defaults(short, "stable-audio-open-1.0").length_s == 2.0


@pytest.mark.parametrize(
    "said", [7, {"steps": 0}, {"steps": "many"}, {"guidance": -1}, {"sampler": 3}, {"sigma_max": float("inf")}]
)
def test_a_value_that_cannot_be_is_named(said: Any) -> None:
    with pytest.raises(ModelError) as caught:
        read_generation_defaults(config_of("v", generation=said))
    assert caught.value.where == "generation"


def test_a_value_that_can_be_is_taken() -> None:
    said = {"steps": 12, "guidance": 0, "sampler": "k-heun", "sigma_min": 1, "of_tomorrow": True}
    wanted = {**asdict(GenerationDefaults()), "steps": 12, "guidance": 0.0, "sampler": "k-heun", "sigma_min": 1.0}
    assert asdict(read_generation_defaults(config_of("v", generation=said))) == wanted
    assert {field.name for field in fields(GenerationDefaults)} == set(wanted)
