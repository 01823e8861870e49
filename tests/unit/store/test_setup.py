"""Bucket, rules, users: the policies' meaning, and that a second run changes nothing."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from audiotune.errors import DamagedBlobError, NotInStoreError, StoreError
from audiotune.store import FolderStore, admin, backup, setup
from audiotune.store.layout import PREFIXES, USERS, User

DIGEST = "ab" * 32


def may(user: User, action: str, key: str, prefix: str = "") -> bool:
    """What an IAM evaluator says: a matching Deny wins, else a matching Allow is needed. `key` is the prefix of a listing."""
    listing = action.startswith("s3:List")
    resource, facts = (
        f"arn:aws:s3:::band{'' if listing else f'/{key}'}",
        {"s3:prefix": key if listing else "", "s3:versionid": ""},
    )

    def is_meant(statement: dict[str, Any]) -> bool:
        conditions = statement.get("Condition", {}).items()
        return (
            action in statement["Action"]
            and any(fnmatch.fnmatchcase(resource, pattern) for pattern in statement["Resource"])
            and all(
                any(fnmatch.fnmatchcase(facts[name], pattern) for pattern in patterns) is (kind == "StringLike")
                for kind, of in conditions
                for name, patterns in of.items()
            )
        )

    hits = [s["Effect"] for s in admin.build_policy(user, "band", prefix)["Statement"] if is_meant(s)]
    return "Allow" in hits and "Deny" not in hits


@pytest.mark.parametrize(
    ("user", "action", "key", "answer"),
    [
        ("studio", "s3:GetObject", "blobs/sha256/ab/x.flac", True),
        ("studio", "s3:PutObject", "annotations/s/m/t.json", True),
        ("studio", "s3:GetObject", "checkpoints/run/000000100.json", False),
        ("studio", "s3:GetObject", f"blobs/sha256/ab/{DIGEST}.safetensors", True),
        ("studio", "s3:GetObject", f"blobs/sha256/ab/{DIGEST}.state.safetensors", False),
        ("studio", "s3:PutObject", f"blobs/sha256/ab/{DIGEST}.safetensors", False),
        ("studio", "s3:PutObject", f"blobs/sha256/ab/{DIGEST}.json", False),
        ("studio", "s3:PutObject", f"blobs/sha256/ab/{DIGEST}.html", False),
        ("studio", "s3:PutObject", f"blobs/sha256/ab/{DIGEST}.fp", True),
        ("studio", "s3:DeleteObject", "governance/consents/1.json", False),
        ("studio", "s3:DeleteObject", "manifests/recordings/x.jsonl", False),
        ("studio", "s3:GetObject", "backups/database/x.dump", False),
        ("studio", "s3:DeleteObject", "access/accounts/ben.json", False),
        ("studio", "s3:PutObject", "access/accounts/ana.json", False),
        ("studio", "s3:PutObject", "access/tokens/1.json", False),
        ("studio", "s3:PutObject", "access/identities/1.json", False),
        ("studio", "s3:PutObject", "governance/agreements/000002.json", False),
        ("pipelines", "s3:PutObject", "governance/agreements/000002.json", False),
        ("pipelines", "s3:PutObject", "governance/consents/x/ben/1.json", False),
        ("governance", "s3:PutObject", "governance/agreements/000002.json", True),
        ("governance", "s3:PutObject", "access/accounts/ana.json", True),
        ("governance", "s3:PutObject", "manifests/releases/x.json", False),
        ("studio", "s3:DeleteObject", "inbox/1/upload.json", False),
        ("generation", "s3:GetObject", f"blobs/sha256/ab/{DIGEST}.safetensors", True),
        ("generation", "s3:GetObject", "access/tokens/1.json", True),
        ("generation", "s3:GetObject", "access/accounts/ana.json", False),
        ("generation", "s3:PutObject", "sounds/ab/x.wav", True),
        ("generation", "s3:DeleteObject", "sounds/ab/x.wav", True),
        ("generation", "s3:PutObject", "blobs/sha256/ab/x.wav", False),
        ("generation", "s3:PutObject", f"blobs/sha256/ab/{DIGEST}.safetensors", False),
        ("generation", "s3:PutObject", "manifests/recordings/x.jsonl", False),
        ("generation", "s3:PutObject", "manifests/generations/x.json", True),
        ("generation", "s3:PutObject", "governance/consents/1.json", False),
        ("generation", "s3:GetObject", f"blobs/sha256/ab/{DIGEST}.flac", False),
        ("generation", "s3:GetObject", f"blobs/sha256/ab/{DIGEST}.state.safetensors", False),
        ("generation", "s3:GetObjectVersion", f"blobs/sha256/ab/{DIGEST}.state.safetensors", False),
        ("generation", "s3:GetObject", f"blobs/sha256/ab/{DIGEST}.json", True),
        ("generation", "s3:DeleteObject", "blobs/sha256/ab/x.wav", False),
        ("pipelines", "s3:PutObject", "checkpoints/run/000000100.json", True),
        ("pipelines", "s3:DeleteObject", f"blobs/sha256/ab/{DIGEST}.safetensors", False),
        ("pipelines", "s3:DeleteObject", f"blobs/sha256/ab/{DIGEST}.state.safetensors", True),
        ("pipelines", "s3:DeleteObjectVersion", f"blobs/sha256/ab/{DIGEST}.state.safetensors", False),
        ("pipelines", "s3:GetObject", "manifests/generations/x.json", False),
        ("pipelines", "s3:GetObject", "jobs/log/ana/x/000001.json", False),
        ("pipelines", "s3:DeleteObject", "governance/consents/1.json", False),
        ("pipelines", "s3:DeleteObjectVersion", "governance/agreements/1.toml", False),
        ("pipelines", "s3:PutObject", "access/tokens/1.json", False),
        ("pipelines", "s3:GetObject", "access/accounts/ana.json", False),
        ("pipelines", "s3:PutObject", "helm-test/access/tokens/1.json", True),
        ("registry", "s3:PutObject", "mlflow/1/x", True),
        ("registry", "s3:PutObject", "backups/database/x.dump", False),
        ("registry", "s3:GetObject", "backups/database/x.dump", False),
        ("backup", "s3:PutObject", "backups/database/x.dump", True),
        ("backup", "s3:DeleteObject", "backups/database/x.dump", False),
        ("registry", "s3:DeleteObject", "backups/database/x.dump", False),
        ("registry", "s3:GetObject", "blobs/sha256/ab/x.flac", False),
        ("registry", "s3:ListBucket", "access/accounts/", False),
        ("registry", "s3:ListBucket", "", False),
        ("registry", "s3:ListBucket", "mlflow/1/", True),
        ("pipelines", "s3:ListBucket", "", False),
        ("pipelines", "s3:ListBucket", "takes/may/", True),
        ("pipelines", "s3:ListBucketVersions", "manifests/generations/", False),
        ("pipelines", "s3:ListBucket", "manifests/", False),
        ("pipelines", "s3:ListBucket", "manifests/segments/", True),
        ("governance", "s3:PutObject", "governance/consents/x/ben/1.json", True),
        ("governance", "s3:DeleteObject", "governance/consents/x/ben/1.json", False),
        ("governance", "s3:GetObject", f"blobs/sha256/ab/{DIGEST}.flac", False),
        ("erasure", "s3:DeleteObjectVersion", f"blobs/sha256/ab/{DIGEST}.flac", True),
        ("erasure", "s3:DeleteObjectVersion", "governance/consents/x/ben/1.json", False),
        ("erasure", "s3:GetObject", f"blobs/sha256/ab/{DIGEST}.flac", False),
        ("erasure", "s3:PutObject", f"blobs/sha256/ab/{DIGEST}.flac", False),
    ],
)
def test_each_user_may_do_its_work_and_no_more(user: User, action: str, key: str, answer: bool) -> None:
    assert may(user, action, key) is answer


def test_a_prefix_keeps_groups_apart() -> None:
    assert may("generation", "s3:GetObject", "jazz/blobs/x.json", prefix="jazz/")
    assert not may("generation", "s3:GetObject", "noise/blobs/x.json", prefix="jazz/")
    assert not may("pipelines", "s3:GetObject", "noise/manifests/x", prefix="jazz/")


def test_old_versions_of_what_was_agreed_are_never_forgotten() -> None:
    rules = setup.build_lifecycle_rules("", 14, 7, 3, 30)
    assert not [rule for rule in rules if rule["Filter"]["Prefix"].startswith(("governance", "access"))]
    expiring = {rule["Filter"]["Prefix"] for rule in rules if "Days" in rule.get("Expiration", {})}
    assert expiring == {"jobs/", "backups/", "helm-test/"}


def test_what_was_deleted_is_forgotten_under_every_other_prefix() -> None:
    rules = setup.build_lifecycle_rules("jazz/", 14, 7, 3, 30)
    forgotten = {rule["Filter"]["Prefix"]: rule for rule in rules if "NoncurrentVersionExpiration" in rule}
    assert set(forgotten) == {
        f"jazz/{row.top}/" for row in PREFIXES if row.top not in ("governance", "access", "lineage", "erasures")
    }
    assert {rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in forgotten.values()} == {14}
    expiring = {rule["Filter"]["Prefix"] for rule in rules if "Days" in rule.get("Expiration", {})}
    for prefix, rule in forgotten.items():  # a deletion leaves a marker, which must go, too
        assert prefix in expiring or rule["Expiration"] == {"ExpiredObjectDeleteMarker": True}, prefix


def test_zero_days_forget_nothing() -> None:
    assert [rule["ID"] for rule in setup.build_lifecycle_rules("", 0, 0, 0, 0)] == ["helm-test-expire"]


class RecordingAdmin:
    """Keeps what it was told."""

    def __init__(self, refuse: str = "") -> None:
        self.policies: dict[str, Any] = {}
        self.users: dict[str, str] = {}
        self.attached: dict[str, str] = {}
        self._refuse = refuse

    def policy_add(self, policy_name: str, policy_file: Any = None, policy: Any = None) -> None:
        if self._refuse:
            raise RuntimeError(f'admin request failed; Status: 403, Body: {{"Code":"AccessDenied","Message":"{self._refuse}"}}')
        self.policies[policy_name] = policy

    def user_add(self, access_key: str, secret_key: str) -> None:
        self.users[access_key] = secret_key

    def policy_set(self, policy_name: str, user: str | None = None, group: str | None = None) -> None:
        self.attached[str(user)] = policy_name


def test_a_user_gets_its_key_and_its_rights_and_twice_is_the_same() -> None:
    server = RecordingAdmin()
    rights = admin.build_policy("studio", "band")
    for _ in range(2):
        admin.create_user(server, "studio", "studio", "secret", rights)
    assert server.users == {"studio": "secret"}
    assert server.attached == {"studio": "audio-tune-studio"}
    assert server.policies == {"audio-tune-studio": rights}


def test_a_refusal_tells_the_servers_sentence() -> None:
    with pytest.raises(StoreError, match=r"the user studio cannot be made: no admin"):
        admin.create_user(RecordingAdmin(refuse="no admin"), "studio", "s", "k", {})


class BucketServer:
    """The few S3 calls a bootstrap makes."""

    def __init__(self, silent: int = 0, like_minio: bool = False) -> None:
        self._like_minio = like_minio
        self.buckets: set[str] = set()
        self.rules: list[Any] = []
        self.versioning = ""
        self._silent = silent

    def list_buckets(self) -> None:
        if self._silent:
            self._silent -= 1
            raise EndpointConnectionError(endpoint_url="http://store")

    def create_bucket(self, Bucket: str, **_: Any) -> None:
        if Bucket in self.buckets:
            raise ClientError({"Error": {"Code": "BucketAlreadyOwnedByYou", "Message": ""}}, "CreateBucket")
        self.buckets.add(Bucket)

    def put_bucket_versioning(self, Bucket: str, VersioningConfiguration: dict[str, str]) -> None:
        self.versioning = VersioningConfiguration["Status"]

    def put_bucket_lifecycle_configuration(self, Bucket: str, LifecycleConfiguration: dict[str, Any]) -> None:
        rules = LifecycleConfiguration["Rules"]
        if self._like_minio and any("AbortIncompleteMultipartUpload" in rule for rule in rules):
            raise ClientError({"Error": {"Code": "InvalidArgument", "Message": ""}}, "PutBucketLifecycleConfiguration")
        self.rules = rules

    def delete_bucket_lifecycle(self, Bucket: str) -> None:
        self.rules = []


def test_a_bucket_is_made_once() -> None:
    bucket = setup.Bucket(BucketServer(), "band")
    assert [bucket.create(), bucket.create()] == [True, False]


def test_rules_come_and_go() -> None:
    server = BucketServer()
    bucket = setup.Bucket(server, "band")
    bucket.apply_rules(setup.build_lifecycle_rules("", 14, 7, 3, 30), versioning=True)
    assert server.versioning == "Enabled"
    assert server.rules
    bucket.apply_rules([], versioning=False)
    assert server.rules == []
    assert server.versioning == "Enabled", "suspending is no side effect of a value"


def test_minio_gets_the_rules_it_understands() -> None:
    server = BucketServer(like_minio=True)
    setup.Bucket(server, "band").apply_rules(setup.build_lifecycle_rules("", 14, 7, 3, 30), versioning=True)
    assert "jobs-expire" in {rule["ID"] for rule in server.rules}


def test_a_server_that_starts_is_waited_for() -> None:
    waited: list[float] = []
    setup.Bucket(BucketServer(silent=3), "band").wait_for_server(60, sleep=waited.append)
    assert len(waited) == 3


def test_a_server_that_never_answers_is_reported() -> None:
    with pytest.raises(StoreError, match="did not answer within 0 s"):
        setup.Bucket(BucketServer(silent=10**9), "band").wait_for_server(0, sleep=lambda _: None)


def test_keys_come_from_a_folder_for_each_user(tmp_path: Path) -> None:
    for user in USERS:
        (tmp_path / user).mkdir()
        (tmp_path / user / "accesskey").write_text(f"{user}\n")
        (tmp_path / user / "secretkey").write_text("s")
    assert setup.read_user_keys(tmp_path)["studio"] == ("studio", "s")
    (tmp_path / "registry" / "secretkey").unlink()
    with pytest.raises(StoreError, match="no keys for the user registry"):
        setup.read_user_keys(tmp_path)
    (tmp_path / "registry" / "accesskey").unlink()
    (tmp_path / "registry").rmdir()
    assert "registry" not in setup.read_user_keys(tmp_path), "a folder of 0.2 has no keys for the users that came later"


def test_a_folder_needs_no_bootstrap(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert setup.main(["--store", str(tmp_path)]) == 1
    assert "needs no bootstrap" in capsys.readouterr().err


def test_policies_can_be_printed_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert setup.main(["--store", "s3://band/jazz", "--print-policies"]) == 0
    assert "arn:aws:s3:::band/jazz/mlflow/*" in capsys.readouterr().out


def test_the_newest_backup_comes_back(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    for text in (b"first", b"second"):
        (tmp_path / "database.dump").write_bytes(text)
        backup.save_backup(store, "database", tmp_path / "database.dump")
    keys = backup.list_backups(store, "database")
    assert backup.fetch_backup(store, "database", tmp_path / "back", keys[-1]) == keys[-1]
    assert (tmp_path / "back").read_bytes() in (b"first", b"second")


def test_a_backup_that_is_absent_empty_or_damaged_is_reported(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    with pytest.raises(NotInStoreError, match="no backup of database"):
        backup.fetch_backup(store, "database", tmp_path / "back")
    (tmp_path / "empty").touch()
    with pytest.raises(StoreError, match="empty"):
        backup.save_backup(store, "database", tmp_path / "empty")
    (tmp_path / "database.dump").write_bytes(b"dump")
    store.put(backup.save_backup(store, "database", tmp_path / "database.dump"), b"changed")
    with pytest.raises(DamagedBlobError):
        backup.fetch_backup(store, "database", tmp_path / "back")
