"""The doctor names what lies under `governance/` and closes the gates, or is none of ours, with the cure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audiotune.governance import Consent, publish_agreement, record_consent
from audiotune.store import FolderStore
from pipelines.doctor.command import main
from tests.fakes.described_store import agreement, digest

TAKE = digest("take")
RECORD = f"governance/consents/{TAKE}/ana/00000001.json"


def ask_doctor(store: FolderStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """State -> words and cure of what it finds about governance."""
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    main(["--store", str(store.root), "--json"])
    findings = json.loads(capsys.readouterr().out)
    return {one["state"]: f"{one['words']}. {one['cure']}" for one in findings if one["about"] == "governance"}


def consent() -> Consent:
    return Consent(recording=TAKE, contributor="ana", uses=("store",), basis="x", agreement="0" * 64)


@pytest.fixture
def earlier(tmp_path: Path) -> FolderStore:
    """A store of 0.2, without a ledger."""
    store = FolderStore(tmp_path / "earlier")
    store.put("governance/agreements/000001.json", agreement().model_dump_json().encode())
    store.put(RECORD, consent().to_bytes())
    return store


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    publish_agreement(made, agreement())
    record_consent(made, consent())
    return made


def test_a_whole_store_is_well(
    store: FolderStore, earlier: FolderStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for whole in (store, earlier):
        assert set(ask_doctor(whole, capsys, monkeypatch)) == {"well"}


@pytest.mark.parametrize(
    "key",
    [
        "governance/agreements/000001.json.bak",
        "governance/agreements/0000002.json",
        f"{RECORD}~",
        f"governance/consents/{TAKE}/Ana/00000001.json",
        "governance/notes.txt",
    ],
)
def test_a_stray_object_is_named(
    store: FolderStore, key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(key, b"a note")
    found = ask_doctor(store, capsys, monkeypatch)
    assert set(found) == {"warning"}
    assert key in found["warning"]
    assert "remove them" in found["warning"]


@pytest.mark.parametrize(
    ("key", "cure"),
    [("governance/agreements/000001.json", "publish version 2"), (RECORD, "recording consent")],
)
@pytest.mark.parametrize("opened", [False, True])  # a ledger that took the damaged record over
def test_a_damaged_record_is_named(
    earlier: FolderStore, key: str, cure: str, opened: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier.put(key, b"{")
    if opened:
        record_consent(earlier, consent().model_copy(update={"contributor": "ben"}))
    found = ask_doctor(earlier, capsys, monkeypatch)
    assert key in found["wrong"]
    assert cure in found["wrong"]


def test_a_damaged_or_changed_event_is_named(
    store: FolderStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = sorted(entry.key for entry in store.list("governance/ledger/"))
    whole = store.get(keys[-1])
    store.put(keys[-1], b"{")
    assert keys[-1] in ask_doctor(store, capsys, monkeypatch)["wrong"]
    store.put(keys[-1], whole)
    store.put(keys[0], store.get(keys[0]).replace(b'"service"', b'"command"', 1))
    assert "ledger" in ask_doctor(store, capsys, monkeypatch)["wrong"]
