"""Threads by the work of a layer: small layers are computed on one thread, large ones on as many as there are."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from audiotune.stable_audio import threads
from audiotune.stable_audio.threads import choose_threads, count_threads, use_threads


def model_of(width: int, device: str = "cpu") -> Any:
    layers = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.LayerNorm(width), torch.nn.Linear(width, width))
    return SimpleNamespace(model=SimpleNamespace(model=layers), device=torch.device(device))


@pytest.mark.parametrize(
    ("multiply_adds", "most", "expected"), [(0, 4, 1), (12e6, 4, 1), (24e6, 4, 2), (35e6, 4, 2), (36e6, 4, 3), (1e12, 4, 4)]
)
def test_every_thread_has_its_share(multiply_adds: float, most: int, expected: int) -> None:
    assert count_threads(multiply_adds, most) == expected


def test_the_work_of_a_layer_is_its_weights_for_each_token() -> None:
    with use_threads(4):
        assert choose_threads(model_of(300), 128) == 1  # 90,000 weights x 128 tokens = 11.5 million: the tiny base, one sound
        assert choose_threads(model_of(300), 1024) == 4
        assert choose_threads(model_of(1536), 20) == 3  # 2.36 million weights x 20 tokens = 47 million
        assert choose_threads(model_of(300, "cuda"), 1) == 4, "a GPU does not ask for threads of the CPU"
    with use_threads(1):
        assert choose_threads(model_of(1536), 10_000) == 1, "never more than torch was given"


def test_the_number_before_comes_back() -> None:
    before = torch.get_num_threads()
    with use_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before

    @use_threads(before + 1)
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_num_threads() == before


def test_a_choice_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_logged", set())
    with caplog.at_level(logging.INFO, logger="audiotune"):
        for _ in range(3):
            threads.log_threads(1, "one sound")
        threads.log_threads(2, "eight sounds")
    assert [record.message for record in caplog.records] == [
        "computing on 1 thread, chosen by the work: one sound",
        "computing on 2 threads, chosen by the work: eight sounds",
    ]
