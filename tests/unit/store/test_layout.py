"""The table of prefixes: the policies match it, and it does not contradict itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audiotune.errors import StoreError
from audiotune.store import admin, layout
from audiotune.store.layout import OTHER_RIGHTS, PREFIXES, RIGHTS, USERS, Prefix, Right, User
from tests.fakes.layout_store import LayoutStore
from tests.unit.store.test_setup import may

ACTIONS: dict[Right, str] = {
    "get": "s3:GetObject",
    "list": "s3:ListBucket",
    "put": "s3:PutObject",
    "delete": "s3:DeleteObject",
    "erase": "s3:DeleteObjectVersion",
}
_POLICY_LIMIT = 6144  # characters of an IAM policy, as AWS counts them


@pytest.mark.parametrize("row", PREFIXES, ids=lambda row: row.patterns[-1])
@pytest.mark.parametrize("user", USERS)
def test_the_policies_say_what_the_table_says(row: Prefix, user: User) -> None:
    for suffix in row.suffixes:
        key = f"{row.path}ab/one{suffix}" if row.path.endswith("/") else row.path
        assert layout.find_prefix(key) is row
        for right in RIGHTS:
            wanted = row.allows(user, right) or (right == "delete" and row.allows(user, "erase"))
            assert may(user, ACTIONS[right], key) is wanted, (right, key)


@pytest.mark.parametrize("user", USERS)
def test_keys_of_no_row_are_the_groups_own(user: User) -> None:
    for right in RIGHTS:
        assert may(user, ACTIONS[right], "takes/may/jam.wav") is (right[0] in OTHER_RIGHTS.get(user, ""))


@pytest.mark.parametrize("user", USERS)
def test_a_policy_fits_into_what_iam_takes(user: User) -> None:
    assert len(json.dumps(admin.build_policy(user, "b" * 63, "a/long/prefix/"), separators=(",", ":"))) < _POLICY_LIMIT


def test_a_first_folder_has_one_limit() -> None:
    for top in {row.top for row in PREFIXES}:
        assert len({(row.limit, row.keeps_old_versions) for row in PREFIXES if row.top == top}) == 1, top


def test_no_row_stands_twice() -> None:
    assert len({(row.path, row.suffixes) for row in PREFIXES}) == len(PREFIXES)


def test_keys_are_built_and_taken_apart() -> None:
    assert layout.ANNOTATIONS.key("s", "ana", "1.json") == "annotations/s/ana/1.json"
    assert layout.ANNOTATIONS.folder("s") == "annotations/s/"
    assert layout.ANNOTATIONS.folder() == "annotations/"
    assert layout.ANNOTATIONS.rest_of("annotations/s/ana/1.json") == "s/ana/1.json"
    assert layout.JOB_EVENTS.compile(r"(\w+)/.*").fullmatch("jobs/log/ana/x")
    assert not layout.JOB_EVENTS.compile(r"(\w+)/.*").fullmatch("jobs/of/ana/x")
    assert layout.SETUP_PROBE.key() == "jobs/.bootstrap"


@pytest.mark.parametrize("key", ["uploads/a.wav", "blob/sha256/x", "manifests/things/1.jsonl", "jobs/new/1", "readme"])
def test_the_journeys_store_refuses_keys_outside_the_table(tmp_path: Path, key: str) -> None:
    store = LayoutStore(tmp_path)
    assert layout.find_prefix(key) is None
    for ask in (lambda: store.put(key, b""), lambda: store.delete(key), lambda: store.list(f"{key}/")):
        with pytest.raises(StoreError, match=r"layout\.py"):
            ask()


def test_nobody_who_answers_strangers_reads_recordings() -> None:
    requests = (layout.GENERATIONS, layout.JOB_EVENTS, layout.WEBHOOK_LOGS)
    readers = [user for user in USERS if any(row.allows(user, "get") for row in requests)]
    assert readers == ["generation", "erasure"]  # the job that erases compares start sounds by their bytes and opens none
    assert not [row.path for row in (layout.BLOBS, layout.INBOX) if row.allows("generation", "get")]


def test_one_user_writes_what_was_agreed_and_another_erases() -> None:
    governed = (layout.AGREEMENTS, layout.CONSENTS, layout.ACCOUNTS, layout.TOKENS, layout.IDENTITIES)
    for row in governed:
        assert [user for user in USERS if row.allows(user, "put")] == ["governance"], row.path
        assert not [user for user in USERS if row.allows(user, "erase")], row.path
    others = {(user, row.path) for row in PREFIXES for user in USERS if row.allows(user, "erase") and user != "erasure"}
    assert others == {("governance", layout.WAITING.path)}
    assert not layout.WAITING.allows("governance", "get")
    assert not layout.WAITING.allows("generation", "list")
    assert [row.path for row in PREFIXES if row.allows("erasure", "put")] == [layout.ERASURES.path]


def test_the_erasure_reads_what_names_sounds_and_no_sound() -> None:
    assert not layout.find_prefix("blobs/sha256/ab/x.wav").allows("erasure", "get")  # type: ignore[union-attr]
    heard = (
        layout.BLOBS,
        layout.MODEL_BLOBS,
        layout.REPORT_BLOBS,
        layout.SOUNDS,
        layout.SOUND_HISTORY,
        layout.WAITING,
        layout.MLFLOW,
    )
    private = (layout.GENERATIONS, layout.WEBHOOK_LOGS, layout.ANNOTATIONS, layout.ACCOUNTS, layout.TOKENS)
    assert not [row.path for row in (*heard, *private) if row.allows("erasure", "get")]


def test_what_was_agreed_is_deleted_by_nobody() -> None:
    assert not [user for user in USERS for row in (layout.AGREEMENTS, layout.CONSENTS) if row.allows(user, "delete")]
