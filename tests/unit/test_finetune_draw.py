"""What a step is trained on: a function of the seed and the step, blind to how the batch is divided."""

from __future__ import annotations

import torch

from components.finetune.draw import draw, rows_at, stratified
from components.finetune.settings import Settings

FRAMES = torch.tensor([12, 40, 7, 33, 21, 12, 60, 5, 18])


def test_a_step_draws_the_same_whenever_it_is_asked() -> None:
    settings = Settings(batch_size=4, seed=3)
    late = draw(settings, FRAMES, 8, 11)
    for step in range(12):
        again = draw(settings, FRAMES, 8, step)
    assert torch.equal(late.rows, again.rows)
    assert torch.equal(late.noise, again.noise)
    assert torch.equal(late.uniform, again.uniform)


def test_other_steps_and_seeds_draw_otherwise() -> None:
    noise = draw(Settings(batch_size=4, seed=3), FRAMES, 8, 11).uniform
    assert not torch.equal(noise, draw(Settings(batch_size=4, seed=3), FRAMES, 8, 12).uniform)
    assert not torch.equal(noise, draw(Settings(batch_size=4, seed=4), FRAMES, 8, 11).uniform)


def test_every_row_is_met_once_an_epoch() -> None:
    batches = [rows_at(1, torch.arange(1, 33), 4, step) for step in range(8)]  # one pool is one epoch of 32 rows
    assert sorted(torch.cat(batches).tolist()) == list(range(32))


def test_batches_hold_like_lengths() -> None:
    frames = torch.randint(1, 1000, (512,), generator=torch.Generator().manual_seed(0))
    spreads = [int(frames[rows].max() - frames[rows].min()) for rows in (rows_at(1, frames, 16, step) for step in range(8))]
    assert max(spreads) < 300
    assert all(torch.equal(rows, rows[torch.argsort(frames[rows], stable=True)]) for rows in [rows_at(1, frames, 16, 0)])


def test_fewer_rows_than_a_batch_make_a_batch() -> None:
    rows = rows_at(0, torch.tensor([5, 9]), 16, 0)
    assert len(rows) == 16
    assert set(rows.tolist()) == {0, 1}


def test_strata_are_each_drawn_from_once() -> None:
    drawn = stratified(10, torch.Generator().manual_seed(1))
    assert sorted((drawn * 10).int().tolist()) == list(range(10))
    assert float(drawn.min()) > 0
    assert float(drawn.max()) < 1
