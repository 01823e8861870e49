"""A GPU that is not there finds what a real one would refuse, and brings back zeros."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from audiotune.stable_audio.fake_gpu import GPU, imitate_gpu  # noqa: E402
from audiotune.stable_audio.fake_model import build_fake_model  # noqa: E402
from tests.fakes.random_model import make_random_config  # noqa: E402


def test_two_devices_are_found() -> None:
    with imitate_gpu(), pytest.raises(RuntimeError, match=r"two different devices cuda:0, cpu"):
        torch.ones(2, device="cuda") + torch.ones(2)


@pytest.mark.parametrize("operation", ["linear", "convolution", "norm", "attention"])
def test_two_dtypes_are_found(operation: str) -> None:
    with imitate_gpu():
        x, half = torch.ones(1, 4, 8, device="cuda"), torch.ones(4, 8, device="cuda", dtype=torch.float16)
        calls = {
            "linear": lambda: functional.linear(x, half),
            "convolution": lambda: functional.conv1d(x, half[:, :4, None]),
            "norm": lambda: functional.layer_norm(x, (8,), half[0]),
            "attention": lambda: functional.scaled_dot_product_attention(x, x, x.half()),
        }
        with pytest.raises(RuntimeError, match=r"float16.*float32|float32.*float16"):
            calls[operation]()


@pytest.mark.parametrize("again", [False, True], ids=["kept", "computed again"])
def test_gradients_flow_on_the_gpu_in_mixed_precision(again: bool) -> None:
    seen = []
    with imitate_gpu():
        layer = torch.nn.Linear(4, 4).to("cuda")

        def forward(x: torch.Tensor) -> torch.Tensor:
            seen.append(layer(x).dtype)
            return functional.gelu(layer(x))

        with torch.autocast("cuda", torch.bfloat16):
            x = torch.ones(2, 4, device="cuda")
            out = torch.utils.checkpoint.checkpoint(forward, x, use_reentrant=False) if again else forward(x)
        out.sum().backward()
        optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
        optimizer.step()
        kept = optimizer.state[layer.weight]["exp_avg"]
        assert (layer.weight.grad.device, layer.weight.grad.dtype, kept.device) == (GPU, torch.float32, GPU)
    assert seen == [torch.bfloat16] * (2 if again else 1)


def test_what_lies_on_the_cpu_is_computed_and_what_comes_back_is_zeros() -> None:
    with imitate_gpu():
        real = torch.ones(3) * 2
        back = (real.to("cuda") + 1).cpu()
        target = torch.ones(3)
        target.copy_(torch.ones(3, device="cuda"))
        assert float(torch.ones(3, device="cuda").sum()) == 0.0
    assert real.tolist() == [2.0] * 3
    assert back.tolist() == target.tolist() == [0.0] * 3


def test_attention_keeps_no_matrix_of_frames_by_frames() -> None:
    with imitate_gpu():
        query = torch.ones(1, 1, 64, 8, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        assert "Flash" in type(functional.scaled_dot_product_attention(query, query, query).grad_fn).__name__
        mask = torch.ones(1, 1, 1, 64, device="cuda", dtype=torch.bool)
        masked = functional.scaled_dot_product_attention(query, query, query, attn_mask=mask)
        assert "Efficient" in type(masked.grad_fn).__name__


def test_a_module_moves_there_and_back_and_may_stay() -> None:
    with imitate_gpu():
        layer = torch.nn.Linear(2, 2).to("cuda")
        weight = layer.weight
        assert layer.to("cuda").weight is weight
        assert layer.half().weight.dtype == torch.float16
        assert layer.cpu().weight.tolist() == [[0.0, 0.0]] * 2
    assert torch.nn.Linear(2, 2).half().weight.dtype == torch.float16


def test_nothing_of_it_is_left_outside() -> None:
    with imitate_gpu():
        pass
    with pytest.warns(UserWarning, match="CUDA is not available"):
        assert not torch.autocast("cuda")._enabled
    with pytest.raises((RuntimeError, AssertionError)):
        torch.ones(1, device="cuda")


def test_a_model_is_built_of_its_config_alone() -> None:
    config = make_random_config()
    text = {"id": "prompt", "type": "t5", "config": {"t5_model_name": "t5-base", "max_length": 16}}
    config["model"]["conditioning"]["configs"][0] = text
    with imitate_gpu():
        sa = build_fake_model(config, precision="bf16")
        tensors = [*sa.model.parameters(), *sa.model.buffers()]
        assert {tensor.device for tensor in tensors} == {GPU}
        assert {p.dtype for p in sa.model.model.parameters()} == {torch.bfloat16}
        cond = sa.model.conditioner([{"prompt": "a drone", "seconds_total": 1.0}], GPU)
        assert cond["prompt"][0].shape == (1, 16, 64)
        assert sa.config["model"] == config["model"]
