"""Tokens and accounts: what is accepted, what is refused, and what the store holds."""

from __future__ import annotations

import io
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audiotune import access
from audiotune.access import __main__ as command
from audiotune.access import accounts, tokens
from audiotune.errors import AccessError, ForbiddenError, SettingsError, StoreError
from audiotune.store import FolderStore
from audiotune.store.port import Store
from tests.fakes.layout_store import LayoutStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


def everything(store: Store) -> str:
    return "".join(f"{entry.key}{store.get(entry.key).decode()}" for entry in store.list(""))


def test_a_token_names_its_member_and_the_store_never_sees_the_secret(store: FolderStore) -> None:
    text = tokens.issue_token(store, "ana", ["generate"], 90, NOW)
    assert tokens.check_token(store, text, "generate", NOW).member == "ana"
    assert tokens.check_token(store, text, "read", NOW).member == "ana"
    assert text.split("_", 2)[2] not in everything(store)


@pytest.mark.parametrize(
    "wrong", ["", "at_", "at_0_x", "Bearer x", "at_../../x_" + "a" * 43, "at_" + "0" * 16 + "_" + "a" * 43, "\0" * 9]
)
def test_what_is_no_token_is_refused_in_the_same_words(store: FolderStore, wrong: str) -> None:
    with pytest.raises(AccessError, match="not valid"):
        tokens.check_token(store, wrong, "read", NOW)


def test_another_secret_under_a_known_id_is_refused(store: FolderStore) -> None:
    text = tokens.issue_token(store, "ana", ["admin"], 90, NOW)
    with pytest.raises(AccessError, match="not valid"):
        tokens.check_token(store, text[:-1] + ("a" if text[-1] != "a" else "b"), "read", NOW)


def test_tokens_end_by_their_date(store: FolderStore) -> None:
    text = tokens.issue_token(store, "ana", ["read"], 1, NOW)
    tokens.check_token(store, text, "read", NOW + timedelta(hours=23))
    with pytest.raises(AccessError):
        tokens.check_token(store, text, "read", NOW + timedelta(hours=24))
    assert tokens.check_token(store, tokens.issue_token(store, "ana", ["read"], None, NOW), "read", NOW + timedelta(days=9999))


def test_a_revocation_counts_within_two_seconds(store: FolderStore) -> None:
    text = tokens.issue_token(store, "ana", ["generate"], 90, NOW)
    tokens.check_token(store, text, "generate", NOW)
    tokens.revoke_token(store, text.split("_")[1], NOW)
    with pytest.raises(AccessError):
        tokens.check_token(store, text, "generate", NOW + timedelta(seconds=2))
    assert tokens.list_tokens(store)[0].revoked == NOW


@pytest.mark.parametrize(
    ("has", "may", "may_not"),
    [("read", {"read"}, {"generate", "releases", "admin"}), ("generate", {"generate", "read"}, {"releases", "admin"}),
     ("releases", {"releases", "read"}, {"generate", "admin"}), ("admin", set(tokens.SCOPES), set())],
)  # fmt: skip
def test_scopes(store: FolderStore, has: str, may: set[tokens.Scope], may_not: set[tokens.Scope]) -> None:
    text = tokens.issue_token(store, "ana", [has], 90, NOW)
    for scope in may:
        tokens.check_token(store, text, scope, NOW)
    for scope in may_not:
        with pytest.raises(ForbiddenError, match=scope):
            tokens.check_token(store, text, scope, NOW)


def test_a_busy_service_does_not_ask_the_store_at_every_request(store: FolderStore) -> None:
    text = tokens.issue_token(store, "ana", ["read"], 90, NOW)
    tokens.check_token(store, text, "read", NOW)
    store.delete(f"access/tokens/{text.split('_')[1]}.json")
    assert tokens.check_token(store, text, "read", NOW + timedelta(seconds=1)).member == "ana"
    with pytest.raises(AccessError):
        tokens.check_token(store, text, "read", NOW + timedelta(seconds=2))


