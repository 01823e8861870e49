"""Inputs of a training step keep their digits in mixed precision: only the operations are computed in few."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from components.finetune.compute_backends import FabricBackend, make_precision_plugins  # noqa: E402
from components.finetune.settings import Settings  # noqa: E402


@dataclass
class _Part:
    t: torch.Tensor


class _Levels(nn.Module):
    """Keeps the levels it was given, and how a product of them was computed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, part: _Part) -> torch.Tensor:
        self.t = part.t
        self.product = self.linear(part.t[:, None])
        return self.product.sum()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_noise_levels_keep_their_digits(precision: str) -> None:
    from lightning_fabric import Fabric

    settings = Settings.model_validate({"precision": precision})
    fabric = Fabric(accelerator="cpu", devices=1, plugins=make_precision_plugins(settings, "cpu"))
    fabric.launch()
    model = _Levels()
    step = FabricBackend(fabric).prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    levels = torch.tensor([0.123456789, 0.987654321])
    step(_Part(levels))
    assert torch.equal(model.t, levels)
    assert model.product.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
