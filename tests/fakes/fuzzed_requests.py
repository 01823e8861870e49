"""Requests to the generation service that nobody would write: fields in and out of bounds, torn bodies, odd headers, paths and queries.

Most are nearly right, because only those get behind the first check. Which routes there are is said by the application's own OpenAPI
document.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import numpy as np
import soundfile as sf
from hypothesis import strategies as st

HIDDEN = (("get", "/livez"), ("get", "/readyz"), ("get", "/metrics"), ("get", "/openapi.json"), ("get", "/docs"))
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")
MADE = b"f" * 64  # stands for the digest of a sound that was made
_JOBS = [f"fuzz-job-{number:03d}" for number in range(40)]


@dataclass(frozen=True)
class FuzzedRequest:
    """`path`: with its query, percent-encoded or raw bytes."""

    method: str
    path: bytes
    headers: tuple[tuple[str, bytes], ...]
    body: bytes


def _encode_sound(channels: int, rate_hz: int, format: str, frames: int = 800, value: float = 0.1) -> bytes:
    out = io.BytesIO()
    sf.write(out, np.full((frames, channels), value, np.float32), rate_hz, format=format, subtype="FLOAT" if value > 1 else None)
    return out.getvalue()


SOUNDS = [
    *(_encode_sound(channels, rate_hz, "WAV") for channels, rate_hz in ((1, 8000), (2, 44_100), (6, 48_000), (9, 48_000), (1, 999))),
    *(_encode_sound(2, 44_100, format) for format in ("FLAC", "AIFF", "CAF", "W64", "AU", "RF64", "MP3")),
    _encode_sound(1, 44_100, "OGG", 8000), _encode_sound(1, 44_100, "WAV", 0),
    _encode_sound(1, 44_100, "WAV", 800, 1e30), _encode_sound(1, 44_100, "WAV", 800, float("nan")), b"RIFF", b"", b"\x00" * 50,
]  # fmt: skip
_words = st.one_of(
    st.sampled_from(["a drone", "x", "ключ", "\x00", "🎵" * 20, "a" * 1001, "../../etc/passwd", "{{7*7}}"]), st.text(max_size=40)
)
_numbers = st.one_of(
    st.floats(0.02, 0.3),
    st.integers(1, 8),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.sampled_from([0, -1, 1e308, 5e-324]),
)
_odd = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, _words),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)


def _torn(data: bytes, cut: int, byte: int) -> bytes:
    """A file with one byte changed, or without its end."""
    at = cut % (len(data) + 1)
    return data[:at] + bytes([byte]) + data[at + 1 :] if byte else data[:at]


SOUND_FILES = st.one_of(
    st.sampled_from(SOUNDS), st.builds(_torn, st.sampled_from(SOUNDS), st.integers(0, 3000), st.integers(0, 255))
)
_base64 = st.one_of(SOUND_FILES.map(lambda data: base64.b64encode(data).decode()), _words)
_adapter = st.fixed_dictionaries(
    {"release": st.sampled_from(["grit", "tape@champion", "grit:1", "nobody"])}, optional={"strength": _numbers}
)
_fitting: dict[str, st.SearchStrategy[Any]] = {
    "prompt": _words,
    "negative_prompt": _words,
    "seconds": st.floats(0.02, 0.3),
    "bpm": st.floats(60, 300),
    "time_signature": st.sampled_from(["4/4", "3/8", "1/32"]),
    "bars": st.floats(0.01, 0.2),
    "key": st.sampled_from(["A minor", "F#", "H", "c♯ dorian"]),
    "steps": st.integers(1, 5),
    "guidance": st.floats(0, 30),
    "seed": st.integers(0, 2**31 - 1),
    "sampler": st.sampled_from(["euler", "dpmpp-3m-sde", "none"]),
    "count": st.integers(1, 3),
    "init_audio": _base64,
    "init_strength": st.floats(0.01, 1),
    "init_sound": st.sampled_from(["0" * 64, MADE.decode()]),
    "inpaint_start_s": st.floats(0, 0.2),
    "inpaint_end_s": st.floats(0, 0.3),
    "extend_s": st.floats(0, 0.3),
    "loop": st.booleans(),
    "loudness_lufs": st.floats(-60, -5),
    "bit_depth": st.sampled_from([16, 24, 32, 8]),
    "format": st.sampled_from(["wav", "flac", "ogg", "mp3", "opus", "exe"]),
    "release": st.sampled_from(["patch-bay", "nobody", "../x"]),
    "adapters": st.lists(_adapter, max_size=3),
}


@st.composite
def _fields(draw: st.DrawFn) -> dict[str, Any]:
    """A request's fields: usually each may be, sometimes one is of another kind or unknown."""
    names = draw(st.lists(st.sampled_from(sorted(_fitting)), max_size=5, unique=True))
    found = {"prompt": "a drone", "seconds": 0.05, "steps": 2} | {name: draw(_fitting[name]) for name in names}
    if draw(st.integers(0, 2)) == 0:
        found[draw(st.sampled_from([*sorted(_fitting), "__class__", "", "made_up"]))] = draw(_odd)
    for name in draw(st.lists(st.sampled_from(["prompt", "seconds", "steps"]), max_size=1)):
        found.pop(name, None)
    return found


