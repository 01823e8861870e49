"""The S3 kind of store on a real server: one of its own, or the one that AUDIOTUNE_TEST_S3 names."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from audiotune.errors import DamagedBlobError, StoreError
from audiotune.store import open_store
from audiotune.store.s3 import S3Store
from tests.integration.minio import Minio, running_elsewhere, server_or_skip
from tests.store_conformance import StoreConformance

pytestmark = pytest.mark.integration
_numbers = itertools.count()


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    if found := running_elsewhere():
        yield found
        return
    with server_or_skip(tmp_path_factory.mktemp("minio")) as running:
        yield running


@pytest.fixture
def surroundings(minio: Minio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in minio.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def bucket(surroundings: None) -> Iterator[str]:
    """A new one, gone afterwards: the server may be somebody's."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    made = boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket=name)
    yield name
    made.objects.all().delete()
    made.delete()


@pytest.fixture
def store(bucket: str) -> S3Store:
    return S3Store(f"s3://{bucket}/group/one")


class TestS3Store(StoreConformance):
    def test_a_tampered_blob_is_not_handed_out(self, store: S3Store) -> None:
        key = store.put_blob(b"the true sound")
        store.put(key, b"another sound!")
        with pytest.raises(DamagedBlobError, match=key):
            store.fetch(key)

    def test_a_damaged_cache_is_mended(self, store: S3Store, bucket: str) -> None:
        key = store.put_blob(b"the true sound")
        store.fetch(key).write_bytes(b"rotten")
        assert S3Store(store.url).fetch(key).read_bytes() == b"the true sound"


def test_a_prefix_sees_only_its_own(bucket: str) -> None:
    one, two = S3Store(f"s3://{bucket}/one"), S3Store(f"s3://{bucket}/two")
    one.put("key", b"1")
    assert not two.exists("key")
    assert list(two.list("")) == []
    assert [e.key for e in S3Store(f"s3://{bucket}").list("")] == ["one/key"]


def test_a_listing_of_several_pages(bucket: str) -> None:
    store = S3Store(f"s3://{bucket}/many", page=10)
    for n in range(23):
        store.put(f"{n:05}", b"")
    boto3.client("s3", region_name="us-east-1").put_object(Bucket=bucket, Key="many/folder/", Body=b"")
    assert [e.key for e in store.list("")] == [f"{n:05}" for n in range(23)]


def test_a_large_upload_goes_in_parts(store: S3Store, bucket: str) -> None:
    key = store.put_blob(os.urandom(20 << 20))
    tag = boto3.client("s3", region_name="us-east-1").head_object(Bucket=bucket, Key=f"group/one/{key}")["ETag"]
    assert tag.strip('"').endswith("-2"), "20 MiB in parts of 16 MiB are two parts"


def test_a_fetched_blob_is_not_fetched_again(store: S3Store) -> None:
    key = store.put_blob(b"once")
    first = store.fetch(key)
    at = first.stat().st_mtime_ns
    assert store.fetch(key) == first
    assert S3Store(store.url).fetch(key).stat().st_mtime_ns == at


def test_no_bucket(surroundings: None) -> None:
    store = open_store("s3://never-made/prefix")
    with pytest.raises(StoreError, match=r"no bucket 'never-made'.*[Mm]ake the bucket"):
        store.put("key", b"1")
    with pytest.raises(StoreError, match="no bucket"):
        list(store.list(""))


def test_wrong_keys(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-wrong-wrong")
    store = S3Store(f"s3://{bucket}")
    with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY"):
        store.put("key", b"1")
    with pytest.raises(StoreError, match="refuses"):
        store.exists("key")
