"""Uploads on the studio's disk: each member's own, bounded, found by no trick of path, and removed when they are used or old."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from services.studio.http.refusals import RequestRefusedError
from services.studio.http.upload_folder import UploadFolder


@pytest.fixture
def uploads(tmp_path: Path) -> UploadFolder:
    return UploadFolder(tmp_path / "files", 1000)


def put(uploads: UploadFolder, member: str, size: int, name: str = "a.wav", age_s: float = 0) -> Path:
    folder, room = uploads.open_request(member, size)
    assert room >= size
    (folder / "x.d").mkdir()
    path = folder / "x.d" / name
    path.write_bytes(bytes(size))
    for each in (path, path.parent, folder):
        os.utime(each, (time.time() - age_s,) * 2)
    return path


def test_an_upload_is_its_members_own_whatever_the_path_looks_like(uploads: UploadFolder, tmp_path: Path) -> None:
    hers, his = put(uploads, "ana", 10), put(uploads, "ben", 10)
    assert uploads.is_own(str(hers), "ana")
    (tmp_path / "link").symlink_to(uploads.root)
    tricks = [
        str(hers),
        f"{his.parent}/../../../ana/{hers.relative_to(uploads.root / 'ana')}",
        f"{tmp_path}/link/ana/{hers.relative_to(uploads.root / 'ana')}",
        str(hers).replace("/uploads/", "//uploads/./"),
        str(uploads.root),
        str(uploads.root / "ana"),
        "relative/a.wav",
        "http://198.51.100.1/a.wav",
        "/etc/passwd\0.wav",
        "",
    ]
    for path in tricks:
        assert not uploads.is_own(path, "ben"), path
        with pytest.raises(RequestRefusedError):
            uploads.require_own(path, "ben")
    assert not uploads.is_own(str(tmp_path / "files" / "cached.wav"), "ana")
    uploads.require_own(str(tmp_path / "files" / "cached.wav"), "ana")  # whether it may be had, Gradio decides


def test_where_nobody_signs_in_the_uploads_are_everybodys_and_no_members(uploads: UploadFolder) -> None:
    path = put(uploads, "", 10)
    assert uploads.is_own(str(path), "")
    assert not uploads.is_own(str(path), "ana")


def test_one_members_uploads_are_bounded_and_leave_the_others_alone(uploads: UploadFolder) -> None:
    put(uploads, "ana", 600)
    with pytest.raises(RequestRefusedError, match="would be more than") as refused:
        uploads.open_request("ana", 500)
    assert refused.value.status == 413
    assert put(uploads, "ana", 300).exists()
    assert put(uploads, "ben", 1000).exists()
    with pytest.raises(RequestRefusedError):
        uploads.open_request("ben", 0)  # without a length: there is no room for a byte
    assert len(list((uploads.root / "ana").iterdir())) == 2  # what was refused left nothing


def test_forgotten_uploads_make_room_after_an_hour(uploads: UploadFolder) -> None:
    old, young = put(uploads, "ana", 500, age_s=3700), put(uploads, "ana", 400, age_s=3500)
    new = put(uploads, "ana", 500)
    assert (old.exists(), young.exists(), new.exists()) == (False, True, True)


def test_a_full_disk_is_said_before_anything_is_read(uploads: UploadFolder, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(RequestRefusedError, match="disk is full") as refused:
        UploadFolder(tmp_path / "files", 10 * free).open_request("ana", free)
    assert refused.value.status == 507


def test_what_is_in_the_store_is_removed_and_nothing_else(uploads: UploadFolder, tmp_path: Path) -> None:
    kept, other = put(uploads, "ana", 10), tmp_path / "mine.wav"
    other.write_bytes(b"x")
    uploads.discard([kept, other])
    assert (kept.parent.parent.exists(), other.exists()) == (False, True)


def test_what_an_earlier_studio_left_is_removed_after_a_day(uploads: UploadFolder, tmp_path: Path) -> None:
    old, new = put(uploads, "ana", 10, age_s=90_000), put(uploads, "ben", 10)
    cached = tmp_path / "files" / "ab12" / "sound.wav"
    cached.parent.mkdir()
    cached.write_bytes(b"x")
    os.utime(cached, (0, 0))
    uploads.remove_left_over()
    assert (old.exists(), old.parent.parent.exists(), new.exists(), cached.exists()) == (False, False, True, False)
