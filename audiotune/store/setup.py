"""Prepares a store for the group: bucket, versioning, lifecycle rules, one user for each service. It may run again.

    python -m audiotune.store.bootstrap --users /etc/audio-tune/users --versioning --noncurrent-days 14
    python -m audiotune.store.bootstrap --existing             only check that the bucket can be read and written
    python -m audiotune.store.bootstrap --print-policies       the rights of the users, for a store with users of its own

Reads AUDIOTUNE_STORE and the usual AWS variables. `--users` names a folder with <user>/accesskey and <user>/secretkey.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from audiotune.errors import AudioTuneError, StoreError
from audiotune.store import Store, admin, open_store
from audiotune.store.layout import PREFIXES, SETUP_PROBE, USERS, Limit, User
from audiotune.store.s3 import create_s3_client

_ALREADY = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
_PROBE = SETUP_PROBE.key()
_WITHOUT_LOCKS = {"NotImplemented", "InvalidArgument", "InvalidRequest"}  # what servers say that have no object lock


def build_lifecycle_rules(
    prefix: str, noncurrent_days: int, jobs_days: int, uploads_days: int, backups_days: int
) -> list[dict[str, Any]]:
    """The bucket's lifecycle rules, from the table in `layout`; 0 days makes none. `uploads_days` ends
    uploads of parts that never became an object: a client that died midway.

    With versioning, a deleted object stays as an old version and its deletion as a marker: both are removed after `noncurrent_days`.
    """
    days: dict[Limit, int] = {"jobs": jobs_days, "backups": backups_days, "tests": 1}
    tops = {row.top: row for row in PREFIXES}.values()
    rules = []
    for row in tops:
        if noncurrent_days and not row.keeps_old_versions:
            action: dict[str, Any] = {"NoncurrentVersionExpiration": {"NoncurrentDays": noncurrent_days}}
            if not row.limit:  # where objects expire, the markers expire as well
                action["Expiration"] = {"ExpiredObjectDeleteMarker": True}
            rules.append(_build_rule(f"{row.top}-old-versions", f"{prefix}{row.top}/", action))
    for row in tops:
        if row.limit and days[row.limit]:
            rules.append(_build_rule(f"{row.top}-expire", f"{prefix}{row.top}/", {"Expiration": {"Days": days[row.limit]}}))
    if uploads_days:
        abandoned = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": uploads_days}}
        rules.append(_build_rule("abandoned-uploads", prefix, abandoned))
    return rules


def _build_rule(name: str, prefix: str, action: dict[str, Any]) -> dict[str, Any]:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **action}


class Bucket:
    """Creates and configures the bucket of a store, with a boto3 S3 client."""

    def __init__(self, client: Any, name: str, region: str = "us-east-1") -> None:
        self._s3, self.name, self._region = client, name, region

    def wait_for_server(self, limit_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Waits until the server answers; it may still be starting."""
        until = time.monotonic() + limit_s
        while True:
            try:
                self._s3.list_buckets()
                return
            except ClientError as e:
                if e.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) < 500:
                    return  # it answers; a key without the right to list buckets may still have its own
                problem: Exception = e
            except BotoCoreError as e:
                problem = e
            if time.monotonic() > until:
                raise StoreError(
                    f"the store did not answer within {limit_s:.0f} s: {problem}",
                    cure="look at its pod, its Service and its policy",
                ) from problem
            sleep(2)

    def create(self, *, lock: bool = False) -> bool:
        """Returns True when it was created, False when it exists already.

        Args:
            lock: with object lock, which a bucket has from the beginning or never. MinIO then refuses to delete a key with all its
                versions at once. Nothing is retained by it. A server without it makes a bucket without it.
        """
        where: dict[str, Any] = {}
        if self._region != "us-east-1":
            where["CreateBucketConfiguration"] = {"LocationConstraint": self._region}
        try:
            self._s3.create_bucket(Bucket=self.name, **where, **({"ObjectLockEnabledForBucket": True} if lock else {}))
        except ClientError as e:
            code = e.response["Error"]["Code"]
            if code in _ALREADY:
                return False
            if lock and code in _WITHOUT_LOCKS:
                return self.create()
            raise _build_store_error(f"making bucket {self.name}", e) from e
        return True

    def apply_rules(self, rules: list[dict[str, Any]], *, versioning: bool) -> None:
        """Versioning cannot be switched off again, only suspended: with False it stays as it is."""
        try:
            if versioning:
                self._s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
            if rules:
                self._put_lifecycle_rules(rules)
            else:
                self._s3.delete_bucket_lifecycle(Bucket=self.name)
        except ClientError as e:
            raise _build_store_error(f"ruling bucket {self.name}", e) from e

    def _put_lifecycle_rules(self, rules: list[dict[str, Any]]) -> None:
        """Without the rule for abandoned uploads where the server refuses it: MinIO does, and removes them after a day by itself."""
        try:
            self._s3.put_bucket_lifecycle_configuration(Bucket=self.name, LifecycleConfiguration={"Rules": rules})
        except ClientError as e:
            kept = [rule for rule in rules if "AbortIncompleteMultipartUpload" not in rule]
            if e.response["Error"]["Code"] not in ("InvalidArgument", "MalformedXML") or not kept:
                raise
            self._s3.put_bucket_lifecycle_configuration(Bucket=self.name, LifecycleConfiguration={"Rules": kept})


