"""A release leaves the group only with everybody's yes to publication, under the agreement's licence, and by the group's decision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audiotune.cli import main
from audiotune.domain.lineage import bind_weights
from audiotune.domain.release import Release
from audiotune.errors import ConsentError, DecisionError, NotInStoreError, SourceError
from audiotune.governance import Consent, publish_agreement
from audiotune.governance.agreement_record import ALL_USES, DecisionRule
from audiotune.governance.consent import record_consents
from audiotune.governance.decisions import cast_vote, open_proposal, read_proposals
from audiotune.governance.publication import find_stored_release, publish_release
from audiotune.store.port import Store
from tests.fakes.group_release import Group, group

CHANGE = {"release": "ours", "version": "1"}


@pytest.fixture
def ours(tmp_path: Path) -> Group:
    """A registered release, everybody's yes to publication, and no rule about it."""
    made = group(tmp_path)
    made.dataset.save(made.store)
    bind_weights(made.store, made.pointer)
    release = made.release(made.pointer).model_copy(update={"version": "1", "licence": made.agreement.weights_licence})
    release.save(made.store)
    publish_agreement(made.store, made.agreement.model_copy(update={"version": 2, "allowed_uses": ALL_USES}))
    agree(made.store, release, "publish")
    return made


def agree(store: Store, release: Release, *more: str) -> None:
    records = [
        Consent.model_validate(
            {
                "recording": one,
                "contributor": who,
                "uses": ["store", "train", "release", *more],
                "basis": "x",
                "agreement": "0" * 64,
            }
        )
        for one, people in release.lineage.recordings.items()
        for who in people
    ]
    record_consents(store, records)


def test_the_folder_holds_everything_and_names_the_agreement(ours: Group, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "ours-1"
    assert publish_release(ours.store, "ours", "1", folder) is None
    assert (folder / "model.safetensors").read_bytes() == ours.store.get(ours.pointer.weights)
    card = (folder / "README.md").read_text()
    for words in (
        "# ours 1",
        "owned by the members together",
        "Ana, Ben, Chi",
        "agreement: version 2, ",
        ours.pointer.weights_digest,
    ):
        assert words in card
    assert json.loads((folder / "release.json").read_text())["version"] == "1"
    with pytest.raises(SourceError, match="exists already"):
        publish_release(ours.store, "ours", "1", folder)
    with pytest.raises(NotInStoreError, match="no version 2 of ours"):
        publish_release(ours.store, "ours", "2", tmp_path / "other")


def test_without_everybodys_yes_nothing_leaves(ours: Group, tmp_path: Path) -> None:
    release = ours.release(ours.pointer)
    agree(ours.store, release)  # to everything but publication
    with pytest.raises(ConsentError, match="has not agreed to publish"):
        publish_release(ours.store, "ours", "1", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_who_takes_it_back_while_it_is_copied_is_heard(ours: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch, release = ours.store.fetch, ours.release(ours.pointer)

    def fetch_slowly(key: str) -> Path:
        agree(ours.store, release)
        return fetch(key)

    monkeypatch.setattr(ours.store, "fetch", fetch_slowly)
    with pytest.raises(ConsentError, match="has not agreed to publish"):
        publish_release(ours.store, "ours", "1", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".release")] == []


def test_another_licence_than_the_agreements_is_refused(ours: Group, tmp_path: Path) -> None:
    publish_agreement(
        ours.store, ours.agreement.model_copy(update={"version": 3, "allowed_uses": ALL_USES, "weights_licence": "CC0-1.0"})
    )
    with pytest.raises(ConsentError, match="was registered under"):
        publish_release(ours.store, "ours", "1", tmp_path / "out")


def test_with_a_rule_the_group_decides_and_the_command_notes_it(
    ours: Group, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = {"publish_release": DecisionRule(quorum=0.1)}
    ruled = ours.agreement.model_copy(update={"version": 3, "allowed_uses": ALL_USES, "decisions": rules})
    publish_agreement(ours.store, ruled)
    with pytest.raises(DecisionError, match="none is accepted"):
        publish_release(ours.store, "ours", "1", tmp_path / "out")
    other = open_proposal(ours.store, "ana", "publish_release", "x", change={**CHANGE, "version": "2"}).id
    asked = open_proposal(ours.store, "ana", "publish_release", "Give it out", change=CHANGE).id
    command = ["release", "--store", str(ours.store.root), "publish", "ours", "1", "--to", str(tmp_path / "out")]
    for number in (other, asked):
        assert main(command) == 1
        for who in ("ana", "ben", "chi"):
            if not read_proposals(ours.store)[number].outcome:
                cast_vote(ours.store, who, number, "yes")
    capsys.readouterr()
    assert main(command) == 0
    assert "cannot be called back" in capsys.readouterr().out
    assert "'Give it out', was accepted" in (tmp_path / "out" / "README.md").read_text()
    assert read_proposals(ours.store)[asked].result == "version 1 of ours was given out"
    assert not read_proposals(ours.store)[other].executed


def test_for_money_everybody_must_have_agreed_to_income_too(
    ours: Group, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["release", "--store", ours.store.url, "publish", "ours", "1", "--to", str(tmp_path / "sold"), "--for-money"]
    assert main(command) == 1
    assert "ana has not agreed to earn" in capsys.readouterr().err
    assert not (tmp_path / "sold").exists()
    agree(ours.store, find_stored_release(ours.store, "ours", "1"), "publish", "earn")
    assert main(command) == 0
    assert (tmp_path / "sold" / "README.md").exists()
