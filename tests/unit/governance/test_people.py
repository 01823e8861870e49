"""Who is asked about a recording: everybody ever named for its bytes, and those heard in what sounds the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from audiotune.errors import ConsentError
from audiotune.governance import (
    Consent,
    Member,
    decide_policy,
    list_heard,
    publish_agreement,
    read_consents,
    record_consent,
    record_decision,
    require_permission,
)
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.governance.consent import record_standing_consents
from audiotune.governance.policy import Gate
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement, digest
from tests.fakes.layout_store import LayoutStore

TAKE, COPY = digest("take"), digest("the same, louder")
BEHIND_INGEST: list[Gate] = [gate for gate in get_args(Gate) if gate != "ingest"]


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = LayoutStore(tmp_path / "store")
    publish_agreement(store, agreement())
    return store


def bring(store: FolderStore, recording: str, *people: str, like: Sequence[str] = ()) -> None:
    record_standing_consents(store, agreement(), recording, people, dict.fromkeys(like, ()))


def say(store: FolderStore, who: str, recording: str, *uses: Use) -> None:
    record_consent(store, Consent(recording=recording, contributor=who, uses=uses, basis="x", agreement="0" * 64))


def objections(store: FolderStore, gate: Gate, recording: str, *named: str) -> tuple[str, ...]:
    return decide_policy(gate, agreement(), read_consents(store, [recording]), {recording: named}).reasons


@pytest.mark.parametrize("gate", get_args(Gate))
def test_naming_somebody_else_does_not_drop_who_was_named(store: FolderStore, gate: Gate) -> None:
    bring(store, TAKE, "ben")
    say(store, "ben", TAKE)
    bring(store, TAKE, "ana")
    with pytest.raises(ConsentError, match="ben has not agreed"):
        require_permission(store, gate, {TAKE: ("ana",)})
    assert list_heard(read_consents(store, [TAKE]), {TAKE: ["ana"]}) == {TAKE: ("ana", "ben")}


def test_everybody_ever_named_may_agree(store: FolderStore) -> None:
    bring(store, TAKE, "ben")
    bring(store, TAKE, "ana")
    for gate in BEHIND_INGEST:
        require_permission(store, gate, {TAKE: ("ana",)})


def test_an_owner_takes_a_name_out(store: FolderStore) -> None:
    bring(store, TAKE, "ana", "ben")
    say(store, "ben", TAKE)
    made = record_decision(store, agreement(), TAKE, ["ana"], by="chi", why="ben lent his synth only")
    assert [(one.contributor, one.heard, one.basis) for one in made] == [
        ("ben", False, "decided by chi: ben lent his synth only")
    ]
    for gate in BEHIND_INGEST:
        require_permission(store, gate, {TAKE: ("ana", "ben")})
    say(store, "ben", TAKE)  # he says that he is heard, and takes it back
    assert objections(store, "finetune", TAKE, "ana") == ("ben has not agreed to train",)


def test_who_was_taken_out_agrees_anew_when_taken_in(store: FolderStore) -> None:
    bring(store, TAKE, "ana", "ben")
    record_decision(store, agreement(), TAKE, ["ana"], by="chi", why="a mistake")
    record_decision(store, agreement(), TAKE, ["ana", "ben"], by="chi", why="he is heard")
    assert objections(store, "finetune", TAKE, "ana") == ("ben has not agreed to train",)
    say(store, "ben", TAKE, *ALL_USES)
    assert objections(store, "finetune", TAKE, "ana") == ()


@pytest.mark.parametrize("heard", [(), ("eve",), ("ana", "eve")])
def test_somebody_of_the_group_stays_heard(store: FolderStore, heard: tuple[str, ...]) -> None:
    bring(store, TAKE, "ana")
    with pytest.raises(ConsentError, match="nobody would be heard|no members: eve"):
        record_decision(store, agreement(), TAKE, heard, by="chi", why="x")


@pytest.mark.parametrize("gate", BEHIND_INGEST)
def test_what_sounds_like_anothers_waits(store: FolderStore, gate: Gate) -> None:
    bring(store, TAKE, "ben")
    bring(store, COPY, "ana", like=[TAKE])
    assert objections(store, "ingest", COPY, "ana") == ()
    with pytest.raises(ConsentError, match=f"ben has not agreed to [a-z]+: not named, but it sounds like recording {TAKE[:12]}"):
        require_permission(store, gate, {COPY: ("ana",)})
    record_decision(store, agreement(), COPY, ["ana"], by="chi", why="a loop from a sample pack")
    require_permission(store, gate, {COPY: ("ana",)})


def test_the_person_heard_there_may_agree(store: FolderStore) -> None:
    bring(store, TAKE, "ben")
    bring(store, COPY, "ana", like=[TAKE])
    say(store, "ben", COPY, *ALL_USES)
    require_permission(store, "generate", {COPY: ("ana",)})


def test_what_sounds_like_a_withdrawn_one_is_not_taken_in(store: FolderStore) -> None:
    bring(store, TAKE, "ben")
    say(store, "ben", TAKE)
    for copy, people in ((COPY, ["ana"]), (digest("shifted"), ["ben"]), (digest("as mp3"), ["ana", "ben"])):
        bring(store, copy, *people, like=[TAKE])
        for gate in get_args(Gate):
            assert objections(store, gate, copy, *people), (gate, people)


def test_who_withdraws_later_withdraws_what_sounds_the_same(store: FolderStore) -> None:
    bring(store, TAKE, "ben")
    bring(store, COPY, "ben", like=[TAKE])
    again = digest("a copy of the copy")
    bring(store, again, "ben", like=[COPY])
    require_permission(store, "generate", {COPY: ("ben",), again: ("ben",)})
    say(store, "ben", TAKE, "store")
    for copy in (COPY, again):
        words = f"ben has not agreed to generate of recording {TAKE[:12]}, which sounds the same"
        assert objections(store, "generate", copy, "ben") == (words,)
    record_decision(store, agreement(), COPY, ["ben"], by="chi", why="two takes of one pattern")
    require_permission(store, "generate", {COPY: ("ben",)})


def test_a_decision_keeps_what_a_member_said(store: FolderStore) -> None:
    bring(store, TAKE, "ben")
    bring(store, COPY, "ana", "ben", like=[TAKE])
    say(store, "ben", COPY, "store")
    record_decision(store, agreement(), COPY, ["ana", "ben"], by="chi", why="x")
    assert objections(store, "finetune", COPY, "ana") == ("ben has not agreed to train",)


def test_whom_only_a_manifest_names_is_asked_too(store: FolderStore) -> None:
    record_standing_consents(store, agreement(), COPY, ["ana"], {TAKE: ["ben"]})
    assert "ben has not agreed to train" in objections(store, "finetune", COPY, "ana")[0]
    record_standing_consents(store, agreement(), TAKE, ["ana"], {TAKE: ["chi"]})  # itself is no likeness
    assert list_heard(read_consents(store, [TAKE]), {TAKE: []}) == {TAKE: ("ana",)}


def test_who_left_keeps_what_sounds_the_same_closed(store: FolderStore) -> None:
    bring(store, TAKE, "ben")
    members = tuple(m if m.id != "ben" else Member(id="ben", name="Ben", left=True) for m in agreement().members)
    publish_agreement(store, agreement().model_copy(update={"version": 2, "members": members}))
    bring(store, COPY, "ana", like=[TAKE])
    with pytest.raises(ConsentError, match="ben has left the group"):
        require_permission(store, "finetune", {COPY: ("ana",)})
