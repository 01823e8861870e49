from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.errors import StoreError
from audiotune.store import FolderStore, open_store
from tests.store_conformance import StoreConformance


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


class TestFolderStore(StoreConformance):
    def test_no_half_written_files_are_listed_or_left(self, store: FolderStore) -> None:
        store.put("a", b"1")
        (store.root / ".parts" / "half").write_bytes(b"ha")
        assert [entry.key for entry in store.list("")] == ["a"]
        assert [entry.key for entry in store.list(".parts/")] == []


def test_open_store_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOTUNE_STORE", f"file://{tmp_path}/by-environment")
    assert open_store().url == f"{tmp_path}/by-environment"
    assert open_store(str(tmp_path)).url == str(tmp_path)


def test_no_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUDIOTUNE_STORE", raising=False)
    with pytest.raises(StoreError, match="AUDIOTUNE_STORE"):
        open_store()


@pytest.mark.parametrize("url", ["ftp://host/x", "gs://bucket"])
def test_kinds_that_do_not_exist(url: str) -> None:
    with pytest.raises(StoreError, match="no store kind"):
        open_store(url)


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "s3://bucket/../up"])
def test_s3_urls_that_name_nothing(url: str) -> None:
    with pytest.raises(StoreError):
        open_store(url)
