"""Access to the studio: members act only for themselves, tokens reach the generation service."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from audiotune.access import accounts, tokens
from audiotune.access.owners import issue_password
from audiotune.access.writer import StoreAccessWriter
from audiotune.errors import AccessError
from audiotune.governance import publish_agreement
from audiotune.store import FolderStore
from services.studio.context import create_context
from services.studio.settings import load_studio_settings
from services.studio.sign_in.credentials import MemberTokens
from tests.fakes.seeded_store import agreement, seed


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    accounts.create_account(made, "ana", "patch cables", work=1)
    return made


def test_the_studio_asks_in_the_members_name_with_one_token(store: FolderStore) -> None:
    publish_agreement(store, agreement())
    access = StoreAccessWriter(store)
    passes = MemberTokens(access, access.vouch_for)
    text = passes("ana")
    assert passes("ana") == text
    assert tokens.check_token(store, text, "generate").member == "ana"
    assert passes("") == ""
    with pytest.raises(AccessError):
        tokens.check_token(store, text, "releases")


def test_a_token_that_somebody_ended_is_replaced(store: FolderStore) -> None:
    publish_agreement(store, agreement())
    context = create_context(load_studio_settings({}, store=store.url, access="members"))
    ticket = context.access.vouch_for("ana")
    context.sessions.begin("ana", "proof", ticket=ticket)
    first = context.service_tokens("ana")
    assert context.service_tokens("ana") == first
    tokens.revoke_token(store, context.service_tokens.find_id("ana"))
    time.sleep(tokens.FRESH_S + 0.1)
    second = context.service_tokens("ana")
    assert second != first
    assert tokens.check_token(store, second, "generate").member == "ana"


def test_one_setting_for_all_services_and_the_studios_own_wins() -> None:
    assert load_studio_settings({}).access == "open"
    assert load_studio_settings({"AUDIOTUNE_ACCESS": "members"}).access == "members"
    assert load_studio_settings({"AUDIOTUNE_ACCESS": "members", "AUDIOTUNE_STUDIO_ACCESS": "open"}).access == "open"


@pytest.mark.parametrize(("signed_in", "chosen", "expected"), [("ana", "ben", "ana"), (None, "ben", ""), ("mallory", "", "")])
def test_whoever_is_signed_in_acts_whatever_the_browser_claims(
    tmp_path: Path, signed_in: str | None, chosen: str, expected: str
) -> None:
    group = seed(tmp_path / "store", segments_each=1, segment_s=0.3)
    context = create_context(load_studio_settings({}, store=group.store.url, access="members"))
    assert context.find_member(signed_in, chosen) == expected
    assert context.find_active_member(signed_in, chosen) == expected


def test_only_owners_make_accounts(tmp_path: Path) -> None:
    store, agreed = FolderStore(tmp_path / "store"), agreement()
    accounts.create_account(store, "ana", "patch cables", "owner", work=1)
    accounts.create_account(store, "ben", "ring modulator", work=1)
    with pytest.raises(AccessError, match="only owners"):
        issue_password(store, agreed, "ben", "chi")
    with pytest.raises(AccessError, match="member of the agreement"):
        issue_password(store, agreed, "ana", "mallory")
    first = issue_password(store, agreed, "ana", "ben")
    assert accounts.verify_password(store, "ben", first)
    assert not accounts.verify_password(store, "ben", "ring modulator")
