"""Users of the store and what each may do: least privilege as data, and the calls that put it in force on a MinIO server.

S3 itself has no users; this speaks MinIO's admin protocol. With another store, an operator gives the same rights by its own means:
`python -m audiotune.store.bootstrap --print-policies` writes them in the IAM language that all of them read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from audiotune.errors import StoreError

Policy = dict[str, Any]
_EVERYTHING = ("*",)


@dataclass(frozen=True)
class StoreRights:
    """Patterns of keys. What is denied wins over what is allowed.

    Attributes:
        read, write, delete: keys a user may read, write or delete.
        not_read, not_write, not_delete: keys it may not, though the above say so.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    not_read: tuple[str, ...] = ()
    not_write: tuple[str, ...] = ()
    not_delete: tuple[str, ...] = ()


USERS: Mapping[str, StoreRights] = {
    # Members' page. It hands members the weights they co-own, but no training state.
    "studio": StoreRights(
        read=_EVERYTHING,
        write=_EVERYTHING,
        delete=("uploads/*", "jobs/*", "manifests/generations/*", "access/identities/*"),
        not_read=("checkpoints/*", "blobs/*.state.safetensors", "mlflow/*", "backups/*"),
        not_write=("checkpoints/*", "blobs/*.safetensors", "mlflow/*", "backups/*"),
    ),
    # Makes sounds out of releases. Cannot touch recordings, annotations or what was agreed.
    "generation": StoreRights(
        read=("blobs/*", "manifests/*", "governance/*", "access/tokens/*", "jobs/*", "sounds/*"),
        write=("sounds/*", "manifests/generations/*", "jobs/*"),
        delete=("jobs/*", "sounds/*"),
    ),
    # Steps of a run. What was agreed and who may come in is not theirs to remove.
    "pipelines": StoreRights(
        read=_EVERYTHING,
        write=_EVERYTHING,
        delete=_EVERYTHING,
        not_read=("access/*", "backups/*"),
        not_write=("access/*", "backups/*", "mlflow/*"),
        not_delete=("governance/*", "access/*", "backups/*", "mlflow/*"),
    ),
    # MLflow's artifacts and the dumps of its database.
    "registry": StoreRights(read=("mlflow/*", "backups/*"), write=("mlflow/*", "backups/*"), delete=("mlflow/*",)),
}

_READ = ["s3:GetObject", "s3:GetObjectVersion"]
_WRITE = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
_DELETE = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
_BUCKET = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]


def build_policy(rights: StoreRights, bucket: str, prefix: str = "") -> Policy:
    """Rights in the IAM policy language.

    Listing the bucket is allowed to all: without it a server answers 403 instead of 404 for keys that do not exist.
    """
    statements: list[Policy] = [{"Effect": "Allow", "Action": _BUCKET, "Resource": [f"arn:aws:s3:::{bucket}"]}]
    for effect, patterns, actions in (
        ("Allow", rights.read, _READ),
        ("Allow", rights.write, _WRITE),
        ("Allow", rights.delete, _DELETE),
        ("Deny", rights.not_read, _READ),
        ("Deny", rights.not_write, ["s3:PutObject"]),
        ("Deny", rights.not_delete, _DELETE),
    ):
        if patterns:
            keys = [f"arn:aws:s3:::{bucket}/{prefix}{pattern}" for pattern in patterns]
            statements.append({"Effect": effect, "Action": actions, "Resource": keys})
    return {"Version": "2012-10-17", "Statement": statements}


class AdminClient(Protocol):
    """The calls that are needed; the real one is `minio.MinioAdmin`."""

    def policy_add(self, policy_name: str, policy_file: Any = None, policy: Policy | None = None) -> Any: ...
    def user_add(self, access_key: str, secret_key: str) -> Any: ...
    def policy_set(self, policy_name: str, user: str | None = None, group: str | None = None) -> Any: ...


def create_user(admin: AdminClient, name: str, access_key: str, secret_key: str, rights: Policy) -> None:
    """Makes a user or gives it this key, with these rights and no others. Doing it again changes nothing.

    Raises:
        StoreError: the server refuses or is away.
    """
    label = f"audio-tune-{name}"
    try:
        admin.policy_add(label, policy=rights)
        admin.user_add(access_key, secret_key)
        admin.policy_set(label, user=access_key)
    except Exception as e:  # the client raises three families and urllib3's own
        raise StoreError(
            f"the user {name} cannot be made: {_extract_message(e)}", cure="check the administrator's key and the server"
        ) from e


def connect_admin() -> AdminClient:
    """The server that AWS_ENDPOINT_URL_S3 names, with the environment's key. Raises StoreError when none is named."""
    from minio.credentials import EnvAWSProvider
    from minio.minioadmin import MinioAdmin

    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3", ""))
    if not endpoint.hostname:
        raise StoreError("no server is named", cure="set AWS_ENDPOINT_URL_S3; AWS itself has no users this program can make")
    made: AdminClient = MinioAdmin(endpoint=endpoint.netloc, credentials=EnvAWSProvider(), secure=endpoint.scheme == "https")
    return made


def _extract_message(e: Exception) -> str:
    """The server's own sentence: it answers in JSON."""
    try:
        return str(json.loads(str(e).partition("Body: ")[2] or str(e)).get("Message", e))
    except (ValueError, AttributeError):
        return " ".join(str(e).split())[:300]
