"""Files in JSON: base64 on one line or wrapped, as programs write it, or behind the head of a data: address (RFC 2397)."""

from __future__ import annotations

import binascii
import re
from contextlib import suppress

_DATA_HEAD = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/ \t\r\n]*+(?:=[ \t\r\n]*+){0,2}")


def decode_base64_file(text: str) -> bytes:
    """The bytes of a file. Raises ValueError, which says what is wrong and what to send."""
    head = _DATA_HEAD.match(text)
    begin = head.end() if head else 0
    if _BASE64.fullmatch(text, begin):
        with suppress(binascii.Error):  # its length or its padding does not fit
            return binascii.a2b_base64(text[begin:])
    if text[:5].lower() == "data:" and not head:
        raise ValueError("a data: address without `;base64,`. Send data:audio/wav;base64,... or the base64 alone")
    raise ValueError("no base64. Send the bytes of a sound file as base64, or the file itself in a form")
