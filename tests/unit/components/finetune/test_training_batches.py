"""Training batches depend on the seed and the step, not on how a batch is divided."""

from __future__ import annotations

import hypothesis.strategies as st
import torch
from hypothesis import given

from components.finetune.settings import Settings
from components.finetune.training_batches import draw_batch, draw_rows, draw_stratified, split_by_length

FRAMES = torch.tensor([12, 40, 7, 33, 21, 12, 60, 5, 18])


def test_a_step_draws_the_same_whenever_it_is_asked() -> None:
    settings = Settings(batch_size=4, seed=3)
    late = draw_batch(settings, FRAMES, 8, 11)
    for step in range(12):
        again = draw_batch(settings, FRAMES, 8, step)
    assert torch.equal(late.rows, again.rows)
    assert torch.equal(late.noise, again.noise)
    assert torch.equal(late.uniform, again.uniform)


def test_other_steps_and_seeds_draw_otherwise() -> None:
    noise = draw_batch(Settings(batch_size=4, seed=3), FRAMES, 8, 11).uniform
    assert not torch.equal(noise, draw_batch(Settings(batch_size=4, seed=3), FRAMES, 8, 12).uniform)
    assert not torch.equal(noise, draw_batch(Settings(batch_size=4, seed=4), FRAMES, 8, 11).uniform)


def test_every_row_is_met_once_an_epoch() -> None:
    batches = [draw_rows(1, torch.arange(1, 33), 4, step) for step in range(8)]  # one pool is one epoch of 32 rows
    assert sorted(torch.cat(batches).tolist()) == list(range(32))


def test_batches_hold_like_lengths() -> None:
    frames = torch.randint(1, 1000, (512,), generator=torch.Generator().manual_seed(0))
    spreads = [int(frames[rows].max() - frames[rows].min()) for rows in (draw_rows(1, frames, 16, step) for step in range(8))]
    assert max(spreads) < 300
    assert all(torch.equal(rows, rows[torch.argsort(frames[rows], stable=True)]) for rows in [draw_rows(1, frames, 16, 0)])


def test_fewer_rows_than_a_batch_make_a_batch() -> None:
    rows = draw_rows(0, torch.tensor([5, 9]), 16, 0)
    assert len(rows) == 16
    assert set(rows.tolist()) == {0, 1}


def test_strata_are_each_drawn_from_once() -> None:
    drawn = draw_stratified(10, torch.Generator().manual_seed(1))
    assert sorted((drawn * 10).int().tolist()) == list(range(10))
    assert float(drawn.min()) > 0
    assert float(drawn.max()) < 1


def test_rows_of_very_different_lengths_are_computed_apart() -> None:
    assert split_by_length([1, 4, 9, 20, 22, 58, 64, 64], 0, 8) == [(0, 5), (5, 8)]


def test_rows_of_like_lengths_stay_together() -> None:
    assert split_by_length([60, 61, 62, 64], 0, 4) == [(0, 4)]
    assert split_by_length([7], 0, 1) == [(0, 1)]


@given(st.lists(st.integers(1, 64), min_size=1, max_size=40), st.data())
def test_every_row_is_computed_once_with_no_more_padding(lengths: list[int], data: st.DataObject) -> None:
    frames = sorted(lengths)
    start = data.draw(st.integers(0, len(frames) - 1))
    end = data.draw(st.integers(start + 1, len(frames)))
    runs = split_by_length(frames, start, end)
    assert [row for a, b in runs for row in range(a, b)] == list(range(start, end))
    assert sum((b - a) * frames[b - 1] for a, b in runs) <= (end - start) * frames[end - 1]
