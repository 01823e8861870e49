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
from audiotune.store.layout import OTHER_RIGHTS, PREFIXES, Prefix, Right, User

Policy = dict[str, Any]

_LIST = ["s3:ListBucket", "s3:ListBucketVersions"]
_OBJECT_ACTIONS: dict[Right, list[str]] = {
    "get": ["s3:GetObject", "s3:GetObjectVersion"],
    "put": ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
    "delete": ["s3:DeleteObject"],
    "erase": ["s3:DeleteObject", "s3:DeleteObjectVersion"],  # MinIO asks for both
}


def build_policy(user: User, bucket: str, prefix: str = "") -> Policy:
    """The rights of a user as an IAM policy. `Deny` wins over `Allow`. `prefix` is empty or ends with `/`.

    Two denials look superfluous. MinIO takes s3:DeleteObject for the right to delete old versions, too, unless s3:DeleteObjectVersion
    is denied; and it takes a put with the id of a version for the right to replace that version.
    """
    where, root = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{prefix}"
    statements = [_build_statement("Allow", ["s3:GetBucketLocation"], [where]), *_build_list_statements(user, where, prefix)]
    for right, actions in _OBJECT_ACTIONS.items():
        allowed, denied = _choose_rows(user, right)
        if allowed:
            statements.append(_build_statement("Allow", actions, [root + pattern for pattern in allowed]))
        if denied:
            statements.append(_build_statement("Deny", actions, [root + pattern for pattern in _write_patterns(denied)]))
    if not any(row.allows(user, "erase") for row in PREFIXES):
        statements.append(_build_statement("Deny", ["s3:DeleteObjectVersion"], [f"{root}*"]))
    elif kept := [row for row in PREFIXES if row.allows(user, "delete") and not row.allows(user, "erase")]:
        statements.append(
            _build_statement("Deny", ["s3:DeleteObjectVersion"], [root + pattern for pattern in _write_patterns(kept)])
        )
    with_version = {"StringLike": {"s3:versionid": ["?*"]}}
    statements.append(_build_statement("Deny", ["s3:PutObject"], [f"{root}*"], with_version))
    return {"Version": "2012-10-17", "Statement": statements}


def _build_list_statements(user: User, where: str, prefix: str) -> list[Policy]:
    """Which keys a user may list: S3 has this right for a bucket, and compares the prefix that is asked for."""
    allowed, denied = _choose_rows(user, "list")
    keys = [prefix + pattern for pattern in allowed]
    statements = [_build_statement("Allow", _LIST, [where], {"StringLike": {"s3:prefix": keys}})]
    if denied:  # of a user who may list keys outside the table: not the whole bucket, and of the table's folders only its own
        mixed = [row for row in PREFIXES if row.allows(user, "list") and row.top in {other.top for other in denied}]
        theirs: Policy = {"StringLike": {"s3:prefix": [f"{prefix}{top}/*" for top in dict.fromkeys(row.top for row in denied)]}}
        if mixed:
            theirs["StringNotLike"] = {"s3:prefix": [prefix + pattern for pattern in _write_patterns(mixed)]}
        whole = {"StringNotLike": {"s3:prefix": [f"{prefix}*/*"]}}
        statements += [_build_statement("Deny", _LIST, [where], condition) for condition in (whole, theirs)]
    return statements


def _build_statement(effect: str, actions: list[str], resources: list[str], condition: Policy | None = None) -> Policy:
    statement = {"Effect": effect, "Action": actions, "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement


def _choose_rows(user: User, right: Right) -> tuple[list[str], list[Prefix]]:
    """(patterns of allowed keys, rows among these that are denied)."""
    rows = [row for row in PREFIXES if row.allows(user, right)]
    others = right[0] in OTHER_RIGHTS.get(user, "")
    denied = [row for row in PREFIXES if row not in rows and (others or any(allowed.covers(row) for allowed in rows))]
    return (["*"] if others else _write_patterns(rows)), denied


def _write_patterns(rows: Sequence[Prefix]) -> list[str]:
    """The rows' patterns, without those that a wider row has; a single one where the rows cover a whole first folder, because
    policies have a maximum size."""

    def is_whole(top: str) -> bool:
        return all(any(row.covers(other) for row in rows) for other in PREFIXES if other.top == top)

    widest = [row for row in rows if not any(other.covers(row) for other in rows if other is not row)]
    patterns = [[f"{row.top}/*"] if is_whole(row.top) else row.patterns for row in widest]
    return list(dict.fromkeys(pattern for several in patterns for pattern in several))


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