def _build_store_error(doing: str, e: ClientError) -> StoreError:
    reason = e.response["Error"].get("Message") or e.response["Error"]["Code"]
    return StoreError(f"the store refuses {doing}: {reason}", cure="check what the administrator's key may do")


def read_user_keys(folder: Path) -> dict[User, tuple[str, str]]:
    """User -> (access key, secret key), of the users that have a folder. Raises StoreError that names a missing file."""
    keys: dict[User, tuple[str, str]] = {}
    for name in (user for user in USERS if (folder / user).is_dir()):
        try:
            access, secret = ((folder / name / key).read_text().strip() for key in ("accesskey", "secretkey"))
        except OSError as e:
            raise StoreError(f"no keys for the user {name}", where=str(e.filename), cure="give a folder for each user") from e
        keys[name] = access, secret
    return keys


def probe_store(store: Store) -> None:
    """Writes, reads and deletes one object, to find a wrong key now and not when a member uses the store."""
    store.put(_PROBE, b"ready")
    if store.get(_PROBE) != b"ready":
        raise StoreError("the store gives back something else than it was given", where=_PROBE, cure="look into the store")
    store.delete(_PROBE)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code; the last line is the reason or `ready`."""
    args = _build_parser().parse_args(arguments)
    try:
        _set_up_store(args)
    except AudioTuneError as e:
        print(f"bootstrap: {e}", file=sys.stderr)
        return 1
    return 0


def _set_up_store(args: argparse.Namespace) -> None:
    name, prefix = _parse_store_url(args.store)
    if args.print_policies:
        print(json.dumps({user: admin.build_policy(user, name, prefix) for user in USERS}, indent=1))
        return
    bucket = Bucket(create_s3_client(), name, os.environ.get("AWS_REGION") or "us-east-1")
    bucket.wait_for_server(args.wait_s)
    if not args.existing:
        print(f"bucket {bucket.name}: {'made' if bucket.create(lock=args.versioning) else 'there'}")
        days = (args.noncurrent_days, args.jobs_days, args.uploads_days, args.backups_days)
        bucket.apply_rules(build_lifecycle_rules(prefix, *days), versioning=args.versioning)
        print("lifecycle rules are in force")
    if args.users:
        server = admin.connect_admin()
        keys = read_user_keys(args.users)
        for user in (user for user in USERS if user not in keys):
            print(f"user {user}: not made, {args.users} has no folder for it")
        for user, (access, secret) in keys.items():
            admin.create_user(server, user, access, secret, admin.build_policy(user, name, prefix))
            print(f"user {user}: rights and key are in force")
    probe_store(open_store(args.store))
    print("the store is ready")


def _parse_store_url(url: str | None) -> tuple[str, str]:
    """Bucket and prefix (empty, or ends with /) of a store. Raises StoreError for a folder."""
    url = url or os.environ.get("AUDIOTUNE_STORE", "")
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        raise StoreError(f"{url!r} needs no bootstrap", cure="name a store as in s3://bucket")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m audiotune.store.bootstrap", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--store", help="s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    parser.add_argument("--users", type=Path, help="folder with <user>/accesskey and <user>/secretkey; MinIO only")
    parser.add_argument("--existing", action="store_true", help="make no bucket and no rules")
    parser.add_argument("--print-policies", action="store_true", help="print the users' rights and do nothing")
    parser.add_argument("--versioning", action="store_true", help="keep replaced and deleted objects")
    parser.add_argument("--wait-s", type=float, default=300, help="how long to wait for the server (default 300)")
    for name, days in (("noncurrent", 14), ("jobs", 7), ("uploads", 3), ("backups", 30)):
        parser.add_argument(f"--{name}-days", type=int, default=days, help=f"0 forgets nothing (default {days})")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
