"""One definition of a member's id, asked by everybody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from audiotune.access import accounts, identities, tokens
from audiotune.domain.annotation import Annotation
from audiotune.domain.member import MEMBER_ID, is_member_id, require_member_id
from audiotune.errors import AccessError
from audiotune.governance import Member
from tests.fakes.layout_store import LayoutStore

GOOD = ["ana", "a", "7", "ana_b-c", "a" * 64]
WRONG = ["", "Ana", "_ana", "-ana", "ana b", "ana/b", "../ana", "a" * 65, "ana\n", "änna", "ana.b"]
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("id", GOOD)
def test_an_id_is_taken_everywhere(tmp_path: Path, id: str) -> None:
    assert is_member_id(id)
    assert require_member_id(id) == id
    assert Member(id=id, name="x").id == Annotation(segment="0" * 64, member=id).member == id
    store = LayoutStore(tmp_path)
    assert accounts.create_account(store, id, None).member == identities.add_identity(store, id, f"{id}@band.org").member == id
    assert tokens.check_token(store, tokens.issue_token(store, id, ["read"], 1), "read").member == id


@pytest.mark.parametrize("id", WRONG)
def test_what_is_none_is_refused_everywhere_in_the_same_words(tmp_path: Path, id: str) -> None:
    assert not is_member_id(id)
    store = LayoutStore(tmp_path)
    for ask in (
        lambda: require_member_id(id),
        lambda: accounts.create_account(store, id, None),
        lambda: identities.add_identity(store, id, "ana@band.org"),
        lambda: tokens.issue_token(store, id, ["read"], 1),
    ):
        with pytest.raises(AccessError, match="is no member id") as caught:
            ask()
        assert "small letters, digits" in caught.value.cure
    with pytest.raises(ValidationError, match="is no member id: small letters, digits, '_' and '-' only"):
        Member(id=id, name="x")
    assert accounts.read_account(store, id) is None


def test_annotations_of_imports_may_have_a_dot() -> None:
    assert Annotation(segment="0" * 64, member="notes.csv").member == "notes.csv"
    with pytest.raises(ValidationError, match="is no member id"):
        Annotation(segment="0" * 64, member="../ana")


def test_the_pattern_stands_once() -> None:
    like = re.compile(r"\[a-z0-9\]\[a-z0-9_-\]")
    folders = ("audiotune", "components", "services", "pipelines")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if like.search(path.read_text())]
    assert found == [ROOT / "audiotune" / "domain" / "member.py"]
    assert like.match(MEMBER_ID)
