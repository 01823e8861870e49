"""A training is counted before it runs: the count is that of a real run, and the changes that are proposed make it fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from audiotune.errors import TrainingError  # noqa: E402
from audiotune.stable_audio.fake_gpu import GPU, imitate_gpu  # noqa: E402
from audiotune.stable_audio.known_shapes import read_base_config  # noqa: E402
from audiotune.stable_audio.storage_count import StorageCount  # noqa: E402
from components.finetune.compute_backends import SingleCpuBackend  # noqa: E402
from components.finetune.memory_count import TrainingCount, count_training, make_counted_trainer  # noqa: E402
from components.finetune.memory_plan import (  # noqa: E402
    explain_full_memory,
    find_changes,
    list_changes,
    name_full_memory,
    needed_bytes,
    plan_training,
)
from components.finetune.settings import Settings  # noqa: E402
from pipelines import plan as command  # noqa: E402
from tests.fakes.random_model import make_random_config, make_random_model  # noqa: E402


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_and_demos_run_on_the_gpu(mode: str, precision: str) -> None:
    settings = Settings.model_validate({"mode": mode, "precision": precision, "batch_size": 2, "demos": 1, "ema_decay": 0.5})
    counted = count_training(make_random_config(), settings, 0.5)
    assert counted.step_peak > counted.weights + counted.optimizer + counted.mean > 0
    assert counted.demos_peak > counted.weights


def test_demos_are_counted_with_their_decoding() -> None:
    """Twice as long sounds take more: what ends before the autoencoder would take the same."""
    settings = Settings(batch_size=1, demos=1, activation_checkpointing=True)
    short, long = (count_training(make_random_config(), settings, seconds) for seconds in (0.5, 1.0))
    assert long.demos_peak - short.demos_peak > 4 * make_random_config()["sample_rate"] * 0.5


def test_the_count_is_within_a_tenth_of_a_real_step() -> None:
    settings = Settings(batch_size=4, demos=0)
    counted = count_training(make_random_config(), settings, 1.0)
    sa = make_random_model()
    with StorageCount("cpu") as count:
        trainer = make_counted_trainer(sa, settings, 1.0, SingleCpuBackend)
        count.add_tensors(*trainer.model.parameters(), *trainer.model.buffers())
        for step in range(2):
            count.reset_peak()
            trainer._train_step(step)
    assert counted.step_peak == pytest.approx(count.peak_bytes, rel=0.1)


def test_storages_are_counted_while_they_live() -> None:
    with imitate_gpu(), StorageCount("cuda") as count:
        x = torch.ones(1024, device=GPU)
        y = x * 2 + 1
        assert (count.live_bytes, count.peak_bytes) == (8192, 12288)
        del y
        view = x[:10]
        del x
        assert count.live_bytes == 4096
        del view
    assert count.live_bytes == 0


def test_activations_computed_twice_and_small_state_take_less() -> None:
    config = make_random_config()
    plain = count_training(config, Settings(batch_size=8, demos=0), 1.0)
    twice = count_training(config, Settings(batch_size=8, demos=0, activation_checkpointing=True), 1.0)
    small = count_training(config, Settings(batch_size=8, demos=0, optimizer_state="bf16"), 1.0)
    assert twice.moment < 0.8 * plain.moment
    assert small.optimizer < 0.6 * plain.optimizer
    assert small.checkpoint < plain.checkpoint


def _make_count(peak: int) -> TrainingCount:
    return TrainingCount(0, 0, 0, 0, peak, 0, 1, 1, 1.0)


def test_changes_are_made_until_it_fits() -> None:
    seen: list[Settings] = []

    def count(settings: Settings) -> TrainingCount:
        seen.append(settings)
        return _make_count((20 if settings.accumulate < 4 else 5) * 2**30)

    changes, counted = find_changes(Settings(precision="bf16"), count, 8.0)
    assert [change.words for change in changes][-1] == "accumulate = 4"
    assert counted is not None
    assert needed_bytes(counted) <= 8 * 2**30
    assert seen[0].activation_checkpointing
    assert find_changes(Settings(), lambda _: _make_count(2**40), 8.0) == ((), None)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_weights_in_half_the_memory_are_proposed_before_parts_of_a_batch(mode: str) -> None:
    """With checkpointed activations parts save little: gradients of all weights stay beside each part."""
    names = [change.setting for change in list_changes(Settings.model_validate({"mode": mode}))]
    assert names.index("activation_checkpointing") < names.index("weights") < names.index("accumulate")


def test_a_plan_says_whether_it_fits_and_what_is_left_on_disk() -> None:
    settings = Settings(batch_size=2, demos=0, keep_last=3)
    plan = plan_training(make_random_config(), settings, 0.5, 8.0)
    assert plan.fits
    assert plan.disk_bytes == 5 * plan.count.checkpoint
    assert "it fits" in plan.to_json()["verdict"]
    small = plan_training(make_random_config(), settings, 0.5, 0.1)
    assert not small.fits
    assert "does not fit" in small.verdict


def test_an_error_of_full_memory_names_the_next_setting() -> None:
    with pytest.raises(TrainingError, match=r"memory is full.*activation_checkpointing"), name_full_memory(Settings()):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert 'precision = "bf16"' in explain_full_memory(Settings())
    assert "activation_checkpointing = true" in explain_full_memory(Settings(precision="bf16"))


def test_the_command_prints_a_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan.json"
    assert command.main(["--recipe", "demo", "--card", "8GB", "--clips", "20", "--json", str(out)]) == 0
    assert "it fits" in capsys.readouterr().out
    assert json.loads(out.read_text())["memory"]["needed"] > 0
    assert command.main(["--recipe", "demo", "--card", "many"]) == 1
    assert "24GB" in capsys.readouterr().err


def test_the_shape_of_stable_audio_open_is_known_before_it_is_fetched() -> None:
    config, _ = read_base_config("stabilityai/stable-audio-open-1.0")
    assert config["model"]["diffusion"]["config"]["depth"] == 24
