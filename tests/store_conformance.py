"""What every kind of store must do: one suite, run on the folder kind (unit) and on a real S3 server (integration).

A test module subclasses `StoreConformance` and gives it a fixture `store`: an empty store of its kind.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audiotune.errors import AlreadyInStoreError, NotInStoreError, StoreError
from audiotune.store import Store, blob_key, compute_digest, open_store

ODD_KEYS = [
    "a b/c d.json",
    "ünïcode/ключ/鍵.txt",
    "plus+and&amp=?#%41.bin",
    "deep/" + "x/" * 40 + "end",
    "..hidden/...",
    "a/.dot",
]
NO_KEYS = ["", "/absolute", "../up", "a/../b", "a/..", "./a", "a/./b", "a\\..\\b", "a\x00b", "a\nb", "k" * 1000]


class StoreConformance:
    def test_what_is_put_comes_back(self, store: Store) -> None:
        store.put("folder/key.bin", b"\x00\xff bytes")
        assert store.get("folder/key.bin") == b"\x00\xff bytes"
        assert store.exists("folder/key.bin")
        assert store.size("folder/key.bin") == 8

    def test_put_replaces(self, store: Store) -> None:
        store.put("key", b"old")
        store.put("key", b"new and longer")
        assert store.get("key") == b"new and longer"

    def test_a_file_is_put_and_downloaded(self, store: Store, tmp_path: Path) -> None:
        large, copy = tmp_path / "large", tmp_path / "copy"
        large.write_bytes(os.urandom(17 << 20))  # more than one part of an upload
        store.upload("folder/large.bin", large)
        store.download("folder/large.bin", copy)
        assert copy.read_bytes() == large.read_bytes()
        large.write_bytes(b"another content")
        store.upload("folder/large.bin", large)
        assert store.get("folder/large.bin") == b"another content"
        with pytest.raises(NotInStoreError, match="nothing/here"):
            store.download("nothing/here", copy)

    def test_empty_content_is_content(self, store: Store) -> None:
        store.put("empty", b"")
        assert store.get("empty") == b""
        assert store.size("empty") == 0

    def test_absent_keys(self, store: Store) -> None:
        assert not store.exists("nothing/here")
        for ask in (store.get, store.size, store.fetch):
            with pytest.raises(NotInStoreError, match="nothing/here"):
                ask("nothing/here")

    def test_a_folder_is_no_key(self, store: Store) -> None:
        store.put("folder/key", b"1")
        assert not store.exists("folder")
        with pytest.raises(NotInStoreError):
            store.get("folder")

    def test_delete(self, store: Store) -> None:
        store.put("key", b"1")
        store.delete("key")
        assert not store.exists("key")
        store.delete("key")

    def test_only_new_refuses_a_taken_key(self, store: Store) -> None:
        store.put("ledger/1", b"first", only_new=True)
        with pytest.raises(AlreadyInStoreError, match="ledger/1"):
            store.put("ledger/1", b"second", only_new=True)
        assert store.get("ledger/1") == b"first"

    def test_only_new_has_one_winner_among_many_writers(self, store: Store) -> None:
        won, lost, others = [], [], []
        start = threading.Barrier(8)

        def write(n: int) -> None:
            start.wait()
            try:
                store.put("race", f"writer {n}".encode(), only_new=True)
                won.append(n)
            except AlreadyInStoreError:
                lost.append(n)
            except Exception as e:
                others.append(e)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not others
        assert len(won) == 1
        assert len(lost) == 7
        assert store.get("race") == f"writer {won[0]}".encode()

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_keys_are_keys(self, store: Store, key: str) -> None:
        store.put(key, key.encode())
        assert store.get(key) == key.encode()
        assert [entry.key for entry in store.list(key)] == [key]
        assert store.fetch(key).read_bytes() == key.encode()

    @pytest.mark.parametrize("key", NO_KEYS)
    def test_traversal_and_nonsense_are_refused(self, store: Store, key: str) -> None:
        for ask in (store.get, store.exists, store.size, store.fetch, store.delete, lambda k: store.put(k, b"x")):
            with pytest.raises(StoreError):
                ask(key)

    def test_a_listing_cannot_leave_the_store(self, store: Store) -> None:
        with pytest.raises(StoreError):
            list(store.list("../"))

    def test_list_by_prefix_in_key_order(self, store: Store) -> None:
        for key in ("b/2", "b/10", "a", "b/1/x", "bc", "c/1"):
            store.put(key, key.encode())
        assert [e.key for e in store.list("")] == ["a", "b/1/x", "b/10", "b/2", "bc", "c/1"]
        assert [e.key for e in store.list("b/")] == ["b/1/x", "b/10", "b/2"]
        assert [e.key for e in store.list("b")] == ["b/1/x", "b/10", "b/2", "bc"]
        assert list(store.list("zzz/")) == []
        assert [e.key for e in store.list("b/", after="b/1/x")] == ["b/10", "b/2"]
        assert [e.key for e in store.list("b", after="b/10")] == ["b/2", "bc"], "the key itself need not be there"
        assert [e.key for e in store.list("b/", after="b/15")] == ["b/2"]
        assert list(store.list("b/", after="b/2")) == []
        entry = next(iter(store.list("b/10")))
        assert entry.size == 4
        assert abs(datetime.now(UTC) - entry.modified) < timedelta(minutes=5)

    def test_blobs_are_named_by_content(self, store: Store, tmp_path: Path) -> None:
        file = tmp_path / "sound.flac"
        file.write_bytes(b"fLaC sound")
        key = store.put_blob(file, ".flac")
        assert key == blob_key(compute_digest(b"fLaC sound"), ".flac")
        assert store.put_blob(b"fLaC sound", ".flac") == key
        assert store.fetch(key).read_bytes() == b"fLaC sound"
        assert [e.key for e in store.list("blobs/")] == [key]

    def test_a_blob_that_is_there_is_not_written_again(self, store: Store) -> None:
        key = store.put_blob(b"content" * 100)
        before = next(iter(store.list(key))).modified
        store.put_blob(b"content" * 100)
        assert next(iter(store.list(key))).modified == before

    def test_a_cut_blob_is_mended_by_putting_it_again(self, store: Store) -> None:
        key = store.put_blob(b"whole content")
        store.put(key, b"whole")
        assert store.put_blob(b"whole content") == key
        assert store.get(key) == b"whole content"

    def test_a_large_blob(self, store: Store, tmp_path: Path) -> None:
        content = os.urandom(20 << 20)
        file = tmp_path / "take.wav"
        file.write_bytes(content)
        key = store.put_blob(file, ".wav")
        assert store.size(key) == len(content)
        assert compute_digest(store.fetch(key)) == compute_digest(content)
        assert store.put_blob(content[: 17 << 20]) != key

    def test_an_odd_suffix_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="suffix"):
            store.put_blob(b"x", ".a/../b")

    def test_fetch_of_a_changed_key_is_the_new_content(self, store: Store) -> None:
        store.put("mutable.json", b"one")
        assert store.fetch("mutable.json").read_bytes() == b"one"
        store.put("mutable.json", b"two!")
        assert store.fetch("mutable.json").read_bytes() == b"two!"

    def test_the_url_opens_the_same_store(self, store: Store) -> None:
        store.put("key", b"through the url")
        assert open_store(store.url).get("key") == b"through the url"
