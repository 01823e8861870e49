"""The studio on a fresh installation: it starts before its bucket and its user are there, waits and says so, and opens then."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
from audiotune.store.layout import USERS
from tests.integration.minio import Minio, _free_port, server_or_skip

pytestmark = pytest.mark.integration
STORE = "s3://band"


@pytest.fixture
def minio(tmp_path: Path) -> Iterator[Minio]:
    with server_or_skip(tmp_path / "minio") as running:
        yield running


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A key for each user of the store, none of whom is there yet."""
    for user in USERS:
        folder = tmp_path / "keys" / user
        folder.mkdir(parents=True)
        (folder / "accesskey").write_text(f"{user}-key")
        (folder / "secretkey").write_text(f"a secret of {user}")
    return tmp_path / "keys"


def started(minio: Minio, keys: Path, folder: Path, wait_s: int) -> tuple[subprocess.Popen[bytes], str, Path]:
    """The process, its address and its log."""
    port, log = _free_port(), folder / "log"
    ours = {name: (keys / "studio" / file).read_text() for name, file in KEY_FILES.items()}
    flags = ["--store", STORE, "--port", str(port), "--work-folder", str(folder / "work"), "--store-wait-s", str(wait_s)]
    environment = {**os.environ, **minio.environment, **ours, "GRADIO_ANALYTICS_ENABLED": "False"}
    with log.open("wb") as out:
        command = [sys.executable, "-m", "services.studio", *flags]
        return (
            subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment),
            f"http://127.0.0.1:{port}/",
            log,
        )


KEY_FILES = {"AWS_ACCESS_KEY_ID": "accesskey", "AWS_SECRET_ACCESS_KEY": "secretkey"}


def test_it_waits_for_its_bucket_and_its_user_and_opens_then(minio: Minio, keys: Path, tmp_path: Path) -> None:
    process, url, log = started(minio, keys, tmp_path, wait_s=200)
    try:
        until(lambda: "waiting for the store" in log.read_text(), process, log)
        assert "the store refuses (InvalidAccessKeyId)" in log.read_text()
        flags = ["--store", STORE, "--users", str(keys)]
        environment = {**os.environ, **minio.environment}
        subprocess.run([sys.executable, "-m", "audiotune.store.bootstrap", *flags], env=environment, check=True, timeout=120)
        until(lambda: "The studio is open at" in log.read_text(), process, log)
        with urlopen(url, timeout=20) as page:
            assert page.status == 200
        assert "the store answers" in log.read_text()
    finally:
        process.terminate()
        ended = process.wait(90)
    assert ended == 0


def test_it_gives_up_with_the_stores_words(minio: Minio, keys: Path, tmp_path: Path) -> None:
    process, _, log = started(minio, keys, tmp_path, wait_s=3)
    assert process.wait(120) == 1
    output = log.read_text()
    assert "waiting for the store, 3 s at most" in output
    assert output.splitlines()[-1].startswith("studio: the store refuses (InvalidAccessKeyId)")
    assert "Traceback" not in output


def until(true: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while not true():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
