"""A store in an S3 bucket: on MinIO, AWS or any other server with this protocol.

The endpoint comes from AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL), the keys from the usual AWS variables or files. The server must
support conditional writes (`If-None-Match: *`), as MinIO and AWS do. Fetched files are in the cache folder (`cache_folder`).
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from audiotune.errors import AlreadyInStoreError, NotInStoreError, StoreError
from audiotune.store.atomic_files import replace_atomically
from audiotune.store.cache_folder import choose_cache_folder
from audiotune.store.known_digests import check_content, matches_key
from audiotune.store.port import (
    StoreEntry,
    blob_key,
    build_missing_error,
    check_key,
    compute_digest,
    digest_from_key,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_MIB = 1 << 20
_TRANSFER = TransferConfig(multipart_threshold=16 * _MIB, multipart_chunksize=16 * _MIB, max_concurrency=4)
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_TAKEN = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}
_REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "ExpiredToken"}
_FULL = {"507", "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "EntityTooLarge"}


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A version of a key in a bucket. `tag` is the content's ETag; None marks that the key was deleted. `modified` has a time zone."""

    key: str
    id: str
    modified: datetime
    tag: str | None


class S3Store:
    """A store in a bucket, under a prefix.

    Args:
        url: `s3://bucket` or `s3://bucket/prefix`. The bucket must exist.
        cache: folder for fetched files; the default is the environment's.
        page: keys of one answer when listing; servers send 1000 at most.
    """

    def __init__(self, url: str, cache: Path | None = None, *, page: int = 1000) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise StoreError(f"{url!r} names no bucket", cure="use s3://bucket/prefix")
        self._bucket = bucket
        self._prefix = f"{check_key(prefix.strip('/'))}/" if prefix.strip("/") else ""
        self._page = page
        self._cache = cache or choose_cache_folder()
        self._checked: set[str] = set()
        with self._translate_errors(""):
            self._s3 = create_s3_client()

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        with self._translate_errors(key):
            return self._s3.get_object(Bucket=self._bucket, Key=self._object_key(key))["Body"].read()

    def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
        full = self._object_key(key)
        with self._translate_errors(key):
            if only_new:
                self._s3.put_object(Bucket=self._bucket, Key=full, Body=data, IfNoneMatch="*")
            else:
                self._s3.put_object(Bucket=self._bucket, Key=full, Body=data)

    def put_blob(self, source: Path | bytes, suffix: str = "") -> str:
        digest = compute_digest(source)
        key = blob_key(digest, suffix)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if self._size_or_none(key) == size:
            return key
        with self._translate_errors(key):
            if size < _TRANSFER.multipart_threshold:
                data = source if isinstance(source, bytes) else source.read_bytes()
                checksum = base64.b64encode(bytes.fromhex(digest)).decode()  # the server refuses bytes that arrive changed
                self._s3.put_object(Bucket=self._bucket, Key=self._object_key(key), Body=data, ChecksumSHA256=checksum)
            elif isinstance(source, Path):  # in parts of 16 MiB, each with a checksum; a cut upload leaves no object
                self._s3.upload_file(str(source), self._bucket, self._object_key(key), Config=_TRANSFER)
            else:
                self._s3.upload_fileobj(io.BytesIO(source), self._bucket, self._object_key(key), Config=_TRANSFER)
        return key

    def fetch(self, key: str) -> Path:
        path = self._find_cache_path(key)
        if not (path.is_file() and (key in self._checked or matches_key(key, path))):
            self._download_file(key, path)
        self._checked.add(key)
        return path

    def upload(self, key: str, path: Path) -> None:
        with self._translate_errors(key):
            self._s3.upload_file(str(path), self._bucket, self._object_key(key), Config=_TRANSFER)

    def download(self, key: str, path: Path) -> None:
        with path.open("wb") as out, self._translate_errors(key):
            self._s3.download_fileobj(self._bucket, self._object_key(key), out, Config=_TRANSFER)

    def _find_cache_path(self, key: str) -> Path:
        """Blobs of all stores share a folder of the cache: their names are their hashes. Other keys can change, so the ETag counts."""
        if digest_from_key(check_key(key)):
            return self._cache / key
        with self._translate_errors(key):
            tag = self._s3.head_object(Bucket=self._bucket, Key=self._object_key(key))["ETag"]
        return self._cache / "keys" / hashlib.sha256(f"{self.url}\n{key}\n{tag}".encode()).hexdigest() / Path(key).name

    def _download_file(self, key: str, path: Path) -> None:
        try:
            with replace_atomically(path) as part:
                part.touch(mode=0o600)  # other users of this machine must not read the group's files
                with part.open("wb") as out, self._translate_errors(key):
                    self._s3.download_fileobj(self._bucket, self._object_key(key), out, Config=_TRANSFER)
                check_content(key, part)
        except OSError as e:
            raise _build_cache_error(e, path) from e

    def exists(self, key: str) -> bool:
        return self._size_or_none(key) is not None

    def size(self, key: str) -> int:
        size = self._size_or_none(key)
        if size is None:
            raise build_missing_error(key, self.url)
        return size

    def list(self, prefix: str, after: str = "") -> Iterator[StoreEntry]:
        if ".." in prefix.split("/")[:-1]:
            raise StoreError(f"{prefix!r} is no store prefix", cure="use words joined by '/'")
        lister = self._s3.get_paginator("list_objects_v2")
        full, behind = self._prefix + prefix, self._prefix + after
        pages = lister.paginate(Bucket=self._bucket, Prefix=full, StartAfter=behind, PaginationConfig={"PageSize": self._page})
        with self._translate_errors(prefix):
            for page in pages:
                for found in page.get("Contents", ()):
                    key = found["Key"].removeprefix(self._prefix)
                    if key and not key.endswith("/"):  # consoles make empty objects to show folders
                        yield StoreEntry(key, found["Size"], found["LastModified"])

    def delete(self, key: str) -> None:
        with self._translate_errors(key):
            self._s3.delete_object(Bucket=self._bucket, Key=self._object_key(key))
        self.forget(key)

    def list_versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """All versions and delete markers of the keys that begin with `prefix`: in key order, of one key the newest first."""
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)
        with self._translate_errors(prefix):
            for page in pages:
                found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                found.sort(key=lambda version: (version["Key"], not version["IsLatest"], -version["LastModified"].timestamp()))
                yield from (_describe_version(version, len(self._prefix)) for version in found)

    def erase(self, key: str) -> int:
        """Deletes all versions of a key for good. Returns how many there were."""
        versions = [version for version in self.list_versions(check_key(key)) if version.key == key]
        full = self._object_key(key)
        with self._translate_errors(key):
            for version in versions:
                self._s3.delete_object(Bucket=self._bucket, Key=full, VersionId=version.id)
        self.forget(key)
        return len(versions)

    def forget(self, key: str) -> None:
        """Drops a blob from the cache of this machine."""
        self._checked.discard(key)
        if digest_from_key(key):
            with suppress(OSError):
                (self._cache / key).unlink(missing_ok=True)

    def _object_key(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _size_or_none(self, key: str) -> int | None:
        full = self._object_key(key)
        try:
            with self._translate_errors(key):
                return int(self._s3.head_object(Bucket=self._bucket, Key=full)["ContentLength"])
        except NotInStoreError:
            return None

    def _is_missing(self, key: str) -> bool:
        """Whether the listing lacks a key that the server refuses to read. AWS refuses missing keys, too, to who may list only a part."""
        full = self._object_key(key)
        try:
            found = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=full, MaxKeys=1).get("Contents", [])
        except (ClientError, BotoCoreError):
            return False  # refused as well
        return all(entry["Key"] != full for entry in found)

    @contextmanager
    def _translate_errors(self, key: str) -> Iterator[None]:
        """Turns the errors of boto3 into StoreError, with a cure."""
        where = f"{self.url} ({key})" if key else self.url
        try:
            yield
        except ClientError as e:
            raise self._build_response_error(e, key, where) from e
        except (BotoCoreError, Boto3Error) as e:
            if isinstance(e.__context__, ClientError):  # a failed transfer wraps the server's answer
                raise self._build_response_error(e.__context__, key, where) from e
            raise _build_connection_error(e, where) from e

    def _build_response_error(self, e: ClientError, key: str, where: str) -> StoreError:
        """The error for an answer of the server."""
        code = str(e.response.get("Error", {}).get("Code", ""))
        status = str(e.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        if code == "NoSuchBucket":
            return StoreError(
                f"there is no bucket {self._bucket!r}", where=where, cure="make the bucket, or correct AUDIOTUNE_STORE"
            )
        if code in _FULL or status == "507":
            return StoreError(
                "the store is full, nothing was half-stored", where=where, cure="free some space or raise the quota"
            )
        if code in _ABSENT:
            return build_missing_error(key, self.url)
        if code in _TAKEN:
            return AlreadyInStoreError("the key is taken", where=key, cure="read it again and decide anew")
        if code in _REFUSED or status in ("401", "403"):
            if e.operation_name in ("GetObject", "HeadObject") and self._is_missing(key):
                return build_missing_error(key, self.url)
            cure = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what that key may do with the bucket"
            return StoreError(f"the store refuses ({code})", where=where, cure=cure)
        return StoreError(f"the store failed ({code or status})", where=where, cure="look into the store's log and run again")


def create_s3_client() -> S3Client:
    """A client with path-style addresses, which servers behind one host name need; AUDIOTUNE_STORE_STYLE=virtual has the others.

    It waits long for an answer, but not for a connection.
    """
    style: Literal["path", "virtual"] = "virtual" if os.environ.get("AUDIOTUNE_STORE_STYLE") == "virtual" else "path"
    config = Config(
        s3={"addressing_style": style},
        retries={"mode": "standard", "max_attempts": 4},  # exponential backoff with jitter
        connect_timeout=2,
        read_timeout=60,
        max_pool_connections=16,
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return boto3.session.Session().client("s3", region_name=region, config=config)


def _describe_version(found: Mapping[str, Any], skip: int) -> ObjectVersion:
    return ObjectVersion(found["Key"][skip:], found["VersionId"], found["LastModified"], found.get("ETag"))


def _build_connection_error(e: Exception, where: str) -> StoreError:
    """The error for a request without an answer: no connection, no keys, a broken transfer."""
    name = type(e).__name__
    if "Credentials" in name or "ProfileNotFound" in name:
        return StoreError("there are no keys for the store", where=where, cure="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS itself"
    if any(word in name for word in ("Connect", "Timeout", "HTTPClient", "Proxy", "SSL", "ResponseStreaming")):
        cure = f"check that it runs and that AWS_ENDPOINT_URL_S3 names it (now: {endpoint})"
        return StoreError("the store does not answer", where=where, cure=cure)
    return StoreError(f"the store failed ({name}: {e})", where=where, cure=f"check AWS_ENDPOINT_URL_S3 (now: {endpoint})")


def _build_cache_error(e: OSError, path: Path) -> StoreError:
    return StoreError(
        f"the cache folder failed: {e.strerror}", where=str(path.parent), cure="free some space or set AUDIOTUNE_CACHE"
    )
