"""`python -m audiotune.access proposal`: the group decides on the command line, where nobody signs in."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.access import accounts
from audiotune.access.__main__ import main
from audiotune.governance import publish_agreement
from audiotune.governance.agreement_record import DecisionRule
from audiotune.governance.decisions import require_decision
from audiotune.store import FolderStore
from tests.fakes.described_store import PEOPLE, agreement

CHANGE = {"release": "jam", "version": "3"}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "store")
    publish_agreement(store, agreement().model_copy(update={"decisions": {"champion": DecisionRule(quorum=0.1, days=2)}}))
    return store


def run(store: FolderStore, *words: str) -> int:
    return main(["--store", str(store.root), "proposal", *words])


def test_from_a_proposal_to_a_decision(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "list") == 0
    assert "there are no proposals" in capsys.readouterr().out
    opened = ["open", "champion", "Let 3 play", "--text", "It is nearer.", "--change", "release=jam", "version=3", "--as", "ana"]
    assert run(store, *opened) == 0
    number = capsys.readouterr().out.split("\t")[0]
    assert run(store, "comment", "I like it", number, "--as", "ben") == 0
    for who in PEOPLE:
        if run(store, "vote", "yes", number, "--as", who) != 0:
            break  # decided before everybody voted
    capsys.readouterr()
    assert run(store, "show", number) == 0
    shown = capsys.readouterr().out
    assert "carried out: version 3 of jam plays" in shown
    assert "release jam, version 3" in shown
    assert "ben, 20" in shown
    assert "I like it" in shown
    assert require_decision(store, "champion", CHANGE) is not None
    assert run(store, "done", number, "--result", "it plays") == 1  # it is carried out by its end
    assert run(store, "list") == 0
    assert "carried out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["show", "99"], "there is no proposal 99"),
        (["vote", "yes", "99", "--as", "ana"], "there is no proposal 99"),
        (["open", "other", "x", "--as", "eve"], "'eve' is no member"),
        (["open", "champion", "x", "--change", "version", "--as", "ana"], "a change is NAME=VALUE"),
        (["done", "99"], "there is no proposal 99"),
    ],
)
def test_a_refusal_is_one_sentence(store: FolderStore, capsys: pytest.CaptureFixture[str], words: list[str], why: str) -> None:
    assert run(store, *words) == 1
    assert why in capsys.readouterr().err


def test_nobody_speaks_for_members_who_sign_in(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    accounts.create_account(store, "ana", "a long password of ana", "owner", work=2)
    assert run(store, "open", "other", "x", "--as", "ben") == 1
    assert "speak for themselves" in capsys.readouterr().err
