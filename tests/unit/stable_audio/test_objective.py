"""Noise levels and targets, against the formulas of the papers and against upstream's own draws."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from audiotune.domain.dataset import LatentRow
from audiotune.errors import ModelError
from audiotune.stable_audio.known_bases import GenerationDefaults
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.objective import (
    LOSS_LEVELS,
    add_noise,
    make_loss_levels,
    map_to_noise_levels,
    shift_noise_levels,
    strength_to_sigma,
    sum_squared_errors,
)
from audiotune.stable_audio.row_losses import measure_loss_by_level
from audiotune.stable_audio.samplers import count_sampler_steps, list_samplers
from audiotune.store import FolderStore, tensor_files
from components.finetune.optimizer import RunningMean, compute_learning_rate, make_adamw
from components.finetune.settings import Settings


def test_v_is_the_derivative_of_the_noised_latents() -> None:
    latents, noise = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    now, target = add_noise("v", latents.double(), noise.double(), t)
    later, _ = add_noise("v", latents.double(), noise.double(), t + 1e-6)
    slope = (later - now) / (1e-6 * math.pi / 2)
    assert torch.allclose(slope, target, atol=1e-4)


def test_rectified_flow_points_from_latents_to_noise() -> None:
    latents, noise, t = torch.randn(2, 3, 5), torch.randn(2, 3, 5), torch.tensor([0.25, 1.0])
    now, target = add_noise("rectified_flow", latents, noise, t)
    assert torch.allclose(now - t[:, None, None] * target, latents, atol=1e-6)
    assert torch.equal(now[1], noise[1])


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(ModelError, match="objective"):
        add_noise("x0", torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1))


@pytest.mark.parametrize("kind", ["uniform", "logit_normal", "trunc_logit_normal", "log_snr"])
def test_noise_levels_are_levels(kind: str) -> None:
    uniform = (torch.arange(1000) + 0.5) / 1000
    t = map_to_noise_levels(kind, uniform)
    assert float(t.min()) >= 0
    assert float(t.max()) <= 1


def test_logit_normal_has_its_median_and_quartiles() -> None:
    quartiles = map_to_noise_levels("logit_normal", torch.tensor([0.25, 0.5, 0.75]))
    assert torch.allclose(quartiles, torch.sigmoid(torch.tensor([-0.6745, 0.0, 0.6745])), atol=1e-3)


class LaterForLonger:
    """A shift as a base's config asks for: the longer the sound, the noisier."""

    def shift(self, t: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        return t ** (1 / frames)


def test_loss_is_measured_at_levels_shifted_by_length() -> None:
    frames = torch.tensor([1, 2])
    plain, shifted = make_loss_levels(frames, None), make_loss_levels(frames, LaterForLonger())
    assert torch.equal(plain, torch.tensor(LOSS_LEVELS)[:, None].expand(-1, 2))
    assert torch.equal(shifted[:, 0], torch.tensor(LOSS_LEVELS))
    assert torch.allclose(shifted[:, 1], torch.tensor(LOSS_LEVELS).sqrt())


def test_evaluation_measures_at_the_levels_of_validation(tmp_path: Path) -> None:
    """Both hand the same shifted levels to a model of a base whose config has distribution_shift_options."""
    store, asked = FolderStore(tmp_path), []

    class Model(torch.nn.Module):
        dist_shift, conditioner = LaterForLonger(), staticmethod(lambda rows, device: {})

        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.Linear(1, 1)

        def forward(self, noised: torch.Tensor, t: torch.Tensor, cond: object) -> torch.Tensor:
            asked.append(t)
            return noised

    sa = SimpleNamespace(model=Model(), config={"model": {}}, objective="v", patch_frames=1, device=torch.device("cpu"))
    key = tensor_files.store_tensors(store, {"latents": tensor_files.wrap_tensor(torch.randn(3, 4))})
    row = LatentRow(
        segment="0" * 64, recording="1" * 64, split="train", latents=key, latent_frames=4, seconds=1.0, captions=("a drone",)
    )
    measure_loss_by_level(sa, store, [row])  # type: ignore[arg-type]
    assert torch.equal(asked[0], make_loss_levels(torch.tensor([4]), LaterForLonger())[:, 0])


def test_truncation_leaves_no_gap() -> None:
    t = map_to_noise_levels("trunc_logit_normal", torch.tensor([1e-6, 0.5, 1 - 1e-6]))
    assert t[0] > 0.99
    assert t[2] < 0.05


def test_each_sound_is_shifted_by_its_own_length() -> None:
    class Shift:
        def shift(self, t: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
            return t / length

    assert shift_noise_levels(torch.tensor([1.0, 1.0]), torch.tensor([2, 4]), Shift()).tolist() == [0.5, 0.25]
    assert shift_noise_levels(torch.tensor([0.3]), torch.tensor([2]), None).tolist() == pytest.approx([0.3])


def test_padding_costs_nothing() -> None:
    mask = torch.tensor([[True, True, False]])
    output, target = torch.ones(1, 2, 3), torch.zeros(1, 2, 3)
    output[:, :, 2] = 99.0
    assert sum_squared_errors(output, target, mask).tolist() == [4.0]


def test_the_learning_rate_warms_up_and_falls() -> None:
    settings = Settings(learning_rate=1e-3, warmup_steps=4, steps=104, schedule="cosine")
    rates = [compute_learning_rate(settings, step) for step in range(105)]
    assert rates[:4] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4])
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-4)
    inverse = Settings(learning_rate=1e-3, warmup_steps=4, schedule="inverse")
    assert compute_learning_rate(inverse, 16) == pytest.approx(5e-4)


