"""The noise levels of rectified flow, beside stable-audio-tools' own sampling."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from audiotune.stable_audio.known_bases import GenerationDefaults
from audiotune.stable_audio.samplers import build_flow_schedule, run_sampler
from audiotune.stable_audio.upstream_factory import silence_output

FRAMES = 300
SHIFTS: dict[str, dict[str, Any] | None] = {
    "none of its own": None,
    "flux": {"type": "flux", "min_length": 100, "max_length": 500, "alpha_min": 2.0, "alpha_max": 7.0},
    "by length": {"type": "full", "base_shift": 0.5, "max_shift": 1.15, "min_length": 100, "max_length": 500},
    "off": {"type": "none"},
}


class RecordedLevels:
    """A model that predicts a velocity from its input, and keeps the levels that it is asked at."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def __call__(self, x: torch.Tensor, t: torch.Tensor, **_: Any) -> torch.Tensor:
        self.levels.append(float(t[0]))
        return 0.5 * x + t[:, None, None]


def shifted_by(options: dict[str, Any] | None, objective: str = "rectified_flow") -> Any:
    """A model whose config has these `sampling_distribution_shift_options`, and a shift of training that must not matter."""
    with silence_output():
        from stable_audio_tools.models.diffusion import ConditionedDiffusionModelWrapper

    wrapper = ConditionedDiffusionModelWrapper(
        None, None, 2, 16_000, 1, distribution_shift_options={"type": "full"}, sampling_distribution_shift_options=options
    )
    return SimpleNamespace(model=wrapper, objective=objective, defaults=GenerationDefaults())


@pytest.mark.parametrize("sampler", ["euler", "dpmpp", "pingpong"])
@pytest.mark.parametrize("top", [1.0, 0.7])
@pytest.mark.parametrize("shift", SHIFTS)
def test_levels_and_latents_are_those_of_stable_audio_tools(shift: str, top: float, sampler: str) -> None:
    with silence_output():
        from stable_audio_tools.inference.sampling import sample_diffusion

    sa, start = shifted_by(SHIFTS[shift]), torch.randn(1, 2, FRAMES, generator=torch.Generator().manual_seed(1))
    init = None if top == 1 else torch.ones(1, 2, FRAMES)
    theirs, ours = RecordedLevels(), RecordedLevels()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        wanted = sample_diffusion(
            theirs, start, {}, "rectified_flow", 8, sampler_type=sampler, dist_shift=sa.model.sampling_dist_shift,
            init_data=init, init_noise_level=top, disable_tqdm=True,
        )  # fmt: skip
    random = torch.Generator().manual_seed(2)
    made = run_sampler(
        sa, ours, start, lambda: torch.randn(start.shape, generator=random), 8, sampler, init, None if top == 1 else top, int
    )  # type: ignore[arg-type]
    assert ours.levels == pytest.approx(theirs.levels, abs=1e-7)
    assert torch.allclose(made, wanted, atol=1e-5)


def test_the_levels_of_eight_steps() -> None:
    levels = build_flow_schedule(shifted_by(None), 8, 1.0, FRAMES).tolist()
    assert levels == pytest.approx([1, 0.9944, 0.9845, 0.9579, 0.8909, 0.7455, 0.5125, 0.2739, 0], abs=1e-4)
