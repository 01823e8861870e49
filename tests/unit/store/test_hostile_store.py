"""Stores that are full, unreachable, tampered with or interrupted: the error names the cure, and nothing is half-stored."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from audiotune.errors import DamagedBlobError, NotInStoreError, StoreError
from audiotune.store import FolderStore, compute_digest

# A file-size limit makes writes fail in the middle, as a full disk does; it needs no rights and ends with its process.
_FULL_DISK = """
import errno, os, resource, signal, sys
from pathlib import Path
from audiotune.errors import StoreError
from audiotune.store import FolderStore

store = FolderStore(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
for act in (lambda: store.put("key", b"0" * (3 << 20)), lambda: store.put_blob(b"1" * (3 << 20), ".wav")):
    try:
        act()
    except StoreError as e:
        print(e)
    else:
        sys.exit("it was stored")
"""


def test_a_disk_that_fills_while_writing(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_FULL_DISK), str(tmp_path / "store")], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("the store failed: File too large") == 2
    store = FolderStore(tmp_path / "store")
    assert list(store.list("")) == []
    assert list((store.root / ".parts").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        sys.platform == "linux" and os.geteuid() == 0 and not _run("mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder))
    )
    if not mounted:
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield folder
    _run("umount", str(folder))


def _run(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_a_full_disk(small_disk: Path) -> None:
    store = FolderStore(small_disk / "store")
    store.put("before", b"kept")
    with pytest.raises(StoreError, match=r"disk is full.*[Ff]ree some space"):
        store.put_blob(os.urandom(8 << 20), ".wav")
    assert [e.key for e in store.list("")] == ["before"]
    store.put("after", b"there is room again: nothing was left behind")


def test_a_tampered_blob(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    key = store.put_blob(b"the true sound", ".flac")
    (tmp_path / key).write_bytes(b"another sound!")
    with pytest.raises(DamagedBlobError, match=rf"{compute_digest(b'the true sound')}.*backup"):
        store.fetch(key)


def test_a_half_written_part_is_invisible(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    (tmp_path / ".parts" / "tmp1234").write_bytes(b"half of a so")
    assert list(store.list("")) == []
    with pytest.raises(NotInStoreError):
        store.get("tmp1234")


def test_a_writer_killed_in_the_middle_leaves_no_key(tmp_path: Path) -> None:
    script = f"""
    import os, signal
    from pathlib import Path
    from audiotune.store import FolderStore
    store = FolderStore(Path({str(tmp_path)!r}))
    part = store._write_temporary_file(b"x" * 1000, "key")
    os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ended.returncode == -9
    assert not FolderStore(tmp_path).exists("key")
    assert list(FolderStore(tmp_path).list("")) == []


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError):
        FolderStore(tmp_path / "file" / "store")


# ---- S3 ----


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "cache"))


def test_a_dead_server_is_reported_soon(surroundings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiotune.store.s3 import S3Store

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    store = S3Store("s3://bucket")
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"does not answer.*AWS_ENDPOINT_URL_S3.*127\.0\.0\.1:9"):
        store.put("key", b"1")
    assert time.monotonic() - began < 15


def test_no_keys(surroundings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiotune.store.s3 import S3Store

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="no keys.*AWS_ACCESS_KEY_ID"):
        S3Store("s3://bucket").get("key")


class _Fake(BaseHTTPRequestHandler):
    """A server that gives one answer to everything."""

    status, body = 507, b""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_PUT = do_GET = _answer

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _serve(handler: type[_Fake]) -> HTTPServer:
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


class _Full(_Fake):
    body = b"<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free drive threshold.</Message></Error>"


class _NoStore(_Fake):
    status, body = 200, b"a web page, no store"


@pytest.mark.parametrize(("handler", "words"), [(_Full, "full.*[Ff]ree some space"), (_NoStore, "store failed")])
def test_a_server_in_trouble(handler: type[_Fake], words: str, surroundings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiotune.store.s3 import S3Store

    server = _serve(handler)
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        store = S3Store("s3://bucket")
        with pytest.raises(StoreError, match=words):
            store.put_blob(b"sound", ".flac") if handler is _Full else list(store.list(""))
    finally:
        server.shutdown()


class _LikeAws(_Fake):
    """Refuses every object, and lists one key: so AWS answers for a missing key to who may list only some prefixes."""

    status = 403
    body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"

    def do_GET(self) -> None:
        if "list-type=2" not in self.path:
            self._answer()
            return
        found = "<Contents><Key>access/tokens/there.json</Key><Size>1</Size></Contents>" if "there" in self.path else ""
        body = f"<ListBucketResult>{found}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_missing_key_that_the_server_refuses_is_missing(surroundings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiotune.store.s3 import S3Store

    server = _serve(_LikeAws)
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        store = S3Store("s3://bucket")
        assert not store.exists("access/tokens/none.json")
        with pytest.raises(NotInStoreError):
            store.get("access/tokens/none.json")
        with pytest.raises(StoreError, match="the store refuses"):
            store.get("access/tokens/there.json")
        with pytest.raises(StoreError, match="the store refuses"):
            store.put("access/tokens/none.json", b"1")
    finally:
        server.shutdown()
