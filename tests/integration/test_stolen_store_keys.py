"""A drill: somebody has the key of one of the store's users and does all it can to every key of the bucket.

Under prefixes that the user may not write, nothing changes. Under the others the original can be restored, and the doctor names the key.
Only `erasure` can destroy, and only what members may have erased.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from audiotune.store import FolderStore
from audiotune.store.layout import PREFIXES, SETUP_PROBE, USERS, Prefix, User, find_prefix
from audiotune.store.s3 import S3Store
from audiotune.store.touched_keys import find_touched_keys
from tests.fakes.old_release import unpack
from tests.integration.minio import is_patched, server_or_skip
from tests.integration.store_users import BUCKET, StoreUsers, set_up_bucket, set_up_users

pytestmark = pytest.mark.integration
HOWS = ("replace", "delete", "destroy")


@pytest.fixture
def users(tmp_path: Path) -> Iterator[StoreUsers]:
    with server_or_skip(tmp_path / "minio") as running:
        yield set_up_users(running, tmp_path / "users")


@pytest.fixture
def originals(users: StoreUsers) -> dict[str, str]:
    """Key -> version of an object for each prefix and each way to attack it."""
    keys = [f"{row.path}{how}{suffix}" for row in PREFIXES for suffix in row.suffixes for how in HOWS]
    return {key: users.put(key, f"the true {key}".encode()) for key in keys}


def attack(s3: Any, key: str, version: str) -> None:
    """Everything that S3 and MinIO offer to replace, delete or destroy an object; refusals are passed over."""
    where = {"Bucket": BUCKET, "Key": key}
    several = {"Objects": [{"Key": key}, {"Key": key, "VersionId": version}], "Quiet": True}
    tries: dict[str, list[Callable[[], object]]] = {
        "replace": [
            lambda: s3.put_object(**where, Body=b"forged"),
            # MinIO replaces a version in place, or dates a new one back, when it is asked like this
            lambda: send(s3, "PutObject", {"X-Minio-Source-Mtime": "2020-01-01T00:00:00Z"}).put_object(**where, Body=b"old"),
            lambda: send(s3, "PutObject", {}, version).put_object(**where, Body=b"in place"),
            lambda: s3.copy_object(**where, CopySource=where, MetadataDirective="REPLACE", Metadata={"forged": "yes"}),
            lambda: replace_in_parts(s3, where),
        ],
        "delete": [lambda: s3.delete_object(**where)],
        "destroy": [
            lambda: s3.delete_object(**where, VersionId=version),
            lambda: s3.delete_objects(Bucket=BUCKET, Delete=several),
            lambda: send(s3, "DeleteObject", {"x-minio-force-delete": "true"}).delete_object(**where),
            lambda: send(s3, "DeleteObject", {"x-minio-force-delete": "true"}).delete_object(
                Bucket=BUCKET, Key=f"{key.partition('/')[0]}/"
            ),
        ],
    }
    for how in tries[next(how for how in HOWS if how in key)]:
        with contextlib.suppress(ClientError):
            how()


def send(s3: Any, operation: str, headers: dict[str, str], version: str = "") -> Any:
    """The client, whose next request of this kind carries these headers, and the id of a version where it has no place."""
    event = f"before-sign.s3.{operation}"

    def change(request: Any, **_: Any) -> None:
        s3.meta.events.unregister(event, change)
        for name, value in headers.items():
            request.headers[name] = value
        if version:
            request.url += f"{'&' if '?' in request.url else '?'}versionId={version}"

    s3.meta.events.register_first(event, change)
    return s3


def replace_in_parts(s3: Any, where: dict[str, str]) -> None:
    upload = s3.create_multipart_upload(**where)["UploadId"]
    part = s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"forged in parts")
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts)


def read_version(users: StoreUsers, key: str, version: str) -> bytes | None:
    try:
        return bytes(users.root.get_object(Bucket=BUCKET, Key=key, VersionId=version)["Body"].read())
    except ClientError:
        return None


def can_change(row: Prefix | None, user: User) -> bool:
    return row is not None and any(row.allows(user, right) for right in ("put", "delete", "erase"))


@pytest.mark.parametrize("user", USERS)
def test_the_key_of_one_user_is_stolen(
    users: StoreUsers, originals: dict[str, str], user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, version in originals.items():
        attack(users.clients[user], key, version)

    for name, value in {**users.server.environment, "AUDIOTUNE_STORE": f"s3://{BUCKET}"}.items():
        monkeypatch.setenv(name, value)
    named = {touched.key: touched for touched in find_touched_keys(S3Store(f"s3://{BUCKET}"))}
    del named[SETUP_PROBE.path]  # the set-up writes and deletes it to try the key
    changed, destroyed = set(), set()
    for key, version in originals.items():
        row = find_prefix(key)
        versions = [found["VersionId"] for found in users.list_versions(key) if found["Key"] == key]
        if read_version(users, key, version) != f"the true {key}".encode():
            destroyed.add(key)
        elif versions != [version]:
            changed.add(key)
        if not can_change(row, user):
            assert versions == [version], f"{user} changed {key}"
            assert key not in destroyed | changed | set(named)
    assert changed == set(named), "the doctor names what was touched and nothing else"
    assert all(version in [found.id for found in named[key].versions] for key, version in originals.items() if key in changed)
    erasable = {key for key in originals if (row := find_prefix(key)) and row.allows(user, "erase")}
    assert destroyed == {key for key in erasable if "destroy" in key}
    assert changed or destroyed, "an attack that does nothing proves nothing"


def test_a_recording_is_erased_with_its_versions_by_its_own_user_alone(users: StoreUsers, tmp_path: Path) -> None:
    digest = "ab" * 32
    recording, other = f"blobs/sha256/ab/{digest}.flac", f"blobs/sha256/ab/{digest}.flac2"
    for key in (recording, recording, other):
        users.put(key)
    users.root.delete_object(Bucket=BUCKET, Key=recording)

    def run_erase(user: User, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "audiotune.store.erase", *arguments, recording]
        environment = {**os.environ, **users.environment(user)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    for user in USERS:
        if user != "erasure":
            refused = run_erase(user, "--confirm")
            assert refused.returncode == 1, user
            assert "the store refuses" in refused.stderr
    assert "3 versions" in run_erase("erasure").stdout
    assert len(users.list_versions(recording)) == 4
    assert "3 versions erased" in run_erase("erasure", "--confirm").stdout
    assert [found["Key"] for found in users.list_versions(recording)] == [other]


def test_the_doctor_names_what_was_touched(users: StoreUsers, tmp_path: Path) -> None:
    old = FolderStore(unpack("store", tmp_path / "old"))
    governed = {entry.key: old.get(entry.key) for entry in old.list("governance/")}
    for key, data in governed.items():
        users.put(key, data)
    agreement, consent = min(governed), max(governed)
    blob, run, card = f"blobs/sha256/ab/{'ab' * 32}.flac", "mlflow/1/recipe.toml", "manifests/releases/demo/1-x.json"
    users.put(run)
    users.put(card)
    users.put("manifests/recordings/1.jsonl", f'{{"blob": "{blob}"}}\n'.encode())

    def ask_doctor() -> tuple[int, dict[str, dict[str, str]]]:
        root = {"AWS_ACCESS_KEY_ID": users.server.user, "AWS_SECRET_ACCESS_KEY": users.server.password}
        environment = {**os.environ, **users.environment("studio"), **root, "KUBECONFIG": "/dev/null"}
        command = [sys.executable, "-m", "pipelines.doctor", "--store", f"s3://{BUCKET}", "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, {f"{found['about']}: {found['state']}": found["words"] for found in json.loads(done.stdout)}

    code, before = ask_doctor()
    assert code == 0, before
    assert blob in before["blobs: warning"], "a manifest names it and nobody has it"
    users.put(agreement, b"forged")
    users.put(card, b"forged")
    users.put(consent, governed[consent])  # the same bytes: nobody writes a consent twice
    users.root.delete_object(Bucket=BUCKET, Key=run)
    code, after = ask_doctor()
    assert code == 1
    assert agreement in after["changes: wrong"]
    assert consent in after["changes: wrong"]
    assert card in after["changes: wrong"]
    assert run not in after["changes: wrong"]
    assert run in after["changes: well"]


def test_a_header_stands_for_nothing_in_the_query(users: StoreUsers, tmp_path: Path) -> None:
    """MinIO as it was published takes conditions from headers, and deletes all versions at once where a bucket has no object lock."""
    if not is_patched():
        pytest.skip("this MinIO is built without deploy/object-store/headers.patch, which our image has")
    key, other = "mlflow/1/model", "access/accounts/ben.json"
    version = users.put(key)
    users.put(other)
    registry = users.clients["registry"]
    with pytest.raises(ClientError, match="AccessDenied"):
        send(registry, "PutObject", {"Versionid": ""}, version).put_object(Bucket=BUCKET, Key=key, Body=b"in place")
    with pytest.raises(ClientError, match="AccessDenied"):
        send(registry, "ListObjectsV2", {"Prefix": "mlflow/"}).list_objects_v2(Bucket=BUCKET, Prefix="access/")
    users.root.create_bucket(Bucket="old")  # as buckets of 0.2: without object lock
    set_up_bucket(users.server, tmp_path / "users", "old")
    users.root.put_object(Bucket="old", Key=key, Body=b"1")
    with pytest.raises(ClientError, match="AccessDenied"):
        send(registry, "DeleteObject", {"x-minio-force-delete": "true"}).delete_object(Bucket="old", Key=key)
    registry.delete_object(Bucket="old", Key=key)
    assert len(users.root.list_object_versions(Bucket="old", Prefix=key)["Versions"]) == 1
