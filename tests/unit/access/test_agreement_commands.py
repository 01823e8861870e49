"""What members and operators do with the agreement by command."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotune.access.__main__ import main as access
from audiotune.cli import main
from audiotune.governance import Agreement, Member, load_agreement, publish_agreement, read_current_agreement
from audiotune.governance.agreement_record import ALL_USES, PROPOSAL_KINDS, DecisionRule
from audiotune.governance.agreement_toml import format_agreement
from audiotune.governance.decisions import read_proposals
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.store import FolderStore
from tests.fakes.described_store import PEOPLE, agreement
from tests.fakes.layout_store import LayoutStore

RULES = {"agreement": DecisionRule(quorum=0.1)}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = LayoutStore(tmp_path / "store")
    publish_agreement(store, agreement().model_copy(update={"decisions": RULES}))
    return store


def run(store: FolderStore, *words: str) -> int:
    return main(["agreement", "--store", str(store.root), *words])


def write(folder: Path, text: Agreement) -> str:
    file = folder / "agreement.toml"
    file.write_text(format_agreement(text))
    return str(file)


def test_a_member_reads_changes_signs_and_leaves(store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    assert run(store, "export", str(file)) == 0
    assert load_agreement(file) == read_current_agreement(store)
    text = load_agreement(file).model_copy(update={"version": 2, "weights_licence": "CC-BY-4.0"})
    write(tmp_path, text)
    capsys.readouterr()
    assert run(store, "diff", str(tmp_path / "agreement.toml")) == 0
    told = capsys.readouterr().out
    assert "licence of releases: anybody may use it, and names us (CC-BY-4.0) instead of" in told
    assert "this needs a decision of the group: change the agreement" in told
    assert run(store, "propose", str(tmp_path / "agreement.toml"), "--as", "ana") == 0
    assert "is open until" in capsys.readouterr().out
    (number,) = read_proposals(store)
    for who in PEOPLE:
        access(["--store", str(store.root), "proposal", "vote", "yes", str(number), "--as", who])
    assert run(store, "sign", "--as", "ben") == 0
    capsys.readouterr()
    assert run(store, "show") == 0
    shown = capsys.readouterr().out
    assert ", version 2 (" in shown
    assert "\tsigned (event" in shown
    assert "has not signed yet" in shown
    assert run(store, "leave", "--as", "ben") == 0
    capsys.readouterr()
    assert run(store, "show") == 0
    assert "has left" in capsys.readouterr().out


def test_an_operator_obeys_the_rule_or_says_that_they_override_it(
    store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = agreement().model_copy(update={"version": 2, "decisions": RULES, "weights_licence": "CC0-1.0"})
    publish = ["--store", str(store.root), "agreement", "publish", write(tmp_path, changed)]
    assert access(publish) == 1
    assert "under a decision of the group (change the agreement)" in capsys.readouterr().err
    assert access([*publish, "--override", "all five asked me to, by telephone"]) == 0
    assert "licence of releases" in capsys.readouterr().out
    state = open_ledger(store).read_state()
    assert state.agreement == changed
    event = store.get(f"governance/ledger/{state.number:010d}.json")
    assert b"by telephone" in event


def test_where_members_sign_in_nobody_speaks_for_them(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    from audiotune.access.accounts import create_account

    create_account(store, "ana", "patch cables", work=1)
    for words in (["sign"], ["leave"]):
        assert run(store, *words, "--as", "ana") == 1
        assert "speak for themselves" in capsys.readouterr().err


def test_without_an_agreement_the_commands_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = FolderStore(tmp_path / "empty")
    for words in (["show"], ["export", "-"], ["sign", "--as", "ana"]):
        assert run(empty, *words) == 1
        assert "Make it in the studio" in capsys.readouterr().err


_text = st.text(min_size=1, max_size=20)
_uses = st.lists(st.sampled_from(ALL_USES), unique=True).map(tuple)
_members = st.lists(
    st.builds(
        Member, id=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,9}", fullmatch=True), name=_text, consents_to=_uses, left=st.booleans()
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda member: member.id,
).map(tuple)
_rules = st.builds(
    DecisionRule,
    needs=st.sampled_from(("majority", "two_thirds", "everybody", "veto")),
    quorum=st.floats(0, 1),
    days=st.floats(0.01, 366),
)


@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        Agreement,
        group=_text,
        version=st.integers(1, 999_999_999),
        members=_members,
        recordings_licence=_text,
        accepted_licences=st.lists(_text, max_size=3).map(tuple),
        weights_licence=_text,
        allowed_uses=_uses,
        base_model_notices=st.dictionaries(_text, _text, max_size=3),
        decisions=st.dictionaries(st.sampled_from(PROPOSAL_KINDS), _rules, max_size=3),
        withdrawal_grace_days=st.floats(0, 366),
    )
)
def test_a_written_agreement_reads_back_as_the_same(text: Agreement) -> None:
    assert load_agreement(format_agreement(text).encode()) == text