@pytest.mark.parametrize(
    ("member", "scopes", "days"), [("../x", ["read"], 1), ("ana", ["fly"], 1), ("ana", [], 1), ("ana", ["read"], -1)]
)
def test_no_token_for_nonsense(store: FolderStore, member: str, scopes: list[str], days: float) -> None:
    with pytest.raises(AccessError):
        tokens.issue_token(store, member, scopes, days, NOW)
    assert not tokens.list_tokens(store)


def test_an_account_opens_with_its_password_only(store: FolderStore) -> None:
    accounts.create_account(store, "ana", "correct horse battery", "owner", NOW, work=1)
    found = accounts.verify_password(store, "ana", "correct horse battery")
    assert found is not None
    assert found.role == "owner"
    assert accounts.verify_password(store, "ana", "correct horse batterz") is None
    assert "correct horse" not in everything(store)
    assert "correct horse" not in repr(found)


def test_an_unknown_member_is_not_verified(store: FolderStore) -> None:
    assert accounts.verify_password(store, "nobody", "correct horse battery") is None
    assert accounts.verify_password(store, "../../etc/passwd", "x" * 2000) is None


def test_a_changed_password_replaces_the_old_one(store: FolderStore) -> None:
    accounts.create_account(store, "ana", "the first password", now=NOW, work=1)
    accounts.change_password(store, "ana", "the second password", NOW + timedelta(days=1), work=1)
    assert accounts.verify_password(store, "ana", "the first password") is None
    assert accounts.verify_password(store, "ana", "the second password") is not None
    with pytest.raises(AccessError, match="has an account"):
        accounts.create_account(store, "ana", "the third password")
    with pytest.raises(AccessError, match="of 5 characters"):
        accounts.change_password(store, "ana", "short")


def test_owners_use_the_command_line(
    store: FolderStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ["--store", store.url]
    assert command.main([*at, "token", "issue", "ana", "--days", "9", "--scope", "generate", "releases"]) == 0
    text = capsys.readouterr().out.strip()
    assert tokens.check_token(store, text, "releases").member == "ana"
    assert command.main([*at, "token", "revoke", text.split("_")[1]]) == 0
    assert command.main([*at, "token", "list"]) == 0
    assert "revoked" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("a password from stdin\n"))
    assert command.main([*at, "account", "create", "ben", "--role", "owner"]) == 0
    assert "a password" not in capsys.readouterr().out
    assert accounts.verify_password(store, "ben", "a password from stdin") is not None
    assert command.main([*at, "token", "revoke", "none"]) == 1
    assert "no token" in capsys.readouterr().err


def test_the_first_owner_is_made_once(store: FolderStore, tmp_path: Path) -> None:
    to = tmp_path / "new" / "owner.json"
    assert command.main(["--store", store.url, "first-owner", "ana", "--to", str(to)]) == 0
    credentials = json.loads(to.read_text())
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    assert accounts.verify_password(store, "ana", credentials["password"]) is not None
    assert tokens.check_token(store, credentials["token"], "admin").member == "ana"
    to.unlink()
    assert command.main(["--store", store.url, "first-owner", "ben", "--to", str(to)]) == 0
    assert not to.exists()
    assert accounts.read_account(store, "ben") is None


def test_an_owner_whose_password_nobody_saw_is_taken_back(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert command.main(["--store", store.url, "first-owner", "ana", "--to", str(tmp_path / "file" / "x")]) == 1
    assert accounts.list_accounts(store) == []
    assert tokens.list_tokens(store)[0].revoked is not None


def test_access_is_open_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(access.VARIABLE, raising=False)
    assert not access.requires_authentication()
    monkeypatch.setenv(access.VARIABLE, "members")
    assert access.requires_authentication()
    monkeypatch.setenv(access.VARIABLE, "memebrs")
    with pytest.raises(SettingsError):
        access.requires_authentication()
    assert not issubclass(AccessError, StoreError)
