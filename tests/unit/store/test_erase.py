"""Erasing by name: only what the table allows, all or nothing, and nothing by accident. Old versions: tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.errors import StoreError
from audiotune.store import FolderStore, erase

RECORDING = f"blobs/sha256/ab/{'ab' * 32}.flac"
AGREEMENT = "governance/agreements/000001.json"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    store = FolderStore(tmp_path)
    monkeypatch.setenv("AUDIOTUNE_STORE", store.url)
    for key in (RECORDING, AGREEMENT, "annotations/s/ben/1.json"):
        store.put(key, b"1")
    return store


def test_what_was_agreed_is_erased_by_nobody(store: FolderStore) -> None:
    with pytest.raises(StoreError, match=AGREEMENT):
        erase.erase_key(store, AGREEMENT)
    assert store.exists(AGREEMENT)


@pytest.mark.parametrize(
    "key", ["access/accounts/ben.json", "manifests/releases/demo/1.json", "backups/database/1.dump", "takes/1.wav"]
)
def test_only_rows_with_the_right_are_erasable(key: str) -> None:
    with pytest.raises(StoreError, match="may not be erased"):
        erase.require_erasable(key)


def test_without_a_confirmation_nothing_is_erased(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert erase.main([RECORDING]) == 0
    assert "1 versions; --confirm erases them" in capsys.readouterr().out
    assert store.exists(RECORDING)
    assert erase.main(["--confirm", RECORDING]) == 0
    assert not store.exists(RECORDING)


def test_one_wrong_key_stops_all(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert erase.main(["--confirm", RECORDING, AGREEMENT]) == 1
    assert AGREEMENT in capsys.readouterr().err
    assert store.exists(RECORDING)


def test_a_job_gets_its_keys_by_a_variable(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOTUNE_ERASE", f"{RECORDING}\n annotations/s/ben/1.json ")
    assert erase.main([]) == 0
    assert [entry.key for entry in store.list("")] == [AGREEMENT]


def test_no_key_is_a_wrong_command_line(store: FolderStore) -> None:
    with pytest.raises(SystemExit):
        erase.main([])
