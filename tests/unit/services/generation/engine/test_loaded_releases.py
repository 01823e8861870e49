"""A fresh installation waits for its first release, and that is no fault; every other reason for silence is one."""

from __future__ import annotations

import pytest

from services.generation.engine.loaded_releases import NOTHING_YET, LoadedReleases


@pytest.mark.parametrize(
    ("trouble", "answer"),
    [
        ({"audio-tune": NOTHING_YET}, True),
        ({"": "loading"}, False),
        ({"": "MLflow is away", "audio-tune": NOTHING_YET}, False),
        ({"audio-tune": "the weights are damaged"}, False),
        ({}, False),
    ],
)
def test_only_an_answer_of_the_registry_that_there_is_nothing_counts(trouble: dict[str, str], answer: bool) -> None:
    loaded = LoadedReleases()
    loaded.trouble = trouble
    assert loaded.waits_for_first is answer
