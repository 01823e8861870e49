"""Recognises what a file is by its first bytes: kinds of sound, and what people pass on by mistake, each with its cure.

The suffix is not used. Sources: the formats' own specifications and Gary Kessler's table of file signatures.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

from audiotune.audio.mpeg_frames import is_adts_start, is_mpeg_audio_start
from audiotune.errors import SoundError

_HEAD_BYTES = 1 << 16
_UNPACK = "unpack it, and pass the folder"
_EXPORT = "open it in an audio editor and export it as WAV"
_LINK = "take it away, and pass the file that it leads to"
_DSD = "convert it to WAV or FLAC at 48 or 96 kHz"


@dataclass(frozen=True)
class FileKind:
    """What a file is.

    Attributes:
        id: short name, as in "flac"; "" when the kind is not known.
        words: with its article, as in "a 7z archive".
        cure: of a kind without sound; empty for kinds that are decoded.
        demuxer: of FFmpeg, where its own guess from the content may fail.
        offset: where the kind's first byte is; an ID3v2 tag may be before it.
    """

    id: str = ""
    words: str = "a file of no known kind"
    cure: str = ""
    demuxer: str = ""
    offset: int = 0


# First bytes -> id, words, cure, demuxer.
_SIGNATURES: tuple[tuple[bytes, str, str, str, str], ...] = (
    (b"fLaC", "flac", "a FLAC file", "", "flac"),
    (b"OggS", "ogg", "an Ogg file", "", "ogg"),
    (b"caff", "caf", "a CAF file", "", ""),
    (b".snd", "au", "an AU file", "", ""),
    (b"wvpk", "wavpack", "a WavPack file", "", "wv"),
    (b"#!AMR", "amr", "an AMR voice memo", "", "amr"),
    (b"MAC ", "ape", "a Monkey's Audio file", "", "ape"),
    (b"TTA1", "tta", "a True Audio file", "", "tta"),
    (b"\x1a\x45\xdf\xa3", "matroska", "a Matroska or WebM file", "", ""),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf", "a Windows Media file", "", ""),
    (b"DSD ", "dsf", "a DSD recording (DSF)", _DSD, ""),
    (b"FRM8", "dff", "a DSD recording (DSDIFF)", _DSD, ""),
    (b"MThd", "midi", "a MIDI file: notes, not sound", "play it and record the sound", ""),
    (b"ADIF", "adif", "an AAC file of an old kind (ADIF)", _EXPORT, ""),
    (b"APETAGEX", "tag", "a tag without sound", "copy the file again", ""),
    (b"TAG", "tag", "a tag without sound", "copy the file again", ""),
    (b"tBaK", "tak", "a TAK file", _EXPORT, ""),
    (b"OFR ", "optimfrog", "an OptimFROG file", _EXPORT, ""),
    (b"MPCK", "musepack", "a Musepack file", _EXPORT, ""),
    (b"MP+", "musepack", "a Musepack file", _EXPORT, ""),
    (b"7z\xbc\xaf\x27\x1c", "7z", "a 7z archive", _UNPACK, ""),
    (b"Rar!\x1a\x07", "rar", "a rar archive", _UNPACK, ""),
    (b"BZh", "bzip2", "an archive packed with bzip2", _UNPACK, ""),
    (b"\xfd7zXZ\0", "xz", "an archive packed with xz", _UNPACK, ""),
    (b"\x28\xb5\x2f\xfd", "zstd", "an archive packed with zstd", _UNPACK, ""),
    (b"MSCF", "cab", "a cabinet archive", _UNPACK, ""),
    (b"%PDF", "pdf", "a PDF document", "take it away", ""),
    (b"\x89PNG", "picture", "a picture (PNG)", "take it away", ""),
    (b"\xff\xd8\xff", "picture", "a picture (JPEG)", "take it away", ""),
    (b"GIF8", "picture", "a picture (GIF)", "take it away", ""),
    (b"\xd0\xcf\x11\xe0", "office", "an old Office document", "take it away", ""),
    (b"\0\x05\x16\x07", "appledouble", "a Mac's side file (AppleDouble)", "take it away; the sound is in the file without ._", ""),
    (b"FLhd", "project", "an FL Studio project", "render it to WAV", ""),
    (b"FLdt", "project", "an FL Studio project", "render it to WAV", ""),
    (b"SIT!", "stuffit", "a StuffIt archive", _UNPACK, ""),
    (b"StuffIt", "stuffit", "a StuffIt archive", _UNPACK, ""),
    (b"\x04\x22\x4d\x18", "lz4", "an archive packed with lz4", _UNPACK, ""),
    (b"\x60\xea", "arj", "an arj archive", _UNPACK, ""),
    (b"Extended Module:", "tracker", "a tracker's module: notes and samples", _EXPORT, ""),
    (b"IMPM", "tracker", "a tracker's module: notes and samples", _EXPORT, ""),
    (b"L\0\0\0\x01\x14\x02\0", "link", "a Windows shortcut, not the file itself", _LINK, ""),
    (b"[InternetShortcut]", "link", "a link to an address, not the file itself", _LINK, ""),
    (b"[Desktop Entry]", "link", "a link, not the file itself", _LINK, ""),
    (b"-----BEGIN PGP", "encrypted", "an encrypted file", "decrypt it first", ""),
    (b"Salted__", "encrypted", "an encrypted file", "decrypt it first", ""),
    (b"bplist", "plist", "a Mac's property list", "take it away", ""),
    (b"MZ", "program", "a Windows program", "take it away", ""),
    (b"\x7fELF", "program", "a Linux program", "take it away", ""),
    (b"#EXTM3U", "playlist", "a playlist: names of files, not sound", "pass the files it names", ""),
    (b"version https://git-lfs", "lfs", "a pointer of Git LFS, not the file itself", "run git lfs pull", ""),
    (b"<REAPER_PROJECT", "project", "a Reaper project", "render it to WAV", ""),
)  # fmt: skip
_PAGES = (  # what a downloaded page says -> words, cure
    (b"dropbox", "a page of Dropbox instead of the file", "end the address with dl=1 instead of dl=0"),
    (b"quota", "a page that says the download quota is used up", "try again tomorrow, or make a copy of the file and share that"),
    (b"virus scan", "a page of Google Drive instead of the file", "pass gdrive:ID, or download it with a browser"),
    (b"password", "a page to sign in, instead of the file", "share the file with everybody who has the link"),
    (b"sign in", "a page to sign in, instead of the file", "share the file with everybody who has the link"),
    (b"log in", "a page to sign in, instead of the file", "share the file with everybody who has the link"),
    (b"login", "a page to sign in, instead of the file", "share the file with everybody who has the link"),
)


def recognise_file(path: Path) -> FileKind:
    """The kind of a file. Raises SoundError when the file is empty."""
    with path.open("rb") as file:
        head, offset = file.read(_HEAD_BYTES), 0
        if not head:
            raise SoundError("the file is empty", where=path.name, cure="copy it again from the recorder")
        while head[:3] == b"ID3" and len(head) > 10:
            # ID3v2: a size of four times seven bits; some programs leave zeros behind the tag, or write two tags
            step = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + (10 if head[5] & 0x10 else 0)
            file.seek(offset + step)
            following = file.read(_HEAD_BYTES)
            padding = len(following) - len(following.lstrip(b"\0"))
            if not following[padding:]:
                return FileKind("tag", "a tag without sound", "copy the file again")
            offset, head = offset + step + padding, following[padding:]
    kind = recognise_bytes(head)
    if offset and not kind.id:
        kind = FileKind("mp3", "an MP3 file", demuxer="mp3")  # a tag of that kind; the decoder finds the first frame
    return FileKind(kind.id, kind.words, kind.cure, kind.demuxer, offset)


def recognise_bytes(head: bytes) -> FileKind:
    """The kind of a file that begins with these bytes (some kilobytes; only the first are needed for most kinds)."""
    form = head[8:12]
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX"):
        return {
            b"WAVE": FileKind("wav", "a WAV file"),
            b"AVI ": FileKind("avi", "an AVI film"),
            b"RMID": FileKind("midi", "a MIDI file: notes, not sound", "play it and record the sound"),
            b"WEBP": FileKind("picture", "a picture (WebP)", "take it away"),
            b"sfbk": FileKind("soundfont", "a SoundFont: samples of an instrument", _EXPORT),
            b"NUND": FileKind("project", "a Cubase project", "export it as WAV"),
        }.get(form, FileKind("riff", "a RIFF file of another kind"))
    if head[:4] == b"FORM" and form in (b"AIFF", b"AIFC"):
        return FileKind("aiff", "an AIFF file")
    if head[:4] == b"riff" and head[4:8] == b"\x2e\x91\xcf\x11":
        return FileKind("w64", "a Wave64 file")
    if head[4:8] == b"ftyp" and form in (b"heic", b"heix", b"mif1", b"avif"):
        return FileKind("picture", "a picture (HEIF)", "take it away")
    if head[:6] == b"bplist" and b"NSURLNameKey" in head:
        return FileKind(
            "icloud", "a placeholder of iCloud, not the file itself", "open its folder in Finder and download the file"
        )
    if head[2:5] == b"-lh" and head[6:7] == b"-":
        return FileKind("lzh", "an lzh archive", _UNPACK)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free") and head[:1] == b"\0":
        return FileKind("mov", "an MP4 or M4A file")
    for signature, id, words, cure, demuxer in _SIGNATURES:
        if head.startswith(signature):
            return FileKind(id, words, cure, demuxer)
    if is_adts_start(head):
        return FileKind("adts", "an AAC stream", demuxer="aac")
    if is_mpeg_audio_start(head):
        return FileKind("mp3", "an MP3 file", demuxer="mp3")
    return _recognise_packed(head) or _recognise_text(head) or FileKind()


def _recognise_packed(head: bytes) -> FileKind | None:
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        if b"[Content_Types].xml" in head or b"mimetypeapplication/vnd.oasis" in head:
            return FileKind("office", "an Office document", "take it away; save a table as CSV")
        return FileKind("zip", "a zip archive", f"{_UNPACK}, or pass the zip itself as the source")
    if head[257:262] == b"ustar":
        return FileKind("tar", "a tar archive", _UNPACK)
    if head[:2] == b"\x1f\x8b":
        inside = _unpack_start(head)
        if inside[257:262] == b"ustar":
            return FileKind("tar.gz", "a tar archive, packed with gzip", _UNPACK)
        if b"<Ableton" in inside:
            return FileKind("project", "an Ableton Live set", "export its tracks as WAV")
        return FileKind("gzip", "a file packed with gzip", "unpack it, and pass what is inside")
    if head[:15] == b"SQLite format 3":
        if head[68:72] == b"AUDY":
            return FileKind("project", "an Audacity project", "export it as WAV")
        return FileKind("database", "a database", "take it away")
    if len(head) > 512 and not head.strip(b"\0"):
        return FileKind("zeros", "only zeros: a copy that was never finished, or lies in a cloud", "download or copy it again")
    return None


def _unpack_start(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(head, 4096)
    except zlib.error:
        return b""


def _recognise_text(head: bytes) -> FileKind | None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = head.decode("utf-16", "replace").encode()
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1024].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<script")) or b"<html" in start:
        said = head.lower()
        for sign, words, cure in _PAGES:
            if sign in said:
                return FileKind("html", words, cure)
        return FileKind(
            "html", "a web page instead of the file", "open the address in a browser and pass on that of the file itself"
        )
    if start.startswith(b"<?xml"):
        if b"audacityproject" in start or b"<session version=" in start:
            return FileKind("project", "a project of Audacity or Ardour", "export it as WAV")
        if b"<error>" in start and b"<code>" in start:
            return FileKind("xml", "the answer of a server that refuses", "ask for a new address, or for the right to read it")
        if b"<key>url</key>" in start:
            return FileKind("link", "a link to an address, not the file itself", _LINK)
        return FileKind("xml", "an XML document", "take it away")
    try:
        text = head[:4096].decode("utf-8-sig")
    except UnicodeDecodeError as e:
        text = head[: e.start].decode("utf-8", "replace") if e.start > len(head[:4096]) - 4 else "\0"
    if text and all(letter.isprintable() or letter in "\t\n\r\f" for letter in text):
        if start.startswith((b"data:audio/", b"data:application/octet-stream;base64")) or start.startswith(
            (b"uklgr", b"zkxhq", b"t2dnu")
        ):
            return FileKind("base64", "a sound written as text (base64)", "save the sound itself as a file")
        return FileKind("text", "a text", "take it away, or give it the suffix .txt")
    return None
