"""An answer that is a sound file: whole, a part of it (Range), or its head alone (HEAD), under a name that a person can read.

Safari asks for the first two bytes before it plays anything, and every browser asks for parts when somebody moves in a sound.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

from fastapi import Request, Response

from audiotune.domain.generation import MEDIA_TYPES, GenerationRecord
from services.generation.http.problems import ProblemError
from services.generation.http.responses import headers_from_record

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)
_LONGEST_NAME = 60


def answer_sound(request: Request, record: GenerationRecord, size: int, read: Callable[[], bytes]) -> Response:
    """The answer to GET or HEAD of a kept sound (RFC 9110, section 14).

    Args:
        size: of the file, in bytes.
        read: gives the file; not called for HEAD.

    Raises:
        ProblemError: 416 for a range that begins behind the end.
    """
    headers = {**describe_file(record), "Accept-Ranges": "bytes", "ETag": f'"{record.sound}"'}
    kind = MEDIA_TYPES[record.format]
    if request.method == "HEAD":
        return Response(media_type=kind, headers={**headers, "Content-Length": str(size)})
    part = _find_part(request, size, headers["ETag"])
    if part is None:
        return Response(read(), media_type=kind, headers=headers)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return Response(read()[part.start : part.stop], 206, media_type=kind, headers=headers)


def describe_file(record: GenerationRecord) -> dict[str, str]:
    """The headers of a sound file: how it was made, and the name under which it is saved (RFC 6266)."""
    words, rest = _shorten_prompt(record.prompt), f"{record.seed}.{record.format}"
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().strip("-") or "sound"
    named = f"inline; filename=\"{plain}-{rest}\"; filename*=UTF-8''{quote(words, safe='')}-{rest}"
    return {**headers_from_record(record), "Content-Disposition": named}


def _shorten_prompt(prompt: str) -> str:
    """The first words of a prompt, of letters and digits only: safe in a header and as a name on every file system."""
    words, name = re.findall(r"\w+", unicodedata.normalize("NFC", prompt)), ""
    for word in words:
        if len(name) + len(word) > _LONGEST_NAME:
            break
        name = f"{name}-{word}" if name else word
    return name or (words[0][:_LONGEST_NAME] if words else "sound")


def _find_part(request: Request, size: int, tag: str) -> range | None:
    """The part that is asked for; None is the whole, also for several parts at once and for what is no range of bytes."""
    asked = request.headers.get("range", "")
    found = _RANGE.fullmatch(asked.strip())
    first, last = found.groups() if found else ("", "")
    if not (first or last) or (first and last and int(last) < int(first)) or request.headers.get("if-range", tag) != tag:
        return None
    begin = int(first) if first else max(0, size - int(last))
    if begin >= size or (not first and int(last) == 0):
        raise ProblemError(416, f"the sound has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return range(begin, min(int(last) + 1, size) if first and last else size)
