"""Checkpoints: tensors written one by one, pointers written last, old ones deleted, shared blobs spared."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from audiotune.domain.checkpoint import (
    Checkpoint,
    find_newest_checkpoint,
    list_candidate_steps,
    list_earlier_candidates,
    load_checkpoint,
    prune_checkpoints,
)
from audiotune.errors import ModelError
from audiotune.store import FolderStore, tensor_files
from components.finetune.optimizer import RunningMean
from components.finetune.training_state import CheckpointWriter, take_snapshot
from tests.fakes.layout_store import LayoutStore

RUN, OTHER = "a" * 64, "b" * 64
FACTS = {
    "run_key": RUN,
    "kind": "full",
    "base": "tiny",
    "base_digest": "c" * 64,
    "dataset": "d" * 64,
    "latents": "e" * 64,
}


def kept(store: FolderStore, step: int, run: str = RUN, *, content: bytes = b"", final: bool = False) -> Checkpoint:
    weights = store.put_blob(content or f"weights {run} {step}".encode(), ".safetensors")
    optimizer = store.put_blob(f"optimizer {run} {step}".encode(), ".safetensors")
    made = Checkpoint(
        run_key=run,
        step=step,
        final=final,
        weights=weights,
        optimizer=optimizer,
        kind="full",
        base="tiny",
        base_digest="c" * 64,
        dataset="d" * 64,
        latents="e" * 64,
        history={"train_loss": [(1, 0.5)]},
    )
    made.save(store)
    return made


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    made = kept(store, 7)
    assert load_checkpoint(store, made.key) == made


def test_something_else_is_no_checkpoint(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    store.put("checkpoints/x.json", b'{"step": 1}')
    with pytest.raises(ModelError, match="no checkpoint"):
        load_checkpoint(store, "checkpoints/x.json")


def test_the_newest_has_the_most_steps_and_all_its_blobs(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    for step in (9, 10, 100):
        kept(store, step)
    kept(store, 500, OTHER)
    found = find_newest_checkpoint(store, RUN)
    assert found is not None
    assert found.step == 100
    store.delete(found.weights)
    assert find_newest_checkpoint(store, RUN).step == 10  # type: ignore[union-attr]
    assert find_newest_checkpoint(store, RUN, most_steps=9).step == 9  # type: ignore[union-attr]
    assert find_newest_checkpoint(store, "f" * 64) is None


def test_candidates_are_spread_over_the_run_and_the_last_step_is_one() -> None:
    assert list_candidate_steps(240, 5) == (48, 96, 144, 192, 240)
    assert list_candidate_steps(3, 5) == (1, 2, 3)
    assert list_candidate_steps(7, 1) == (7,)


def test_candidates_keep_their_weights_only(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    made = {step: kept(store, step, final=step == 50) for step in (10, 20, 30, 40, 50)}
    assert prune_checkpoints(store, RUN, 2, candidates=(20, 40)) == [10, 30]
    assert store.exists(made[20].weights)
    assert not store.exists(made[20].optimizer), "nobody goes on from there"
    assert store.exists(made[40].optimizer), "one of the last two"
    assert find_newest_checkpoint(store, RUN, most_steps=39) is None
    last = made[50].model_copy(update={"recipe": {"steps": 50, "candidates": 5}})
    assert list_earlier_candidates(store, last) == (made[20].key, made[40].key)
    store.delete(made[20].weights)
    assert list_earlier_candidates(store, last) == (made[40].key,)
    assert list_earlier_candidates(store, made[50]) == (), "older runs kept none"


def test_an_optimizer_that_another_run_goes_on_from_stays(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    made = [kept(store, step) for step in (1, 2)]
    kept(store, 1, OTHER).model_copy(update={"optimizer": made[0].optimizer}).save(store)
    prune_checkpoints(store, RUN, 1, candidates=(1,))
    assert store.exists(made[0].optimizer)


def test_old_checkpoints_go_and_ends_of_runs_stay(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    made = {step: kept(store, step, final=step == 20) for step in (10, 20, 30, 40)}
    assert prune_checkpoints(store, RUN, 1) == [10, 30]
    assert not store.exists(made[10].weights)
    assert store.exists(made[20].weights)
    assert find_newest_checkpoint(store, RUN).step == 40  # type: ignore[union-attr]


def test_a_blob_that_another_run_names_stays(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    old = kept(store, 1, content=b"the same weights")
    kept(store, 2)
    kept(store, 1, OTHER, content=b"the same weights")
    prune_checkpoints(store, RUN, 1)
    assert not store.exists(old.key)
    assert store.exists(old.weights)
    assert not store.exists(old.optimizer)


def test_tensors_are_read_by_safetensors_itself(tmp_path: Path) -> None:
    state = {
        "b": torch.randn(3, 4),
        "half": torch.randn(5).bfloat16(),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 2),
        "flags": torch.tensor([True, False]),
    }
    path = tensor_files.write_tensors(
        tmp_path / "x.safetensors", {name: tensor_files.wrap_tensor(t) for name, t in state.items()}
    )
    theirs = load_file(path)
    assert theirs.keys() == state.keys()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in state.items())
    save_file(state, tmp_path / "y.safetensors")
    ours = tensor_files.read_tensors(tmp_path / "y.safetensors")
    assert all(torch.equal(ours[name], tensor) for name, tensor in state.items())


def test_the_same_tensors_are_the_same_bytes(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    first, second = torch.randn(3), torch.randn(2)
    one = tensor_files.store_tensors(store, {"x": tensor_files.wrap_tensor(first), "y": tensor_files.wrap_tensor(second)})
    assert one == tensor_files.store_tensors(store, {"y": tensor_files.wrap_tensor(second), "x": tensor_files.wrap_tensor(first)})


def test_a_trainings_state_is_told_from_weights_by_its_name(tmp_path: Path) -> None:
    """The studio's user in the object store may read the weights that members co-own, and no training's state."""
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    snapshot = take_snapshot(1, {"p": parameter}, optimizer, None, {}, {})
    made = CheckpointWriter(FolderStore(tmp_path), FACTS, 1).write_checkpoint(snapshot, final=True)
    assert made is not None
    assert made.weights.endswith(tensor_files.STATE)
    assert made.optimizer.endswith(tensor_files.STATE)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tensor_files.write_tensors(tmp_path / "x.safetensors", {"x": tensor_files.wrap_tensor(torch.randn(100))})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ModelError, match="cannot read"), tensor_files.open_tensors(path):
        pass


def test_a_tensor_that_changed_is_a_bug_and_leaves_no_file(tmp_path: Path) -> None:
    wrong = tensor_files.LazyTensor(torch.float32, (2,), lambda: torch.zeros(3))
    with pytest.raises(ModelError, match="announced"):
        tensor_files.write_tensors(tmp_path / "x.safetensors", {"x": wrong})
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_does_not_follow_the_training() -> None:
    """It is written while the weights move on."""
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter], lr=0.1)
    mean = RunningMean({"p": parameter}, 0.9)
    for expected in (1, 2):
        parameter.grad = torch.ones(2)
        optimizer.step()
        snapshot = take_snapshot(expected, {"p": parameter}, optimizer, mean, {}, {"loss": [(1, 0.5)]})
    before = {
        name: tensor.clone()
        for part in (snapshot.weights, snapshot.optimizer, snapshot.ema or {})
        for name, tensor in part.items()
    }
    optimizer.step()
    mean.update(0)
    after = {name: tensor for part in (snapshot.weights, snapshot.optimizer, snapshot.ema or {}) for name, tensor in part.items()}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(snapshot.weights["p"], parameter)


def test_the_size_of_a_checkpoint_is_known_before(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(1000))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(1000)
    optimizer.step()
    store = FolderStore(tmp_path)
    snapshot = take_snapshot(1, {"p": parameter}, optimizer, RunningMean({"p": parameter}, 0.9), {}, {})
    made = CheckpointWriter(store, FACTS, 1).write_checkpoint(snapshot, final=True)
    assert made is not None
    written = sum(store.size(key) for key in made.blob_keys)
    assert snapshot.size_bytes <= written < snapshot.size_bytes + 2000


def test_a_checkpoint_that_may_not_be_written_has_no_json(tmp_path: Path) -> None:
    """Somebody took their consent back while its tensors went into the store."""
    parameter = torch.nn.Parameter(torch.ones(2))
    snapshot = take_snapshot(1, {"p": parameter}, torch.optim.AdamW([parameter]), None, {}, {})
    store = FolderStore(tmp_path)
    assert CheckpointWriter(store, FACTS, 1, may_write=lambda: False).write_checkpoint(snapshot, final=True) is None
    assert find_newest_checkpoint(store, RUN) is None