def _make_form(fields: dict[str, Any], file: bytes, boundary: str, end: str) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode("utf-8", "replace")
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="init_audio"; filename="a.wav"\r\n\r\n'.encode()
    return b"".join(parts) + head + file + f"\r\n--{boundary}{end}".encode()


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """(content type, body)."""
    kind = draw(st.sampled_from(["json", "json", "json", "json", "torn", "form", "odd", "bytes", "none"]))
    if kind == "form":
        body = _make_form(draw(_fields()), draw(SOUND_FILES), "x", draw(st.sampled_from(["--\r\n", "--", "", "\r\n"])))
        return draw(
            st.sampled_from(["multipart/form-data; boundary=x", "multipart/form-data; boundary=y", "multipart/form-data"])
        ), body
    if kind in ("bytes", "none"):
        types = ["application/json", "multipart/form-data; boundary=x", "text/plain", "", "application/json; charset=utf-16"]
        return draw(st.sampled_from(types)), draw(st.binary(max_size=200)) if kind == "bytes" else b""
    text = json.dumps(draw(_odd if kind == "odd" else _fields()), ensure_ascii=draw(st.booleans())).encode(
        "utf-8", "surrogatepass"
    )
    if kind == "torn":
        text = _torn(text, draw(st.integers(0, 3000)), draw(st.integers(0, 255)))
    return "application/json", text


def _odd_headers() -> st.SearchStrategy[list[tuple[str, bytes]]]:
    values = st.one_of(
        st.sampled_from(
            [b"*/*", b"audio/flac", b"application/json", b"audio/mpeg;q=nan, audio/wav;q=2", b"image/png", b";;;,,,", b"a/b;q="]
        ),
        st.sampled_from(
            [b"respond-async", b"respond-async, wait=0", b"respond-async;wait=99999", b"wait=1", b"respond-async, wait=-1"]
        ),
        st.binary(max_size=30).map(lambda data: bytes(byte for byte in data if byte >= 32 and byte != 127).strip(b" \t")),
    )
    names = st.sampled_from(
        ["accept", "accept", "prefer", "prefer", "x-forwarded-for", "range", "if-none-match", "expect", "accept-encoding", "origin",
         "x-mlflow-signature", "x-mlflow-timestamp", "x-mlflow-delivery-id", "content-encoding", "cookie"]
    )  # fmt: skip
    return st.lists(st.tuples(names, values), max_size=3)


@st.composite
def fuzz_requests(draw: st.DrawFn, routes: Sequence[tuple[str, str]], tokens: Sequence[str]) -> FuzzedRequest:
    """Requests to the routes, (method, path template), with one of the tokens, or one that is none."""
    method, template = draw(st.sampled_from(routes))
    segment = st.one_of(
        st.sampled_from([*_JOBS, *_JOBS, "0" * 64, MADE.decode(), "..", "%2e%2e", "a" * 300, "%00", "%ff", "", "a%2fb"]),
        st.binary(max_size=20).map(quote_from_bytes),
    )
    path = re.sub(r"{\w+}", lambda _: draw(segment), template)
    names = st.sampled_from(["limit", "before", "webhook", "wait", "x"])
    values = st.one_of(
        st.sampled_from(
            [
                "1",
                "100",
                "0",
                "-1",
                "1e9",
                "https://127.0.0.1/x",
                "http://[::1]/",
                "https://[",
                "20260101T000000000000.fuzz-job-001",
            ]
        ),
        st.text(max_size=12),
    )
    query = draw(
        st.one_of(
            st.just(""), st.lists(st.tuples(names, values), max_size=3).map(lambda found: urlencode(found, errors="replace"))
        )
    )
    content_type, body = draw(_bodies()) if method in ("post", "put") or draw(st.integers(0, 9)) == 0 else ("", b"")
    headers = [*draw(_odd_headers()), *([("content-type", content_type.encode())] if content_type else [])]
    token = draw(st.sampled_from([*tokens, *tokens, *tokens, "at_0_0", ""]))
    headers += [("authorization", f"Bearer {token}".encode())] if token else []
    verb = method.upper() if draw(st.integers(0, 14)) else draw(st.sampled_from(_METHODS))
    return FuzzedRequest(verb, (path + (f"?{query}" if query else "")).encode(), tuple(headers), body)
