"""What each user of the bucket may do under each prefix, asked of a real MinIO: exactly what the layout's table says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from audiotune.store.layout import OTHER_RIGHTS, PREFIXES, USERS, Prefix, User
from tests.integration.minio import server_or_skip
from tests.integration.store_users import BUCKET, StoreUsers, set_up_users

pytestmark = pytest.mark.integration
_numbers = itertools.count()


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreUsers]:
    with server_or_skip(tmp_path_factory.mktemp("minio")) as running:
        yield set_up_users(running, tmp_path_factory.mktemp("users"))


def is_allowed(call: Callable[[], object]) -> bool:
    """False when the server refuses. Everything else that goes wrong is a fault of the test."""
    try:
        call()
    except ClientError as e:
        if e.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise
        return False
    return True


def try_everything(users: StoreUsers, user: User, folder: str, suffix: str) -> dict[str, bool]:
    """Every verb with keys of its own, which the administrator has put there before."""
    s3 = users.clients[user]

    def there() -> dict[str, str]:
        key = new_key()
        return {"Bucket": BUCKET, "Key": key, "VersionId": users.put(key)}

    def new_key() -> str:
        return f"{folder}{next(_numbers)}{suffix}"

    def without_version(of: dict[str, str]) -> dict[str, Any]:
        return {"Bucket": of["Bucket"], "Key": of["Key"]}

    def erase_several() -> None:
        of = there()
        several = {"Objects": [{"Key": of["Key"], "VersionId": of["VersionId"]}]}
        answer = s3.delete_objects(Bucket=BUCKET, Delete=several)
        for error in answer.get("Errors", ()):
            raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403}}, "DeleteObjects")

    return {
        "get": is_allowed(lambda: s3.get_object(**without_version(there()))),
        "get a version": is_allowed(lambda: s3.get_object(**there())),
        "list": is_allowed(lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{folder}{suffix}")),
        "list versions": is_allowed(lambda: s3.list_object_versions(Bucket=BUCKET, Prefix=f"{folder}{suffix}")),
        "put new": is_allowed(lambda: s3.put_object(Bucket=BUCKET, Key=new_key(), Body=b"1")),
        "put in parts": is_allowed(lambda: s3.create_multipart_upload(Bucket=BUCKET, Key=new_key())),
        "overwrite": is_allowed(lambda: s3.put_object(**without_version(there()), Body=b"2")),
        "delete": is_allowed(lambda: s3.delete_object(**without_version(there()))),
        "delete a version": is_allowed(lambda: s3.delete_object(**there())),
        "delete versions": is_allowed(erase_several),
    }


def read_table(rights: str) -> dict[str, bool]:
    """The same verbs from the letters of the table."""
    return {
        "get": "g" in rights,
        "get a version": "g" in rights,
        "list": "l" in rights,
        "list versions": "l" in rights,
        "put new": "p" in rights,
        "put in parts": "p" in rights,
        "overwrite": "p" in rights,  # S3 knows no right to put only new keys; a bucket with versions keeps what was overwritten
        "delete": "d" in rights or "e" in rights,
        "delete a version": "e" in rights,
        "delete versions": "e" in rights,
    }


@pytest.mark.parametrize("row", PREFIXES, ids=lambda row: row.patterns[-1])
def test_the_server_allows_what_the_table_says(users: StoreUsers, row: Prefix) -> None:
    for user, suffix in itertools.product(USERS, row.suffixes):
        assert try_everything(users, user, row.path, suffix) == read_table(row.rights.get(user, "")), (user, suffix)


@pytest.mark.parametrize("user", USERS)
def test_keys_of_no_row_are_the_groups_own(users: StoreUsers, user: User) -> None:
    assert try_everything(users, user, "takes/may/", ".wav") == read_table(OTHER_RIGHTS.get(user, ""))


@pytest.mark.parametrize("user", USERS)
def test_nobody_lists_the_whole_bucket(users: StoreUsers, user: User) -> None:
    s3 = users.clients[user]
    assert not is_allowed(lambda: s3.list_objects_v2(Bucket=BUCKET))
    assert not is_allowed(lambda: s3.list_object_versions(Bucket=BUCKET))
    assert not is_allowed(lambda: s3.list_multipart_uploads(Bucket=BUCKET))


@pytest.mark.parametrize("user", USERS)
def test_a_missing_key_is_missing_and_not_refused(users: StoreUsers, user: User) -> None:
    for row in (row for row in PREFIXES if row.allows(user, "get")):
        with pytest.raises(ClientError) as caught:
            users.clients[user].get_object(Bucket=BUCKET, Key=f"{row.path}never{row.suffixes[0]}")
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404, row