def test_the_running_mean_runs() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    mean = RunningMean({"w": weight}, 0.9)
    with torch.no_grad():
        weight.fill_(1.0)
    mean.update(0)  # early decay is 1/10
    assert mean.mean["w"].tolist() == pytest.approx([0.9, 0.9])
    for step in range(1000, 1100):
        mean.update(step)
    assert mean.mean["w"].tolist() == pytest.approx([1.0, 1.0], abs=1e-4)


def test_only_matrices_decay() -> None:
    named = {
        name: torch.nn.Parameter(torch.ones(shape)) for name, shape in (("w", (2, 2)), ("b", (2,)), ("conditioner.t", (9, 2)))
    }
    groups = make_adamw(named, Settings(weight_decay=0.5, words_rate=3.0)).param_groups
    assert [(len(g["params"][0]), g["weight_decay"], g["rate"]) for g in groups] == [(2, 0.5, 1.0), (2, 0.0, 1.0), (9, 0.0, 3.0)]


def test_a_loss_without_a_mask_counts_every_frame() -> None:
    assert sum_squared_errors(torch.ones(2, 2, 3), torch.zeros(2, 2, 3)).tolist() == [6.0, 6.0]


def test_an_unknown_objective_is_never_taken_for_rectified_flow() -> None:
    for ask in (
        lambda: list_samplers("x0"),
        lambda: count_sampler_steps("x0", GenerationDefaults(), 10, 0.5),
        lambda: load_model({"model": {"diffusion": {"diffusion_objective": "x0"}}}),
    ):
        with pytest.raises(ModelError, match="objective 'x0' is not known") as caught:
            ask()
        assert "v, rectified_flow or rf_denoiser" in caught.value.cure


def test_sampling_starts_from_an_init_sound_at_its_noise_level() -> None:
    assert strength_to_sigma(0.5, 100.0) == pytest.approx(1.0)  # tan(pi/4)
    assert strength_to_sigma(1.0, 100.0) == 100.0
    assert strength_to_sigma(1.0, 500.0) == 500.0
    assert strength_to_sigma(0.999, 500.0) == 500.0
    assert strength_to_sigma(0.0, 100.0) == 0.02


def test_an_init_sound_that_is_hardly_changed_begins_below_the_usual_range() -> None:
    """Stable Audio Open is sampled from 500 down to 0.3; 0.06 pi/2 is below that."""
    usual, wide = GenerationDefaults(), GenerationDefaults(sigma_min=0.3, sigma_max=500.0)
    assert [count_sampler_steps("v", usual, 50, strength) for strength in (None, 0.01, 0.5, 1.0)] == [50, 4, 25, 50]
    assert [count_sampler_steps("v", wide, 100, strength) for strength in (None, 0.06, 0.5, 1.0)] == [100, 9, 16, 100]
