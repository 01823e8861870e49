"""The studio as a client of the generation service: its requests, the sounds it keeps, its messages on failure."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiotune.errors import GenerationError
from services.studio.generation_client import HttpGenerationClient
from services.studio.history import SoundRequest
from tests.fakes.generation_http import FakeGeneration, serving
from tests.fakes.seeded_store import tone


@pytest.fixture
def fake() -> FakeGeneration:
    return FakeGeneration()


@pytest.fixture
def maker(fake: FakeGeneration) -> Iterator[HttpGenerationClient]:
    with serving(fake) as url:
        yield HttpGenerationClient(url, 20)


def test_a_wish_is_asked_for_as_it_is_and_the_bytes_come_unchanged(maker: HttpGenerationClient, fake: FakeGeneration) -> None:
    wish = SoundRequest(
        prompt='a "low" drone ${x} `ls`', negative_prompt="hiss", seconds=0.5, steps=7, guidance=3.5, seed=42, count=2
    )
    made = maker.generate_sounds(wish, None)
    asked = fake.asked[0]
    assert (asked["prompt"], asked["negative_prompt"], asked["seed"], asked["count"]) == (wish.prompt, "hiss", 42, 2)
    assert "sampler" not in asked
    assert [m.audio for m in made] == fake.gave
    assert [m.seed for m in made] == [42, 43]
    assert {m.release for m in made} == {"patch-bay 1"}


def test_without_a_locked_seed_none_is_sent(maker: HttpGenerationClient, fake: FakeGeneration) -> None:
    maker.generate_sounds(SoundRequest(prompt="x", seconds=0.2), None)
    assert fake.asked[0].get("seed") is None


def test_what_is_left_open_is_left_to_the_release_and_kept_as_it_was(maker: HttpGenerationClient, fake: FakeGeneration) -> None:
    """So that the settings of a sound in the history give the same sound again, also with another release's usual ones."""
    (made,) = maker.generate_sounds(SoundRequest(prompt="x", seconds=0.2), None)
    assert not {"steps", "guidance", "sampler"} & set(fake.asked[0])
    assert (made.wish.steps, made.wish.guidance) == (8, 1.0)
    (made,) = maker.generate_sounds(SoundRequest(prompt="x", seconds=0.2, steps=30, guidance=0), None)
    assert (made.wish.steps, made.wish.guidance) == (30, 0.0)


def test_a_sound_to_start_from_goes_along(maker: HttpGenerationClient, fake: FakeGeneration, tmp_path: Path) -> None:
    init = tone(220, 0.2).write(tmp_path / "init.wav")
    maker.generate_sounds(SoundRequest(prompt="x", seconds=0.2, strength=0.4), init)
    assert base64.b64decode(fake.asked[0]["init_audio"]) == init.read_bytes()
    assert fake.asked[0]["init_strength"] == 0.4


def test_adapters_are_asked_for_with_their_strengths(maker: HttpGenerationClient, fake: FakeGeneration) -> None:
    maker.generate_sounds(SoundRequest(prompt="x", seconds=0.2, adapters="grit=0.7, tape:2,"), None)
    assert fake.asked[0]["adapters"] == [{"release": "grit", "strength": 0.7}, {"release": "tape:2", "strength": 1.0}]
    for given, words in (("grit=loud", "grit=loud"), ("grit=9", "strength"), ("grit=nan", "strength"), ("=1", "release")):
        with pytest.raises(GenerationError, match=words):
            maker.generate_sounds(SoundRequest(prompt="x", adapters=given), None)
    assert len(fake.asked) == 1


@pytest.mark.parametrize(("trouble", "words"), [("refuse", r"does not fit \(prompt: one letter"), ("away", "still loading")])
def test_problems_are_reported_in_the_services_words(
    maker: HttpGenerationClient, fake: FakeGeneration, trouble: str, words: str
) -> None:
    fake.trouble = trouble
    with pytest.raises(GenerationError, match=words):
        maker.generate_sounds(SoundRequest(prompt="x"), None)


def test_a_service_that_is_not_there_is_reported() -> None:
    nobody = HttpGenerationClient("http://127.0.0.1:9", 5)
    for call in (lambda: nobody.generate_sounds(SoundRequest(prompt="x"), None), nobody.list_releases, nobody.read_limits):
        with pytest.raises(GenerationError, match="away|does not answer"):
            call()


def test_a_wish_that_cannot_be_is_reported_with_its_field(maker: HttpGenerationClient, fake: FakeGeneration) -> None:
    with pytest.raises(GenerationError, match="prompt"):
        maker.generate_sounds(SoundRequest(prompt=""), None)
    assert fake.asked == []


def test_the_services_limits_are_known(maker: HttpGenerationClient) -> None:
    assert maker.read_limits()["max_seconds"] == 4.0


def test_releases_are_listed(maker: HttpGenerationClient) -> None:
    assert [r["name"] for r in maker.list_releases()] == ["patch-bay"]
