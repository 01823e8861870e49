"""`audiotune ledger`: a member alone finds what was changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune import cli
from audiotune.governance import Consent, publish_agreement, record_consent
from audiotune.governance.ledger.events import event_key
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement, digest


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "store")
    publish_agreement(store, agreement())
    record_consent(store, Consent(recording=digest("take"), contributor="ana", uses=("store",), basis="x", agreement="0" * 64))
    return store


def run(store: FolderStore, *words: str) -> int:
    return cli.main(["ledger", "--store", str(store.root), *words])


def test_a_whole_ledger(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "verify") == 0
    said = capsys.readouterr().out
    assert f"4 events, the newest is {open_ledger(store).read_state().head}" in said
    assert "2 on the word of an operator's command" in said


def test_an_export_is_checked_anywhere(store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = open_ledger(store).read_state().head
    assert run(store, "export", str(tmp_path / "ledger.jsonl")) == 0
    elsewhere = FolderStore(tmp_path / "elsewhere")
    assert run(elsewhere, "verify", "--file", str(tmp_path / "ledger.jsonl"), "--seen", seen) == 0
    text = (tmp_path / "ledger.jsonl").read_text()
    (tmp_path / "ledger.jsonl").write_text(text.replace('"store"', '"train"'))
    assert run(elsewhere, "verify", "--file", str(tmp_path / "ledger.jsonl"), "--seen", seen) == 2
    assert "FAULT: event 4: event 4 does not follow event 3" in capsys.readouterr().out


def test_a_cut_is_found_by_who_saw_the_end(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    seen = open_ledger(store).read_state().head
    store.delete(event_key(4))
    fresh = FolderStore(store.root)
    assert run(fresh, "verify") == 0
    assert run(fresh, "verify", "--seen", seen) == 2
    assert "that was once seen is not in it" in capsys.readouterr().out


def test_the_newest_events_are_shown(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "show", "--last", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    word = "(on the word of an operator's command)"
    assert [line.split(": ")[-1] for line in lines] == [f"agreement published {word}", f"consents recorded {word}"]


def test_without_a_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FolderStore(tmp_path / "empty")
    assert run(store, "verify") == 0
    assert "there is no ledger yet" in capsys.readouterr().out
    assert run(store, "export", str(tmp_path / "x")) == 1
    assert run(store, "verify", "--file", str(tmp_path / "none")) == 1
