from __future__ import annotations

import threading
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

    def test_a_listing_goes_on_while_another_writer_deletes(self, store: FolderStore) -> None:
        done, paths = threading.Event(), [store.root / f"jobs/{number}" for number in range(20)]
        store.put("jobs/first", b"")

        def write_and_delete() -> None:
            while not done.is_set():
                for path in paths:
                    path.touch()
                for path in paths:
                    path.unlink()

        writer = threading.Thread(target=write_and_delete)
        writer.start()
        try:
            for _ in range(600):
                assert all(entry.key.startswith("jobs/") for entry in store.list("jobs/"))
        finally:
            done.set()
            writer.join()


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
