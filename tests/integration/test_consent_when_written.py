"""Who withdraws while a step computes with a real (small, random) model is not in its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audiotune.domain.dataset import DatasetRow
from audiotune.domain.manifest import load_manifest
from audiotune.domain.release import WeightsPointer
from audiotune.errors import ConsentError
from audiotune.reporting.progress import ignore_progress
from audiotune.store.port import digest_from_key
from tests.fakes.withdrawing_progress import WithdrawingProgress

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture
def made(tmp_path: Path) -> Any:
    import torch

    from tests.fakes.small_training import make_small_training

    torch.set_num_threads(1)
    return make_small_training(tmp_path / "training")


def encode(made: Any, progress: Any) -> Path:
    from components.encode.settings import Settings
    from components.encode.step import run_step

    latents: Path = made.folder / "latents.jsonl"
    run_step(
        Settings(base=str(made.base)), made.store, progress, dataset=made.dataset, latents=latents, metrics=made.folder / "m"
    )
    return latents


def test_encode_stops_in_the_middle(made: Any) -> None:
    withdraw = WithdrawingProgress(made.store, "ben", at=0.3)
    with pytest.raises(ConsentError, match=r"(?s)gate encode|ben has not agreed to train"):
        encode(made, withdraw)
    assert withdraw.done
    assert list(made.store.list("manifests/latents/")) == []
    assert not (made.folder / "latents.jsonl").exists()
    with pytest.raises(ConsentError, match="ben has not agreed to train"):  # nor does it begin again
        encode(made, ignore_progress)


def test_evaluate_keeps_no_evaluation(made: Any, tmp_path: Path) -> None:
    from components.evaluate.settings import Settings
    from components.evaluate.step import run_step

    latents = encode(made, ignore_progress)
    key = made.store.put_blob(made.base / "model.safetensors", ".safetensors")
    about = made.latents().meta
    pointer = WeightsPointer(
        weights=key,
        weights_digest=digest_from_key(key) or "",
        config=made.store.put_blob(made.base / "model_config.json", ".json"),
        files={f"tokenizer/{p.name}": made.store.put_blob(p, p.suffix) for p in sorted((made.base / "tokenizer").iterdir())},
        base=str(made.base),
        base_digest=about["base_digest"],
        dataset=about["dataset"],
    )
    (tmp_path / "weights").write_text(pointer.model_dump_json())
    outputs = {name: tmp_path / name for name in ("evaluation", "report", "metrics")}
    settings = Settings(sounds=3, train_sounds=1, steps=3, loss_rows=3)
    withdraw = WithdrawingProgress(made.store, "ana", at=0.01)
    with pytest.raises(ConsentError, match="ana has not agreed to train"):
        run_step(settings, made.store, withdraw, weights=tmp_path / "weights", latents=latents, dataset=made.dataset, **outputs)
    assert withdraw.done
    assert [entry.key for entry in made.store.list("evaluations/") if "/sounds/" not in entry.key] == []
    assert not outputs["evaluation"].exists()


def test_unwrap_binds_no_weights(made: Any, tmp_path: Path) -> None:
    from components.finetune.settings import Settings
    from components.finetune.step import run_step as finetune
    from components.unwrap.settings import Settings as UnwrapSettings
    from components.unwrap.step import run_step as unwrap

    load_manifest(made.dataset, "datasets", DatasetRow).save(made.store)
    latents = encode(made, ignore_progress)
    fast = Settings(base=str(made.base), steps=2, batch_size=2, checkpoint_every=2, experiment="", demos=0, threads=1)
    paths = {name: tmp_path / name for name in ("checkpoint", "report", "metrics")}
    finetune(fast, made.store, ignore_progress, latents=latents, dataset=made.dataset, **paths)
    withdraw = WithdrawingProgress(made.store, "ana", at=0.3)
    with pytest.raises(ConsentError, match="ana has not agreed to train"):
        unwrap(
            UnwrapSettings(),
            made.store,
            withdraw,
            checkpoint=paths["checkpoint"],
            weights=tmp_path / "weights",
            metrics=tmp_path / "m",
        )
    assert withdraw.done
    assert list(made.store.list("lineage/")) == []
    assert not (tmp_path / "weights").exists()
