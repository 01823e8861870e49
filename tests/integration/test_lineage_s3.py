"""Lineage on a real MinIO with the chart's users: pipelines write it once, and the generation service's key is enough to ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audiotune.domain.lineage import bind_weights, require_lineage
from audiotune.errors import LineageError
from audiotune.store import Store, open_store
from audiotune.store.layout import LINEAGES, User
from tests.fakes.group_release import Group, group
from tests.integration.minio import server_or_skip
from tests.integration.store_users import StoreUsers, set_up_users

pytestmark = pytest.mark.integration


@pytest.fixture
def users(tmp_path: Path) -> Iterator[StoreUsers]:
    with server_or_skip(tmp_path / "minio") as running:
        yield set_up_users(running, tmp_path / "users")


@pytest.fixture
def open_as(users: StoreUsers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[User], Store]:
    def open_(user: User) -> Store:
        for name, value in {**users.environment(user), "AUDIOTUNE_CACHE": str(tmp_path / user)}.items():
            monkeypatch.setenv(name, value)
        return open_store()

    return open_


@pytest.fixture
def ours(tmp_path: Path) -> Group:
    return group(tmp_path / "group")


def test_each_user_is_enough_for_its_part(ours: Group, open_as: Callable[[User], Store], users: StoreUsers) -> None:
    made = ours.release(ours.pointer)
    with pytest.raises(LineageError, match="does not know"):  # and not "the store refuses"
        require_lineage(open_as("generation"), made)
    store = open_as("pipelines")
    ours.dataset.save(store)
    made.save(store)
    require_lineage(open_as("generation"), made)  # by the card, as for releases of 0.2 and older

    bind_weights(open_as("pipelines"), ours.pointer)
    bind_weights(open_as("pipelines"), ours.pointer)
    require_lineage(open_as("generation"), made)
    with pytest.raises(LineageError, match="another lineage"):
        require_lineage(
            open_as("generation"), made.model_copy(update={"lineage": made.lineage.model_copy(update={"recordings": {}})})
        )
    with pytest.raises(LineageError, match="were trained on dataset"):
        bind_weights(open_as("pipelines"), ours.pointer.model_copy(update={"dataset": "0" * 64}))
    assert len(users.list_versions(LINEAGES.path)) == 1, "written once"


def test_a_manifest_that_is_gone_is_no_outage(ours: Group, open_as: Callable[[User], Store]) -> None:
    bind_weights(open_as("pipelines"), ours.pointer)
    with pytest.raises(LineageError, match="the manifest of the dataset is gone"):
        require_lineage(open_as("generation"), ours.release(ours.pointer))
