"""The API as a web page in a browser meets it: preflight and readable headers, parts of a sound, names of downloads, start sounds
as pages send them, and a documentation page that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from audiotune.audio.sound import Sound
from audiotune.domain.generation import AppliedAdapter, GenerationRecord
from services.generation.http.responses import SOUND_HEADERS, headers_from_record
from services.generation.http.sound_answers import describe_file
from services.generation.settings import GenerationSettings
from tests.fakes.in_process_service import ASK, URL, InProcessService, until

PAGE = "https://band.example"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, prefer"}
FILE = Sound(np.full((1, 4000), 0.1, np.float32), 8000).to_bytes("WAV")
RECORD = GenerationRecord(
    sound="1" * 64, blob="b", format="wav", prompt="x", seconds=1, steps=1, guidance=1, seed=7, sampler="s", release="r",
    version="1", digest="2" * 64, seam_db=1, loudness_lufs=-14, notice="by ana",
    adapters=(AppliedAdapter(release="grit", version="1", digest="3" * 64, strength=1),),
)  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessService]:
    with InProcessService(tmp_path_factory.mktemp("store"), cors_origins=f"http://localhost:5173, {PAGE}") as made:
        yield made


@pytest.fixture(scope="module")
def sound(bench: InProcessService) -> tuple[str, bytes]:
    answer = bench.post(prompt="Dröhnendes Glas/../ im Flur")
    return "/v1/sounds/" + answer.headers["x-audio-tune-sound"], answer.content


def test_a_page_of_an_allowed_origin_may_ask_and_read(bench: InProcessService) -> None:
    before = bench.client.options(URL, headers=PREFLIGHT)
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == PAGE
    assert "POST" in before.headers["access-control-allow-methods"]
    assert {"authorization", "prefer"} <= set(re.split(", *", before.headers["access-control-allow-headers"].lower()))
    made = bench.client.post(URL, json={"prompt": "x", "seconds": 0.2, "steps": 2}, headers={"Origin": PAGE})
    exposed = {name.lower() for name in re.split(", *", made.headers["access-control-expose-headers"])}
    ours = {name for name in made.headers if name.startswith("x-")} | {"content-disposition", "retry-after", "location"}
    assert ours <= exposed
    assert "access-control-allow-credentials" not in made.headers  # tokens are sent by the page's own code, never by a cookie


def test_a_page_can_read_why_it_is_refused(bench: InProcessService) -> None:
    refused = bench.client.post(URL, json={"steps": 0}, headers={"Origin": PAGE})
    assert refused.status_code == 422
    assert refused.headers["access-control-allow-origin"] == PAGE
    crowded = bench.client.get("/v1/sounds/x", params={"q": "x" * 9000}, headers={"Origin": PAGE})
    assert crowded.status_code == 414
    assert crowded.headers["access-control-allow-origin"] == PAGE


def test_pages_of_other_origins_and_of_a_service_without_the_setting_get_no_permission(
    bench: InProcessService, tmp_path: Path
) -> None:
    with InProcessService(tmp_path) as closed:
        for service, origin in ((bench, "https://evil.example"), (closed, PAGE)):
            for answer in (
                service.client.options(URL, headers={**PREFLIGHT, "Origin": origin}),
                service.client.get("/v1/releases", headers={"Origin": origin}),
            ):
                assert "access-control-allow-origin" not in answer.headers
        told = closed.client.options(URL, headers=PREFLIGHT)
        assert told.status_code == 204
        assert told.headers["allow"] == "POST, OPTIONS"
        assert closed.client.put(URL).headers["allow"] == "POST, OPTIONS"
        assert closed.client.options("/nowhere").status_code == 404


def test_every_header_of_a_sound_is_known_to_be_exposed() -> None:
    assert tuple(headers_from_record(RECORD)) == SOUND_HEADERS


@pytest.mark.parametrize(
    "text", ["https://band.example/", "band.example", "https://Band.example", "https://a.example b", "*.a.example"]
)
def test_what_no_browser_sends_as_an_origin_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="is no origin; write scheme"):
        GenerationSettings(cors_origins=text)
    assert GenerationSettings(cors_origins="tauri://localhost,https://[::1]:80").allowed_origins[0] == "tauri://localhost"


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-1", 0, 2),
        ("bytes=5-5", 5, 6),
        ("bytes=100-", 100, None),
        ("bytes=-10", -10, None),
        ("BYTES=3-99999999", 3, None),
    ],
)
def test_a_part_of_a_sound(bench: InProcessService, sound: tuple[str, bytes], asked: str, begin: int, end: int | None) -> None:
    address, whole = sound
    part = bench.client.get(address, headers={"Range": asked})
    expected = whole[begin:end]
    first = begin % len(whole)
    assert part.status_code == 206
    assert part.content == expected
    assert part.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(whole)}"
    assert part.headers["content-length"] == str(len(expected))
    assert part.headers["content-type"] == "audio/wav"


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=9-3", "bytes=-", "seconds=0-1", "bytes=x-y", ""])
def test_what_is_no_single_range_gets_the_whole(bench: InProcessService, sound: tuple[str, bytes], asked: str) -> None:
    answer = bench.client.get(sound[0], headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, sound[1])
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes=999999999999-", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(bench: InProcessService, sound: tuple[str, bytes], asked: str) -> None:
    answer = bench.client.get(sound[0], headers={"Range": asked.format(size=len(sound[1]))})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(sound[1])}"


def test_a_part_of_another_file_is_not_appended(bench: InProcessService, sound: tuple[str, bytes]) -> None:
    """If-Range: a download goes on only where the file is the one that it began with."""
    tag = bench.client.head(sound[0]).headers["etag"]
    for other, status in ((tag, 206), ('"other"', 200), ("Wed, 21 Oct 2026 07:28:00 GMT", 200)):
        answer = bench.client.get(sound[0], headers={"Range": "bytes=0-1", "If-Range": other})
        assert answer.status_code == status, other


def test_the_head_of_a_sound(bench: InProcessService, sound: tuple[str, bytes]) -> None:
    head, whole = bench.client.head(sound[0]), bench.client.get(sound[0])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(sound[1]))
    own = {"x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in own} == {k: v for k, v in whole.headers.items() if k not in own}
    assert bench.client.head("/v1/sounds/" + "0" * 64).status_code == 404


def test_a_sound_is_saved_under_the_words_of_its_prompt(bench: InProcessService, sound: tuple[str, bytes]) -> None:
    named = bench.client.get(sound[0]).headers["content-disposition"]
    assert named == "inline; filename=\"Drohnendes-Glas-im-Flur-7.wav\"; filename*=UTF-8''Dr%C3%B6hnendes-Glas-im-Flur-7.wav"
    assert (
        bench.post(prompt="soft pulse", format="flac")
        .headers["content-disposition"]
        .startswith('inline; filename="soft-pulse-7.flac"')
    )


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ('a "quoted"; filename=evil.exe\r\nX: y', "a-quoted-filename-evil-exe-X-y-7.wav"),
        ("...", "sound-7.wav"),
        ("word " * 40, "-".join(["word"] * 12) + "-7.wav"),
        ("x" * 900, "x" * 60 + "-7.wav"),
    ],
)
def test_no_prompt_breaks_the_name(prompt: str, name: str) -> None:
    named = describe_file(RECORD.model_copy(update={"prompt": prompt}))["Content-Disposition"]
    assert named == f"inline; filename=\"{name}\"; filename*=UTF-8''{name}"
    assert describe_file(RECORD.model_copy(update={"prompt": "гул"}))["Content-Disposition"].startswith(
        'inline; filename="sound-7.wav"'
    )


def start_from(bench: InProcessService, text: str) -> httpx.Response:
    answer: Any = bench.post(init_audio=text)
    return answer


def test_start_sounds_as_pages_and_programs_write_them(bench: InProcessService) -> None:
    plain = base64.b64encode(FILE).decode()
    expected = start_from(bench, plain).headers["x-audio-tune-sound"]
    for text in (
        f"data:audio/wav;base64,{plain}",
        f"DATA:audio/webm;codecs=opus;Base64,{plain}",
        f"data:;base64,{plain}",
        base64.encodebytes(FILE).decode(),
        base64.encodebytes(FILE).decode().replace("\n", "\r\n"),
        f"data:audio/wav;base64,\n{base64.encodebytes(FILE).decode()}",
    ):
        answer = start_from(bench, text)
        assert answer.status_code == 200, (text[:40], answer.text)
        assert answer.headers["x-audio-tune-sound"] == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("data:audio/wav,RIFF", "without `;base64,`"),
        ("%%%", "as base64, or the file itself in a form"),
        ("A", "as base64, or the file itself in a form"),
        ("UklGRg==UklGRg==", "as base64, or the file itself in a form"),
        (base64.b64encode(b"PK\3\4" + bytes(90)).decode(), "zip archive, no sound file). Send a whole sound file"),
    ],
)
def test_what_cannot_start_a_sound_is_told_the_cure(bench: InProcessService, text: str, word: str) -> None:
    answer = start_from(bench, text)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]
    assert not re.search("libsndfile|avcodec|Errno|Invalid data|/tmp|folder|suffix", answer.text)


def test_the_documentation_page_loads_nothing_from_elsewhere(bench: InProcessService) -> None:
    page = bench.client.get("/docs").text
    loaded = re.findall(r"""(?:src|href|url)['"]?\s*[=:]\s*['"]([^'"]+)""", page)
    assert {name.rpartition(".")[2] for name in loaded} == {"js", "css", "png", "json"}
    for name in loaded:
        assert "//" not in name
        assert bench.client.get(f"/{name}").status_code == 200, name
    assert "//" not in bench.client.get("/redoc", follow_redirects=False).headers["location"]


def test_below_a_path_every_address_is_below_it(tmp_path: Path) -> None:
    with InProcessService(tmp_path, root_path="tune/") as bench:
        for asked in ("/tune/v1/jobs/job-0001", "/v1/jobs/job-0001"):  # the proxy leaves the path, or takes it off
            answer = bench.client.put(asked, json=ASK)
            assert answer.headers["location"] == answer.json()["url"] == "/tune/v1/jobs/job-0001"
        until(lambda: bench.client.get("/tune/v1/jobs/job-0001").json()["state"] == "done")
        sound = bench.client.get("/tune/v1/jobs/job-0001").json()["sounds"][0]["url"]
        made = bench.client.post("/tune/v1/generations", json=ASK, headers={"Accept": "application/json"})
        assert made.json()["generations"][0]["url"] == sound
        assert bench.client.get(sound).status_code == 200
        assert bench.client.get("/tune/openapi.json").json()["servers"] == [{"url": "/tune"}]
        for page in ("/tune/docs", "/tune/docs-assets/swagger-ui.css", "/tune/v1/health", "/readyz"):
            assert bench.client.get(page).status_code == 200, page
