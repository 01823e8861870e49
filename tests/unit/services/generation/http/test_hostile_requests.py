"""A hundred hostile requests: each refused with the right status and a problem, the service alive, nothing left behind."""

from __future__ import annotations

import base64
import gc
import gzip
import io
import json
import struct
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
import soundfile as sf

from audiotune.access import tokens
from audiotune.store import FolderStore
from tests.fakes.in_process_service import ASK, URL, InProcessService, until

JSON = {"content-type": "application/json"}
NUMBERS = (
    "seconds",
    "steps",
    "guidance",
    "seed",
    "count",
    "init_strength",
    "bpm",
    "bars",
    "inpaint_start_s",
    "inpaint_end_s",
    "extend_s",
    "loudness_lufs",
    "bit_depth",
)
VALUES: tuple[Any, ...] = ("NaN", "Infinity", "1e9", "-1e9", '"x"')


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wav(**changed: int) -> bytes:
    """A WAV file whose header lies."""
    fields = {"channels": 1, "rate": 8000, "bits": 16, "size": 400, **changed}
    head = struct.pack("<HHIIHH", 1, fields["channels"] % 65536, fields["rate"] % 2**32, 16000, 2, fields["bits"])
    return b"RIFF\xb4\x01\0\0WAVEfmt \x10\0\0\0" + head + b"data" + struct.pack("<I", fields["size"]) + bytes(400)


def bomb(kind: str, minutes: int) -> bytes:
    """Silence in some kilobytes."""
    out = io.BytesIO()
    with sf.SoundFile(out, "w", 8000, 1, format=kind) as file:
        for _ in range(6 * minutes):
            file.write(np.zeros(80_000, np.int16))
    return out.getvalue()


