"""The users of a bucket on a real MinIO, made by the same program as in the chart and in compose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from audiotune.store.layout import USERS, User
from tests.integration.minio import Minio

BUCKET = "band"


@dataclass(frozen=True)
class StoreUsers:
    """The bucket `band` with versions, and a client for each of its users."""

    server: Minio
    clients: Mapping[User, Any]
    root: Any

    def environment(self, user: User) -> dict[str, str]:
        """The variables with which a program runs as this user."""
        keys = {"AWS_ACCESS_KEY_ID": name_key(user), "AWS_SECRET_ACCESS_KEY": name_secret(user)}
        return {**self.server.environment, **keys, "AUDIOTUNE_STORE": f"s3://{BUCKET}"}

    def put(self, key: str, data: bytes = b"true") -> str:
        """Writes as the administrator; returns the version."""
        return str(self.root.put_object(Bucket=BUCKET, Key=key, Body=data)["VersionId"])

    def list_versions(self, prefix: str) -> list[dict[str, Any]]:
        """Versions and delete markers of all keys with this prefix."""
        pages = self.root.get_paginator("list_object_versions").paginate(Bucket=BUCKET, Prefix=prefix)
        return [version for page in pages for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]


def set_up_users(server: Minio, folder: Path) -> StoreUsers:
    """Runs `python -m audiotune.store.setup` as the chart's job does: with a folder of keys, with versions."""
    for user in USERS:
        (folder / user).mkdir(parents=True)
        (folder / user / "accesskey").write_text(name_key(user))
        (folder / user / "secretkey").write_text(name_secret(user))
    set_up_bucket(server, folder, BUCKET)
    clients = {user: connect(server, name_key(user), name_secret(user)) for user in USERS}
    return StoreUsers(server, clients, connect(server, server.user, server.password))


def set_up_bucket(server: Minio, folder: Path, bucket: str) -> None:
    """Makes the bucket, if it is not there, and gives the users in `folder` their rights in it and in no other."""
    command = [sys.executable, "-m", "audiotune.store.setup", "--users", str(folder), "--versioning"]
    environment = {**os.environ, **server.environment, "AUDIOTUNE_STORE": f"s3://{bucket}"}
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


def name_key(user: User) -> str:
    return f"{user}-key"


def name_secret(user: User) -> str:
    return f"{user}-secret-1234"


def connect(server: Minio, key: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
