"""Shared by integration tests: one real MLflow server for the whole session, and a small training for each module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from audiotune.registry.mlflow_server import run_mlflow_server


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server. Others use it too: take names of your own for runs and releases.

    AUDIOTUNE_TEST_MLFLOW names one that runs already, which saves half a minute while writing tests.
    """
    if os.environ.get("AUDIOTUNE_TEST_MLFLOW"):
        yield os.environ["AUDIOTUNE_TEST_MLFLOW"]
        return
    with run_mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store with a small dataset that is encoded by a random base, to train on; a module's tests share it."""
    import torch

    from tests.fakes.small_training import make_small_training

    torch.set_num_threads(1)
    built = make_small_training(tmp_path_factory.mktemp("training"))
    built.encoded()
    return built
