"""The users of the bucket: their rights as IAM policies, and the calls that create them on a MinIO server.

The rights come from the table in `layout`. S3 itself has no users, so this module uses MinIO's admin protocol. Operators of another
store give its users the policies that `python -m audiotune.store.bootstrap --print-policies` prints.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from audiotune.errors import StoreError
from audiotune.store.layout import OTHER_RIGHTS, PREFIXES, RIGHTS, Prefix, Right, User

Policy = dict[str, Any]

_BUCKET = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
_ALLOWED: dict[Right, list[str]] = {
    "get": ["s3:GetObject", "s3:GetObjectVersion"],
    "put": ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
    "delete": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
}
_DENIED = {**_ALLOWED, "put": ["s3:PutObject"]}


def build_policy(user: User, bucket: str, prefix: str = "") -> Policy:
    """The rights of a user as an IAM policy. `Deny` wins over `Allow`. `prefix` is empty or ends with `/`.

    Every user may list the whole bucket: to a user without that right, a server answers 403 instead of 404 for missing keys.
    """
    statements: list[Policy] = [{"Effect": "Allow", "Action": _BUCKET, "Resource": [f"arn:aws:s3:::{bucket}"]}]
    for right in RIGHTS:
        allowed, denied = _choose_patterns(user, right)
        for effect, patterns, actions in (("Allow", allowed, _ALLOWED[right]), ("Deny", denied, _DENIED[right])):
            if patterns:
                keys = [f"arn:aws:s3:::{bucket}/{prefix}{pattern}" for pattern in patterns]
                statements.append({"Effect": effect, "Action": actions, "Resource": keys})
    return {"Version": "2012-10-17", "Statement": statements}


def _choose_patterns(user: User, right: Right) -> tuple[list[str], list[str]]:
    """(patterns of allowed keys, patterns of the keys among these that are denied)."""
    rows = [row for row in PREFIXES if row.allows(user, right) and not row.suffix]
    others = right[0] in OTHER_RIGHTS.get(user, "")
    held = [row for row in PREFIXES if others or any(row.path.startswith(allowed.path) for allowed in rows)]
    denied = _write_patterns([row for row in held if not row.allows(user, right)])
    return (["*"] if others else _write_patterns(rows)), denied


def _write_patterns(rows: Sequence[Prefix]) -> list[str]:
    """The rows' patterns; a single one where the rows cover a whole first folder, because policies have a maximum size."""

    def is_whole(top: str) -> bool:
        return all(row in rows for row in PREFIXES if row.top == top and not row.suffix)

    return list(dict.fromkeys(f"{row.top}/*" if is_whole(row.top) else row.pattern for row in rows))


class AdminClient(Protocol):
    """The calls of `minio.MinioAdmin` that are used here."""

    def policy_add(self, policy_name: str, policy_file: Any = None, policy: Policy | None = None) -> Any: ...
    def user_add(self, access_key: str, secret_key: str) -> Any: ...
    def policy_set(self, policy_name: str, user: str | None = None, group: str | None = None) -> Any: ...


def create_user(admin: AdminClient, name: str, access_key: str, secret_key: str, rights: Policy) -> None:
    """Makes a user, or gives an existing one this key, with these rights and no others. A second call changes nothing."""
    label = f"audio-tune-{name}"
    try:
        admin.policy_add(label, policy=rights)
        admin.user_add(access_key, secret_key)
        admin.policy_set(label, user=access_key)
    except Exception as e:  # the client raises three families of errors and urllib3's
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
    client: AdminClient = MinioAdmin(endpoint=endpoint.netloc, credentials=EnvAWSProvider(), secure=endpoint.scheme == "https")
    return client


def _extract_message(e: Exception) -> str:
    """The message in the server's JSON answer."""
    try:
        return str(json.loads(str(e).partition("Body: ")[2] or str(e)).get("Message", e))
    except (ValueError, AttributeError):
        return " ".join(str(e).split())[:300]
