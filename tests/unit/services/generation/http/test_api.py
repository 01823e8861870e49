"""The HTTP API on an engine that makes tones: answers, refusals, the line, swaps."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from audiotune.errors import ConsentError
from audiotune.store import compute_digest
from tests.fakes.fake_models import FakeModels
from tests.fakes.in_process_service import ASK, URL, InProcessService, until
from tests.fakes.sound_tags import read_tags


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[InProcessService]:
    made = InProcessService(tmp_path, queue=1, body_mb=0.2, init_s=5)
    made.loaded()
    yield made
    made.stop()


def wav(seconds: float = 0.2, rate_hz: int = 8000) -> bytes:
    return Sound(np.full((1, round(seconds * rate_hz)), 0.1, np.float32), rate_hz).to_bytes("WAV")


def test_audio_with_headers_tags_and_a_record(bench: InProcessService) -> None:
    answer = bench.post()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    said = answer.headers
    assert said["x-audio-tune-seed"] == "7"
    assert said["x-audio-tune-synthetic"] == "true"
    assert said["x-audio-tune-release"] == "patch-bay 1"
    assert said["x-audio-tune-digest"] == "1" * 64
    assert said["x-audio-tune-notice"] == "by ana"
    assert said["x-audio-tune-sound"] == compute_digest(answer.content)
    assert "seed=7" in read_tags(answer.content)["comment"]
    again = bench.client.get(f"/v1/sounds/{compute_digest(answer.content)}")
    assert again.content == answer.content
    assert again.headers["x-audio-tune-seed"] == "7"


def test_a_seed_is_drawn_and_told(bench: InProcessService) -> None:
    seeds = {bench.post(seed=None).headers["x-audio-tune-seed"] for _ in range(3)}
    assert len(seeds) == 3
    seed = seeds.pop()
    assert bench.post(seed=int(seed)).content == bench.post(seed=int(seed)).content


def test_variations_come_as_json_and_count_their_seeds_up(bench: InProcessService) -> None:
    found = bench.post(count=3, format="flac").json()["generations"]
    assert [entry["seed"] for entry in found] == [7, 8, 9]
    assert base64.b64decode(found[1]["audio"]) == bench.post(seed=8, format="flac").content
    assert bench.client.get(found[2]["url"]).content == base64.b64decode(found[2]["audio"])


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("audio/flac", "audio/flac"), ("*/*", "audio/wav"), ("audio/mpeg", "audio/mpeg"), ("application/json", "application/json"),
        ("audio/wav;q=0.2, audio/flac;q=0.9", "audio/flac"), ("audio/flac, application/json;q=0.5", "audio/flac"),
        ("application/json, text/plain, */*", "application/json"), ("audio/*, audio/flac;q=0.1", "audio/wav"),
        ("*/*, audio/flac", "audio/flac"), ("application/json;q=0, */*;q=0.1", "audio/wav"), ("text/html, audio/*;q=nan, */*", "audio/wav"),
    ],
)  # fmt: skip
def test_accept_chooses_the_form_of_the_answer(bench: InProcessService, accept: str, kind: str) -> None:
    answer = bench.client.post(URL, json=ASK, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind


def test_a_form_with_a_file_is_the_same_as_base64(bench: InProcessService) -> None:
    by_form = bench.client.post(URL, data={k: str(v) for k, v in ASK.items()}, files={"init_audio": ("a.wav", wav())})
    by_json = bench.post(init_audio=base64.b64encode(wav()).decode())
    assert by_form.status_code == 200, by_form.text
    assert by_form.content == by_json.content


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"seconds": 4.5}, "seconds"), ({"sampler": "made-up"}, "sampler"), ({"steps": 0}, "steps"),
        ({"prompt": ""}, "prompt"), ({"prompt": "x" * 100_000}, "prompt"), ({"seconds": "nan"}, "seconds"),
        ({"init_audio": "?"}, "init_audio"), ({"init_audio": "AAAA"}, "init_audio"),
        ({"init_audio": base64.b64encode(wav()[:20]).decode()}, "init_audio"),
        ({"init_audio": base64.b64encode(wav(6)).decode()}, "init_audio"), ({"made_up": 1}, "made_up"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field(bench: InProcessService, fields: dict[str, Any], field: str) -> None:
    answer = bench.post(**fields)
    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["field"] == field
    assert problem["errors"][0]["message"]
    assert problem["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "given", "status"),
    [
        ("POST", URL, {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ("POST", URL, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400),
        ("GET", URL, {}, 405),
        ("GET", "/made/up", {}, 404),
        ("GET", "/v1/sounds/..%2f..%2fetc%2fpasswd", {}, 404),
        ("GET", f"/v1/sounds/{'0' * 64}", {}, 404),
        ("POST", URL, {"json": ASK, "headers": {"accept": "image/png"}}, 406),
        ("POST", URL, {"json": ASK, "headers": {"accept": "audio/wav;q=0"}}, 406),
        ("POST", URL, {"json": {"prompt": "x" * 300_000}}, 413),
        ("POST", URL, {"content": b"a=b", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 415),
        ("POST", URL, {"json": {**ASK, "release": "another"}}, 404),
    ],
)
def test_every_refusal_is_a_problem(bench: InProcessService, method: str, path: str, given: dict[str, Any], status: int) -> None:
    answer = bench.client.request(method, path, **given)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["request_id"]


def test_a_new_version_takes_over_and_a_broken_one_does_not(bench: InProcessService) -> None:
    bench.models.broken = {"3"}
    bench.models.at = "2"
    until(lambda: bench.loaded().release.version == "2")
    bench.models.at = "3"
    until(lambda: "do not fit" in bench.client.get("/v1/health").json()["reason"])
    health = bench.client.get("/v1/health").json()
    assert health["ready"]
    assert health["version"] == "2"
    assert bench.post().headers["x-audio-tune-release"] == "patch-bay 2"


def test_a_silent_version_is_not_served(bench: InProcessService) -> None:
    bench.tones.silent = True
    bench.models.at = "2"
    until(lambda: "silent" in bench.loaded_releases.reason)
    assert bench.loaded().release.version == "1"


def test_a_broken_version_is_not_loaded_at_every_look(bench: InProcessService) -> None:
    bench.models.broken = {"2"}
    bench.models.at = "2"
    time.sleep(1.0)  # twenty looks
    assert 2 <= bench.models.loads <= 8


def test_withdrawn_consent_ends_the_service_of_a_release(bench: InProcessService) -> None:
    bench.models.withdrawn = ConsentError("ana has withdrawn", where="recording f")
    until(lambda: bench.loaded_releases.default_release is None)
    answer = bench.client.get("/v1/health")
    assert answer.status_code == 503
    assert "ana has withdrawn" in answer.json()["reason"]
    assert bench.post().status_code == 503


def test_nothing_registered_is_not_ready(tmp_path: Path) -> None:
    made = InProcessService(tmp_path, FakeModels(None))
    until(lambda: "registered" in made.loaded_releases.reason)
    answer = made.post()
    assert answer.status_code == 503
    assert answer.json()["code"] == "not-ready"
    assert answer.headers["retry-after"]
    made.models.at = "1"
    until(lambda: made.loaded_releases.default_release)
    assert made.post().status_code == 200
    made.stop()


def test_made_up_paths_do_not_swell_the_metrics(bench: InProcessService) -> None:
    bench.client.get("/made/up/0")
    small = len(bench.client.get("/metrics").text)
    for number in range(20):
        bench.client.get(f"/made/up/{number}")
    text = bench.client.get("/metrics").text
    assert len(text) < small + 200
    assert 'route="unknown"' in text


def test_the_openapi_document_has_examples_that_run(bench: InProcessService) -> None:
    body = bench.client.get("/openapi.json").json()["paths"][URL]["post"]["requestBody"]["content"]
    examples = body["application/json"]["examples"]
    assert {"sound", "loop", "adapters"} <= examples.keys()
    for example in examples.values():
        assert bench.client.post(URL, json={**example["value"], "steps": 2}).status_code == 200, example
    assert "strength" in body["application/json"]["schema"]["properties"]["adapters"]["items"]["properties"]
    assert "$ref" not in str(body)
    assert bench.client.get("/docs").status_code == 200


def test_a_service_that_is_about_to_stop_ends_each_connection(bench: InProcessService) -> None:
    """So that a client's next request does not run into a closing socket."""
    assert "connection" not in bench.post().headers
    bench.context.announce_stop()
    for answer in (bench.post(), bench.client.get("/v1/health"), bench.client.get("/nowhere")):
        assert answer.headers["connection"] == "close"
    assert bench.client.get("/readyz").status_code == 503


def test_more_open_requests_than_may_be_are_told_when_to_come_back(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, open_requests=2)
    bench.loaded()
    bench.tones.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(bench.post, seed=1)]
        until(lambda: bench.tones.batches)  # at work, before another one comes that would share its batch
        waiting.append(pool.submit(bench.post, seed=2))
        until(lambda: bench.engine.queue_length)
        refused = bench.post(seed=3)
        health = bench.client.get("/v1/health").status_code
        bench.tones.gate.set()
        answers = [each.result().status_code for each in waiting]
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "crowded", "2")
    assert refused.headers["content-type"] == "application/problem+json"
    assert health == 200
    assert answers == [200, 200]
    assert bench.post(seed=3).status_code == 200
    bench.stop()
