"""Who has left goes on with nothing: no token of theirs counts, and none is made for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audiotune.access import tokens
from audiotune.access.__main__ import main
from audiotune.access.membership import FRESH_S, find_membership
from audiotune.errors import AccessError, ForbiddenError, LedgerError, UnreadableAgreementError
from audiotune.governance import Member, publish_agreement, read_consents, read_current_agreement
from audiotune.governance.member_acts import append_member_event
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement, digest
from tests.fakes.layout_store import LayoutStore

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=FRESH_S)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


def leave(store: FolderStore, who: str, *, named: bool = True) -> None:
    """A new version in which a member has left: marked so, or not in the list any more."""
    current = read_current_agreement(store) or agreement()
    others = tuple(member for member in current.members if member.id != who)
    gone = (Member(id=who, name=who, left=True),) if named else ()
    publish_agreement(store, current.model_copy(update={"version": current.version + 1, "members": (*others, *gone)}))


def test_who_leaves_is_noticed_within_seconds(store: FolderStore) -> None:
    publish_agreement(store, agreement())
    assert find_membership(store, "chi", NOW) == "member"
    leave(store, "chi")
    assert find_membership(store, "chi", NOW) == "member"  # remembered
    assert find_membership(store, "chi", LATER) == "left"
    assert find_membership(store, "eve", LATER) == "stranger"


def test_a_group_without_an_agreement_has_nobody_to_refuse(store: FolderStore) -> None:
    assert find_membership(store, "ana", NOW) == "member"


@pytest.mark.parametrize("scope", tokens.SCOPES)
def test_leaving_ends_tokens(store: FolderStore, scope: tokens.Scope) -> None:
    publish_agreement(store, agreement())
    text = tokens.issue_token(store, "chi", [scope], 30, NOW)
    assert tokens.check_token(store, text, scope, NOW).member == "chi"
    leave(store, "chi")
    with pytest.raises(AccessError, match="not valid"):
        tokens.check_token(store, text, scope, LATER)


def test_leaving_by_ones_own_word_ends_tokens(store: FolderStore) -> None:
    publish_agreement(store, agreement())
    text = tokens.issue_token(store, "chi", ["generate"], 30, NOW)
    assert tokens.check_token(store, text, "generate", NOW).member == "chi"
    append_member_event(store, "chi", "member_left", {})
    with pytest.raises(AccessError, match="not valid"):
        tokens.check_token(store, text, "generate", LATER)
    assert find_membership(store, "chi", LATER) == "left"


def test_who_is_in_no_agreement_makes_no_sounds(store: FolderStore) -> None:
    publish_agreement(store, agreement())
    text = tokens.issue_token(store, "robot", ["generate", "releases"], 30, NOW)
    with pytest.raises(ForbiddenError, match="does not name robot"):
        tokens.check_token(store, text, "generate", NOW)
    assert tokens.check_token(store, text, "releases", NOW).member == "robot"  # a program that moves releases is no member
    admin = tokens.issue_token(store, "chi", ["admin"], 30, NOW)
    leave(store, "chi", named=False)  # who is missing in a later version has left
    with pytest.raises(AccessError, match="not valid"):
        tokens.check_token(store, admin, "generate", LATER)


def test_an_agreement_that_cannot_be_read_lets_nobody_in(store: FolderStore) -> None:
    publish_agreement(store, agreement())
    text = tokens.issue_token(store, "ana", ["generate"], 30, NOW)
    store.put(max(entry.key for entry in store.list("governance/ledger/")), b"{")
    with pytest.raises(LedgerError):
        tokens.check_token(FolderStore(store.root), text, "generate", NOW)


def test_an_earlier_agreement_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "earlier")
    store.put("governance/agreements/000001.json", agreement().model_dump_json().encode())
    text = tokens.issue_token(store, "ana", ["generate"], 30, NOW)
    store.put("governance/agreements/000002.json", b"{")
    with pytest.raises(UnreadableAgreementError):
        tokens.check_token(store, text, "generate", NOW)


@pytest.mark.parametrize("who", ["chi", "eve"])
def test_the_command_makes_no_token_that_would_be_refused(
    store: FolderStore, who: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_agreement(store, agreement())
    leave(store, "chi")
    assert main(["--store", str(store.root), "token", "issue", who]) == 1
    assert {"chi": "chi has left the group", "eve": "eve is no member"}[who] in capsys.readouterr().err
    assert main(["--store", str(store.root), "token", "issue", "ana"]) == 0


def test_the_commands_about_a_recording(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    take = digest("take")
    publish_agreement(store, agreement())

    def call(*words: str) -> tuple[int, str]:
        code = main(["--store", str(store.root), "recording", *words])
        told = capsys.readouterr()
        return code, told.out + told.err

    assert call("consent", "ben", take, "--uses", "store", "train")[0] == 0
    code, words = call("show", take)
    assert code == 0
    assert "ben\tstore train\t" in words
    assert "finetune: open" in words
    assert "generate: ben has not agreed to generate" in words
    assert call("consent", "ben", take, "--uses")[0] == 0
    assert read_consents(store, [take])[take, "ben"].uses == ()
    assert "no member in the agreement" in call("consent", "eve", take, "--uses")[1]
    decided = call("decide", take, "--heard", "ana", "--by", "ana", "--because", "he lent a cable")
    assert decided == (0, "ana\tstore train release generate publish earn\nben\tnot heard\n")
    assert main(["--store", str(store.root), "account", "create", "chi", "--role", "owner", "--no-password"]) == 0
    assert "name a member of the owners chi" in call("decide", take, "--heard", "ana", "--by", "ana", "--because", "x")[1].lower()
