"""What integration tests share: one real MLflow server for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from audiotune.registry.server import serving


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server. Others use it too: take names of your own for runs and releases."""
    with serving(tmp_path_factory.mktemp("mlflow")) as url:
        yield url
