"""AdamW with small state: it learns as torch's does, forgets nothing by rounding, and goes on exactly where it stopped."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from components.finetune.compact_adamw import CompactAdamW, State, decode_blocks, encode_blocks, round_to_bf16
from components.finetune.optimizer import collect_optimizer_tensors, restore_optimizer


def regress(optimizer_of: object, dtype: torch.dtype = torch.float32, steps: int = 300) -> float:
    """The loss after learning a linear map of inputs whose scales differ a thousandfold."""
    random = torch.Generator().manual_seed(0)  # torch's own is the optimizer's
    truth, scales = torch.randn(32, 64, generator=random), torch.logspace(-1.5, 1.5, 64)
    weight = torch.nn.Parameter(torch.zeros(32, 64, dtype=dtype))
    optimizer = optimizer_of(weight)  # type: ignore[operator]
    for _ in range(steps):
        x = torch.randn(64, 64, generator=random) * scales
        loss = ((x @ (weight.float() - truth).T) / scales.max()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss)


def compact(state: State) -> object:
    return lambda weight: CompactAdamW([{"params": [weight], "weight_decay": 1e-3}], 2e-2, (0.9, 0.999), state, seed=1)


def plain(weight: torch.nn.Parameter) -> torch.optim.Optimizer:
    return torch.optim.AdamW([weight], lr=2e-2, weight_decay=1e-3)


def test_with_whole_state_it_is_adamw() -> None:
    assert regress(compact("fp32")) == pytest.approx(regress(plain), rel=1e-3)


@pytest.mark.parametrize("state", ["bf16", "int8"])
def test_with_small_state_it_learns_as_well(state: State) -> None:
    assert regress(compact(state)) < 1.3 * regress(plain) + 1e-4


def test_bf16_weights_learn_by_steps_that_are_smaller_than_their_precision() -> None:
    """Steps of 1e-4 on weights near 1: rounding to the nearest would lose every one of them."""
    weight = torch.nn.Parameter(torch.ones(4096, dtype=torch.bfloat16))
    optimizer = CompactAdamW([{"params": [weight]}], 1e-4, (0.9, 0.999), "int8", seed=0)
    for _ in range(100):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert float(weight.detach().float().mean()) == pytest.approx(1 - 100 * 1e-4, abs=1e-3)


@pytest.mark.parametrize("exponent", [3, 4])
def test_blocks_are_right_on_average(exponent: int) -> None:
    torch.manual_seed(0)
    values = torch.randn(300) * torch.logspace(-4, 0, 300)
    values = values.square() if exponent == 4 else values
    total = torch.zeros(300)
    for _ in range(400):
        total += decode_blocks(*encode_blocks(values, exponent), exponent, values.shape)
    large = values.abs() > 1e-4 * values.abs().max()
    assert torch.allclose((total / 400)[large], values[large], rtol=0.15)
    assert float((total / 400 - values).abs().max()) < 0.01 * float(values.abs().max())


def test_a_square_that_is_not_zero_never_becomes_zero() -> None:
    values = torch.full((256,), 1e-20)
    values[0] = 1.0
    levels, scale = encode_blocks(values, 4)
    assert bool((decode_blocks(levels, scale, 4, values.shape) > 0).all())
    zeros = encode_blocks(torch.zeros(10), 4)
    assert not decode_blocks(*zeros, 4, torch.Size([10])).any()


def test_rounding_to_bf16_keeps_what_is_exact_and_the_mean() -> None:
    torch.manual_seed(0)
    exact = torch.randn(100).bfloat16().float()
    assert torch.equal(round_to_bf16(exact).float(), exact)
    assert float(round_to_bf16(torch.full((100_000,), 1.001)).float().mean()) == pytest.approx(1.001, abs=2e-5)


@pytest.mark.parametrize("state", ["fp32", "bf16", "int8"])
def test_a_restored_state_goes_on_bit_for_bit(state: State) -> None:
    torch.manual_seed(0)
    gradients = torch.randn(6, 300)
    weight = torch.nn.Parameter(torch.ones(300, dtype=torch.bfloat16))
    optimizer = CompactAdamW([{"params": [weight]}], 1e-2, (0.9, 0.99), state, seed=3)
    other = copy.deepcopy(weight)
    for number, gradient in enumerate(gradients):
        weight.grad = gradient.bfloat16()
        optimizer.step()
        if number == 2:
            other = torch.nn.Parameter(weight.detach().clone())
            second = CompactAdamW([{"params": [other]}], 1e-2, (0.9, 0.99), state, seed=3)
            kept = {name: tensor.clone() for name, tensor in collect_optimizer_tensors({"p": weight}, optimizer).items()}
            restore_optimizer({"p": other}, second, kept)
        if number > 2:
            other.grad = gradient.bfloat16()
            second.step()
    assert torch.equal(weight, other)


def test_the_bytes_of_a_weight_are_as_promised() -> None:
    sizes = {}
    for state in ("fp32", "bf16", "int8"):
        weight = torch.nn.Parameter(torch.ones(256 * 40))
        optimizer = CompactAdamW([{"params": [weight]}], 1e-2, (0.9, 0.99), state, seed=3)  # type: ignore[arg-type]
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        sizes[state] = sum(t.nbytes for t in optimizer.state[weight].values()) / weight.numel()
    assert sizes["fp32"] == pytest.approx(8, abs=0.1)
    assert sizes["bf16"] == pytest.approx(4, abs=0.1)
    assert sizes["int8"] == pytest.approx(2, abs=0.1)
    assert all(a > b for a, b in itertools.pairwise(sizes.values()))


def test_it_runs_where_a_gpu_is_imitated() -> None:
    """As the plan of a training does, on a machine without one."""
    from audiotune.stable_audio.fake_gpu import imitate_gpu

    with imitate_gpu():
        weight = torch.nn.Parameter(torch.empty(300, 7, device="cuda", dtype=torch.bfloat16))
        optimizer = CompactAdamW([{"params": [weight]}], 1e-2, (0.9, 0.99), "int8", seed=3)
        for _ in range(2):
            (weight * 2).sum().backward()
            optimizer.step()
        assert optimizer.state[weight]["exp_avg"].device.type == "cuda"
        assert optimizer.state[weight]["exp_avg"].shape == (9 * 256,)
