"""The noise levels of rectified flow, beside stable-audio-tools' own sampler."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from audiotune.stable_audio.samplers import build_flow_schedule
from audiotune.stable_audio.upstream_factory import silence_output


class RecordedLevels:
    """A model that predicts no velocity and keeps the levels that it is asked at."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def __call__(self, x: torch.Tensor, t: torch.Tensor, **_: Any) -> torch.Tensor:
        self.levels.append(float(t[0]))
        return torch.zeros_like(x)


@pytest.mark.parametrize("top", [1.0, 0.7])
@pytest.mark.parametrize("steps", [1, 4, 8, 50])
def test_a_distilled_base_is_sampled_at_the_levels_of_stable_audio_tools(steps: int, top: float) -> None:
    with silence_output():
        from stable_audio_tools.inference.sampling import DistributionShift, sample_rf

        model, init = RecordedLevels(), None if top == 1 else torch.zeros(1, 2, 300)
        options: dict[str, Any] = {
            "sampler_type": "pingpong",
            "sigma_max": top,
            "device": "cpu",
            "dist_shift": DistributionShift(),
        }
        sample_rf(model, torch.randn(1, 2, 300), init_data=init, steps=steps, **options)
    assert model.levels == pytest.approx(build_flow_schedule(steps, top)[:-1].tolist(), abs=1e-6)


def test_the_levels_of_eight_steps() -> None:
    assert build_flow_schedule(8).tolist() == pytest.approx([1, 0.9933, 0.982, 0.9526, 0.8808, 0.7311, 0.5, 0.2689, 0], abs=1e-4)
