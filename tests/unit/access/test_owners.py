"""Who owns: an account's role, or in an emergency a decision of the group; never somebody who has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.access import accounts
from audiotune.access.owners import is_owner
from audiotune.governance import publish_agreement
from audiotune.governance.decisions import cast_vote, open_proposal, read_proposals
from audiotune.governance.member_acts import append_member_event
from audiotune.store import FolderStore
from tests.fakes.described_store import PEOPLE, agreement
from tests.fakes.layout_store import LayoutStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = LayoutStore(tmp_path / "store")
    publish_agreement(store, agreement())
    for who in PEOPLE:
        accounts.create_account(store, who, "patch cables", "owner" if who == PEOPLE[0] else "member", work=1)
    return store


def decide_on_owner(store: FolderStore, member: str, voters: tuple[str, ...]) -> None:
    number = open_proposal(store, voters[0], "owner", "x", change={"member": member}).id
    for who in voters:
        if not read_proposals(store)[number].outcome:
            cast_vote(store, who, number, "yes")


def test_the_last_owner_leaves_and_the_group_makes_another_one(store: FolderStore) -> None:
    first, second, *_ = PEOPLE
    assert is_owner(store, first)
    decide_on_owner(store, second, PEOPLE)
    assert not is_owner(store, second)  # while an owner is there, owners make owners
    append_member_event(store, first, "member_left", {})
    assert not is_owner(store, first)
    assert is_owner(store, second)


def test_the_group_decides_after_the_last_owner_has_left(store: FolderStore) -> None:
    first, second, *rest = PEOPLE
    append_member_event(store, first, "member_left", {})
    assert not any(is_owner(store, who) for who in PEOPLE)
    decide_on_owner(store, second, (second, *rest))
    assert [who for who in PEOPLE if is_owner(store, who)] == [second]


def test_who_has_no_account_is_no_owner(store: FolderStore) -> None:
    first, second, *_ = PEOPLE
    accounts.remove_account(store, second)
    decide_on_owner(store, second, PEOPLE)
    append_member_event(store, first, "member_left", {})
    assert not is_owner(store, second)
    assert not is_owner(store, "")
