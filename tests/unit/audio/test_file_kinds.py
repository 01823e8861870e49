"""What a file is: known by its first bytes, named in words, with a cure where it holds no sound."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from audiotune.audio.decode import open_sound
from audiotune.audio.file_kinds import recognise_bytes, recognise_file
from audiotune.errors import SoundError
from tests.fakes.foreign_sounds import wave, write_wav, write_with_av


def pack_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("take.wav", b"RIFF")
    return out.getvalue()


def pack_office() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("[Content_Types].xml", "<Types/>")
    return out.getvalue()


def pack_tar(mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as packed:  # type: ignore[call-overload]
        packed.addfile(tarfile.TarInfo("take.wav"))
    return out.getvalue()


OTHERS = {
    "zip": (pack_zip(), "zip archive", "unpack it"),
    "tar": (pack_tar("w"), "tar archive", "unpack it"),
    "tar.gz": (pack_tar("w:gz"), "tar archive, packed with gzip", "unpack it"),
    "tar.xz": (pack_tar("w:xz"), "packed with xz", "unpack it"),
    "tar.bz2": (pack_tar("w:bz2"), "packed with bzip2", "unpack it"),
    "gz": (gzip.compress(b"RIFF" + bytes(1000)), "packed with gzip", "unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(100), "7z archive", "unpack it"),
    "rar": (b"Rar!\x1a\x07\x01\0" + bytes(100), "rar archive", "unpack it"),
    "office": (pack_office(), "Office document", "CSV"),
    "page": (b"<!DOCTYPE html><html><title>404</title></html>", "web page", "address"),
    "dropbox": (b"\n <html><head><title>Dropbox - take.wav</title>", "page of Dropbox", "dl=1"),
    "quota": (b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>", "quota", "tomorrow"),
    "sign-in": (b"<html><body><form><input type=password></form></body></html>", "sign in", "share the file"),
    "DSF": (b"DSD \x1c\0\0\0\0\0\0\0" + bytes(100), "DSD recording", "convert it"),
    "DFF": (b"FRM8\0\0\0\0\0\0\0\0DSD " + bytes(100), "DSD recording", "convert it"),
    "MIDI": (b"MThd\0\0\0\6" + bytes(50), "MIDI", "record the sound"),
    "PDF": (b"%PDF-1.7\n", "PDF", "take it away"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
    "Live set": (gzip.compress(b'<?xml version="1.0"?><Ableton MajorVersion="5">'), "Ableton", "export"),
    "cloud": (bytes(5000), "only zeros", "again"),
    "iCloud": (b"bplist00" + b"\xd1\x01\x02_NSURLNameKey".replace(b"_", b"") + b"take.wav", "placeholder of iCloud", "Finder"),
    "shortcut": (b"L\0\0\0\x01\x14\x02\0" + bytes(80), "Windows shortcut", "leads to"),
    "address": (b"[InternetShortcut]\r\nURL=https://band.example/take.wav\r\n", "link to an address", "leads to"),
    "webloc": (b'<?xml version="1.0"?><plist><dict><key>URL</key></dict></plist>', "link to an address", "leads to"),
    "S3": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "server that refuses", "new address"),
    "UTF-16 page": ("\ufeff<!DOCTYPE html><title>Sign in</title>".encode("utf-16-le"), "page to sign in", "share"),
    "base64": (b"UklGRiQAAABXQVZF" * 40, "written as text", "save the sound"),
    "FL Studio": (b"FLhd\6\0\0\0" + bytes(40), "FL Studio", "WAV"),
    "Cubase": (b"RIFX\0\0\1\0NUNDROOT" + bytes(40), "Cubase", "WAV"),
    "Audacity 2": (b'<?xml version="1.0"?><!DOCTYPE project PUBLIC "-//audacityproject-1.3.0//DTD//EN">', "Audacity", "WAV"),
    "picture": (b"\0\0\0\x1cftypheic" + bytes(40), "picture", "take it away"),
    "SoundFont": (b"RIFF\0\0\1\0sfbkLIST" + bytes(40), "SoundFont", "WAV"),
    "StuffIt": (b"SIT!" + bytes(80), "StuffIt", "unpack"),
    "lzh": (b"\x20\x20-lh5-" + bytes(80), "lzh", "unpack"),
    "GnuPG": (b"-----BEGIN PGP MESSAGE-----\n", "encrypted", "decrypt"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_holds_no_sound_is_named_with_its_cure(tmp_path: Path, kind: str) -> None:
    content, words, cure = OTHERS[kind]
    (tmp_path / "take.wav").write_bytes(content)
    with pytest.raises(SoundError) as e, open_sound(tmp_path / "take.wav"):
        pass
    assert words in e.value.what
    assert cure in e.value.cure


@pytest.mark.parametrize("text", ["Read me first.\n", "Zuerst lesen: größer – 夜\n" * 500])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_is_a_text(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "README").write_text(text, encoding=encoding)
    with pytest.raises(SoundError, match="this is a text, no sound file"), open_sound(tmp_path / "README"):
        pass


@pytest.mark.parametrize(("codec", "container", "id"), [("wavpack", "wv", "wavpack"), ("tta", "tta", "tta")])
def test_rarer_lossless_kinds_are_decoded(tmp_path: Path, codec: str, container: str, id: str) -> None:
    path = write_with_av(tmp_path / "take.wav", codec, container)
    assert recognise_file(path).id == id
    with open_sound(path) as file:
        assert sum(len(block) for block in file.blocks) == len(wave())


@pytest.mark.parametrize("start", [b"wvpk", b"TTA1", b"MAC "])
def test_what_only_looks_like_a_sound_is_named(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "take.wav").write_bytes(start + bytes(200))
    with pytest.raises(SoundError, match="this looks like a"), open_sound(tmp_path / "take.wav"):
        pass


@pytest.mark.parametrize(
    ("format", "subtype", "id"),
    [("WAV", "PCM_16", "wav"), ("RF64", "PCM_16", "wav"), ("AIFF", "PCM_16", "aiff"), ("CAF", "PCM_16", "caf"),
     ("FLAC", "PCM_16", "flac"), ("OGG", "VORBIS", "ogg"), ("MP3", "MPEG_LAYER_III", "mp3"), ("AU", "PCM_16", "au")],
)  # fmt: skip
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x02\0" + bytes(256)])
def test_sounds(tmp_path: Path, format: str, subtype: str, id: str, tag: bytes) -> None:
    path = write_wav(tmp_path / "take.txt", format=format, subtype=subtype)
    path.write_bytes(tag + path.read_bytes())
    kind = recognise_file(path)
    assert (kind.id, kind.cure, kind.offset) == (id, "", len(tag))


def test_one_frame_by_chance_is_no_mp3() -> None:
    assert recognise_bytes(b"\xff\xfb\x90\x00" + bytes(2000)).id == ""