def zipped(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", bytes(size))
    return out.getvalue()


def body(name: str, value: str) -> bytes:
    fields = {**ASK, name: "@"}
    if name == "bars":
        fields.pop("seconds")
        fields["bpm"] = 120
    return json.dumps(fields).replace('"@"', value).encode()


OUT_OF_BOUNDS = [
    (f"{name}={value}", "POST", URL, {"content": body(name, value), "headers": JSON}, (422,))
    for name in NUMBERS
    for value in VALUES
    if (name, value) != ("seed", "1e9")  # a seed like any other
]
INIT_SOUNDS = [
    (f"init audio: {what}", "POST", URL, {"json": {**ASK, "init_audio": text}}, (422,))
    for what, text in (
        ("a path", "/etc/passwd"),
        ("a URL", "http://169.254.169.254/"),
        ("a file URL", "file:///etc/passwd"),
        ("no base64", "%%%"),
        ("nothing in it", base64_of(b"RIFF")),
        ("a picture", base64_of(b"\x89PNG\r\n\x1a\n" + bytes(90))),
        ("gzip", base64_of(gzip.compress(bytes(10**6)))),
        ("a zip bomb", base64_of(zipped(10**7))),
        ("a pickle", base64_of(b"\x80\x04cos\nsystem\n(S'id'\ntR.")),
        ("65535 channels", base64_of(wav(channels=65535))),
        ("no channel", base64_of(wav(channels=0))),
        ("4 GHz", base64_of(wav(rate=4 * 10**9))),
        ("0 Hz", base64_of(wav(rate=0))),
        ("99 bits", base64_of(wav(bits=99))),
        ("a playlist", base64_of(b"#EXTM3U\nfile:///etc/passwd\n")),
    )
]
PATHS = [
    (f"{method} {path}", method, path, {}, (414,) if len(path) > 8000 else (404, 405))
    for method, path in (
        ("GET", "/v1/sounds/../../etc/passwd"),
        ("GET", "/v1/sounds/..%2f..%2fetc%2fpasswd"),
        ("GET", "/v1/sounds/" + "a" * 63),
        ("GET", "/v1/sounds/" + "A" * 64),
        ("GET", "/v1/sounds/%00"),
        ("GET", "/v1/sounds/" + "0" * 64 + "/lineage"),
        ("GET", "/v1/jobs/..%2fworkers"),
        ("GET", "/v1/jobs/not-a-job"),
        ("DELETE", "/v1/jobs/not-a-job"),
        ("GET", "/v1/jobs/not-a-job/events"),
        ("GET", "//etc/passwd"),
        ("GET", "/.env"),
        ("GET", "/v1/generations"),
        ("DELETE", URL),
        ("TRACE", URL),
        ("PATCH", "/v1/releases"),
        ("POST", "/v1/health"),
        ("GET", "/x" * 2000),
        ("GET", "/v1/jobs/" + "y" * 60_000),
        ("OPTIONS", "/v1/nowhere"),
        ("POST", "/v1/webhooks/registry"),
    )
]
BODIES: list[tuple[str, str, str, dict[str, Any], tuple[int, ...]]] = [
    ("no JSON", "POST", URL, {"content": b"{", "headers": JSON}, (400,)),
    ("deep JSON", "POST", URL, {"content": b"[" * 100_000, "headers": JSON}, (400,)),
    ("a list", "POST", URL, {"content": b"[]", "headers": JSON}, (422,)),
    ("no UTF-8", "POST", URL, {"content": b'{"prompt": "\xff\xfe"}', "headers": JSON}, (400,)),
    ("a huge number of digits", "POST", URL, {"content": body("seed", "9" * 5000), "headers": JSON}, (400, 422)),
    ("10 MB of prompt", "POST", URL, {"json": {**ASK, "prompt": "x" * 10_000_000}}, (413, 422)),
    ("a body too large", "POST", URL, {"content": bytes(30_000_000), "headers": JSON}, (413,)),
    ("a lying length", "POST", URL, {"content": b"{}", "headers": {**JSON, "content-length": "9" * 19}}, (413,)),
    ("an unknown field", "POST", URL, {"json": {**ASK, "path": "/etc/passwd"}}, (422,)),
    ("a proto field", "POST", URL, {"json": {**ASK, "__class__": "x"}}, (422,)),
    (
        "XML",
        "POST",
        URL,
        {"content": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>", "headers": {"content-type": "application/xml"}},
        (415,),
    ),
    ("a pickle as body", "POST", URL, {"content": b"\x80\x04.", "headers": {"content-type": "application/octet-stream"}}, (415,)),
    (
        "BentoML's pickle type",
        "POST",
        URL,
        {"content": b"\x80\x04.", "headers": {"content-type": "application/vnd.bentoml+pickle"}},
        (415,),
    ),
    ("gzip without saying", "POST", URL, {"content": gzip.compress(b"{}"), "headers": JSON}, (400,)),
    (
        "a form without an end",
        "POST",
        URL,
        {"content": b"--x\r\nContent-Disp", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        (400, 422),
    ),
    ("a form without a boundary", "POST", URL, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, (400,)),
    (
        "two files",
        "POST",
        URL,
        {"data": {"prompt": "x"}, "files": [("init_audio", ("a", b"x")), ("init_audio", ("b", b"x"))]},
        (400, 422),
    ),
    (
        "a thousand fields",
        "POST",
        URL,
        {"data": {f"f{n}": "x" for n in range(1000)}, "files": {"init_audio": ("a", b"x")}},
        (400,),
    ),
    (
        "a file name that climbs",
        "POST",
        URL,
        {"data": {"prompt": "x"}, "files": {"init_audio": ("../../etc/cron.d/x", b"x")}},
        (422,),
    ),
    ("a format that climbs", "POST", URL, {"json": {**ASK, "format": "../../etc/passwd"}}, (422,)),
    ("a release that climbs", "POST", URL, {"json": {**ASK, "release": "../../x"}}, (404,)),
    ("an unknown sampler", "POST", URL, {"json": {**ASK, "sampler": "__import__('os')"}}, (422,)),
    ("an Accept nobody knows", "POST", URL, {"json": ASK, "headers": {"accept": "image/png"}}, (406,)),
    ("a webhook into the house", "PUT", "/v1/jobs/abcdefgh?webhook=http://169.254.169.254/", {"json": ASK}, (422,)),
    ("headers of 100 kB", "GET", "/v1/releases", {"headers": {"x-a": "b" * 100_000}}, (431,)),
    ("a thousand headers", "GET", "/v1/releases", {"headers": {f"x-{n}": "b" * 40 for n in range(1000)}}, (431,)),
    ("a page of a million", "GET", "/v1/jobs?limit=1000000", {}, (422,)),
    ("a mark that climbs", "GET", "/v1/jobs?before=" + "../" * 50, {}, (422,)),
]
ALL = [*OUT_OF_BOUNDS, *INIT_SOUNDS, *PATHS, *BODIES]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessService]:
    made = InProcessService(tmp_path_factory.mktemp("hostile"), members=True, init_s=5, rate_per_minute=100_000)
    made.loaded()
    text = tokens.issue_token(made.store, "ana", ["generate"], 1)
    made.client.headers["Authorization"] = f"Bearer {text}"
    yield made
    made.stop()


def test_there_are_a_hundred() -> None:
    assert len(ALL) >= 100


@pytest.mark.parametrize(("name", "method", "path", "given", "statuses"), ALL, ids=[case[0][:50] for case in ALL])
def test_it_is_refused(
    bench: InProcessService, name: str, method: str, path: str, given: dict[str, Any], statuses: tuple[int, ...]
) -> None:
    before = len(bench.tones.batches)
    answer = bench.client.request(method, path, **given)
    assert answer.status_code in statuses, answer.content[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["code"]
    assert told["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    assert len(bench.tones.batches) == before, "it reached the model"


@pytest.mark.parametrize(("kind", "minutes"), [("FLAC", 30), ("OGG", 4), ("MP3", 2)])
def test_a_decode_bomb_is_refused_before_it_grows(bench: InProcessService, kind: str, minutes: int) -> None:
    data = bomb(kind, minutes)
    assert len(data) < 4_000_000
    answer = bench.client.post(URL, json={**ASK, "init_audio": base64_of(data)})
    assert answer.status_code == 422
    assert "longer than" in answer.json()["detail"]


def test_another_members_job_and_sounds_are_not_there(bench: InProcessService) -> None:
    """Whatever is tried, it is answered as if there was nothing, and the job goes on."""
    ben = {"Authorization": f"Bearer {tokens.issue_token(bench.store, 'ben', ['generate', 'read'], 1)}"}
    path = "/v1/jobs/bens-own-job"
    assert bench.client.put(path, json=ASK, headers=ben).status_code == 202
    until(lambda: bench.client.get(path, headers=ben).json()["state"] == "done")
    sound = bench.client.get(path, headers=ben).json()["sounds"][0]["sound"]
    for method, url in (
        ("GET", path), ("DELETE", path), ("GET", f"{path}/events"), ("GET", f"/v1/sounds/{sound}"),
        ("GET", f"/v1/sounds/{sound}/lineage"),
    ):  # fmt: skip
        assert bench.client.request(method, url).status_code == 404
    assert bench.client.post(URL, json={**ASK, "init_sound": sound}).status_code == 422
    assert "bens-own-job" not in bench.client.get("/v1/jobs").text
    for entry in list(bench.store.list("sounds/")):
        bench.store.delete(entry.key)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", URL), ("GET", "/v1/jobs"), ("GET", f"/v1/sounds/{'0' * 64}"), ("GET", "/v1/releases")]
)
@pytest.mark.parametrize("token", ["", "x", "at_" + "0" * 16 + "_" + "a" * 43, "at_../../accounts/ana_" + "a" * 43])
def test_without_a_token_of_ours_nothing(bench: InProcessService, method: str, path: str, token: str) -> None:
    answer = bench.client.request(
        method, path, json=ASK if method == "POST" else None, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "a" * 5000},
        {"x-forwarded-host": "evil"},
        {"x-http-method-override": "DELETE"},
        {"x-original-url": "/v1/jobs"},
        {"range": "bytes=0-1,0-1," * 100},
    ],
)
def test_headers_and_hosts_change_nothing(bench: InProcessService, headers: dict[str, str]) -> None:
    answer = bench.client.put("/v1/jobs/headers-1", json={**ASK, "seconds": 99}, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/jobs/headers-1"
    bench.client.delete("/v1/jobs/headers-1")


def test_a_slow_body_does_not_hold_a_place_for_ever(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = InProcessService(tmp_path_factory.mktemp("slow"), body_s=0.2)

    async def drip() -> Any:
        async def slowly() -> Any:
            while True:
                yield b" "
                await anyio.sleep(0.05)

        transport = httpx.ASGITransport(made.client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(URL, content=slowly(), headers=JSON)

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(anyio.run(drip)))
    thread.start()
    thread.join(20)
    assert found[0].status_code == 408
    made.stop()


def test_five_thousand_made_up_paths_do_not_swell_the_metrics(bench: InProcessService) -> None:
    """Straight into the application: the way over HTTP is the same for all."""

    async def asked(method: str, path: str) -> int:
        told: list[int] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            told.append(message.get("status", 0))

        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
            "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("here", 80), "client": ("there", 1),
        }  # fmt: skip
        await bench.client.app(scope, receive, send)
        return told[0]

    async def all_of_them() -> set[int]:
        found = {await asked("GET", f"/made/up/{number}") for number in range(5000)}
        return found | {await asked(f"MADE{number}", f"/v1/jobs/{number}") for number in range(50)}

    bench.client.get("/made/up/0")
    before = len(bench.client.get("/metrics").text)
    assert anyio.run(all_of_them) == {404, 405}
    assert len(bench.client.get("/metrics").text) < before + 600


def test_memory_is_flat_after_all_of_it_again(bench: InProcessService) -> None:
    """What is kept for each request would show at the third time (the first was above)."""

    def again() -> int:
        for _, method, path, given, _ in ALL:
            bench.client.request(method, path, **given)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start(1)
    try:
        first = again()
        assert again() < first + 2_000_000
    finally:
        tracemalloc.stop()


def test_afterwards_it_still_makes_sounds_and_nothing_was_kept(bench: InProcessService) -> None:
    assert isinstance(bench.store, FolderStore)
    assert not list(bench.store.list("sounds/"))
    assert bench.client.post(URL, json=ASK).status_code == 200
    assert bench.client.get("/v1/health").status_code == 200
