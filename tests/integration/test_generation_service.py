"""The generation service as a real BentoML process on the tiny base, a folder store and MLflow's own SQLite registry.

AUDIOTUNE_TEST_GENERATION="URL FOLDER" names one that runs already (FOLDER holds store/ and mlflow.db, the release is `ours`).
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from audiotune import client, governance
from audiotune.audio.sound import read_sound
from audiotune.errors import GenerationError
from audiotune.governance import Consent
from audiotune.store import FolderStore, compute_digest
from tests.fakes.small_release import RECORDING, publish
from tests.fakes.sound_tags import read_tags

pytestmark = pytest.mark.integration
ASK: dict[str, Any] = {"prompt": "low dark drone", "seconds": 0.5, "steps": 4, "seed": 7, "format": "wav"}


@dataclass(frozen=True)
class Service:
    url: str
    store: FolderStore
    process: int | None = None
    log: Path | None = None

    def post(self, **fields: Any) -> httpx.Response:
        return httpx.post(self.url + "/v1/generations", json={**ASK, **fields}, timeout=300)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = os.environ.get("AUDIOTUNE_TEST_GENERATION", "")
    if running:
        url, folder = running.split()
        yield Service(url, FolderStore(Path(folder) / "store"))
        return
    folder_ = tmp_path_factory.mktemp("generation")
    environment = {
        "AUDIOTUNE_STORE": str(folder_ / "store"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder_ / 'mlflow.db'}",
        "AUDIOTUNE_GENERATION_POLL_S": "1",
        "AUDIOTUNE_GENERATION_CONSENT_S": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        store = FolderStore(folder_ / "store")
        publish(store)
        yield from _running(folder_, store)


def _running(folder: Path, store: FolderStore) -> Iterator[Service]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "services.generation", "--port", str(port)]
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        _until_ready(url, folder / "log")
        yield Service(url, store, child.pid, folder / "log")
    finally:
        if child.poll() is None:
            os.kill(child.pid, signal.SIGTERM)
        child.wait(60)


def _until_ready(url: str, log: Path) -> None:
    end, why = time.monotonic() + 500, ""
    while time.monotonic() < end:
        try:
            found = client.health(url)
            if found["ready"]:
                return
            why = found["reason"]
        except GenerationError as e:
            why = str(e)
        time.sleep(1)
    pytest.fail(f"not ready: {why}\n{log.read_text()[-2000:]}")


def test_the_same_request_is_the_same_sound_alone_and_beside_others(service: Service) -> None:
    alone, info = client.generate(service.url, ASK)
    assert client.generate(service.url, ASK)[0] == alone
    with ThreadPoolExecutor(6) as pool:
        beside = list(pool.map(lambda seed: service.post(seed=seed, seconds=0.5 + 0.1 * (seed % 3)), [1, 2, 3, 4, 5]))
        again = pool.submit(service.post).result()
    assert again.content == alone
    assert len({answer.content for answer in beside} | {alone}) == 6
    assert info["seed"] == 7


def test_every_format_tells_its_seed_and_release(service: Service) -> None:
    for format in ("wav", "flac", "mp3", "ogg", "opus"):
        answer = service.post(format=format)
        assert answer.status_code == 200, answer.text
        comment = read_tags(answer.content)["comment"]
        assert "seed=7" in comment
        assert "Synthetic" in comment
        assert answer.headers["x-audio-tune-digest"] in comment
        assert answer.headers["x-audio-tune-sound"] == compute_digest(answer.content)
        kept = httpx.get(f"{service.url}/v1/sounds/{compute_digest(answer.content)}")
        assert kept.content == answer.content


def test_a_sound_is_traced_to_its_people(service: Service) -> None:
    answer = service.post()
    lineage = httpx.get(f"{service.url}/v1/sounds/{compute_digest(answer.content)}/lineage", timeout=60).json()
    assert lineage["contributors"] == ["ana"]
    assert RECORDING in lineage["lineage"]["recordings"]


def test_an_init_sound_is_heard(service: Service) -> None:
    init = service.post(seed=1).content
    near = httpx.post(
        service.url + "/v1/generations",
        data={k: str(v) for k, v in ASK.items()} | {"init_strength": "0.3"},
        files={"init_audio": ("init.wav", init)},
        timeout=300,
    )
    assert near.status_code == 200, near.text
    assert near.content != service.post().content


HOSTILE: list[tuple[str, dict[str, Any], int]] = [
    ("not a number", {"content": json.dumps({**ASK, "seconds": float("nan")})}, 422),
    ("a giant number", {"json": {**ASK, "steps": 10**9}}, 422),
    ("a giant length", {"json": {**ASK, "seconds": 1e9}}, 422),
    ("below zero", {"json": {**ASK, "seconds": -1}}, 422),
    ("a 10 MB prompt", {"json": {**ASK, "prompt": "x" * 10_000_000}}, 422),
    ("a 30 MB body", {"content": b"x" * 30_000_000}, 413),
    ("a wrong content type", {"content": b"<a/>", "headers": {"content-type": "application/xml"}}, 415),
    ("no JSON", {"content": b"{"}, 400),
    ("deep JSON", {"content": b"[" * 100_000}, 400),
    ("half an init sound", {"json": {**ASK, "init_audio": base64.b64encode(b"RIFF\xff\xff\xff\xffWAVEfmt ").decode()}}, 422),
    ("a traversal as format", {"json": {**ASK, "format": "../../etc/passwd"}}, 422),
    ("a server's path as init", {"json": {**ASK, "init_audio": "/etc/passwd"}}, 422),
]


@pytest.mark.parametrize(("name", "given", "status"), HOSTILE, ids=[h[0] for h in HOSTILE])
def test_hostile_requests_are_refused(service: Service, name: str, given: dict[str, Any], status: int) -> None:
    given.setdefault("headers", {"content-type": "application/json"})
    answer = httpx.post(service.url + "/v1/generations", timeout=120, **given)
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"]
    assert client.health(service.url)["ready"]


def test_a_decode_bomb_is_refused_before_it_grows(service: Service, tmp_path: Path) -> None:
    import numpy as np
    import soundfile as sf

    sf.write(tmp_path / "bomb.flac", np.zeros(44_100 * 1800, np.float32), 44_100)  # half an hour in some kilobytes
    data = (tmp_path / "bomb.flac").read_bytes()
    assert len(data) < 1_000_000
    answer = service.post(init_audio=base64.b64encode(data).decode())
    assert answer.status_code == 422
    assert "longer than" in answer.json()["detail"]


def test_a_job_gives_the_sound_that_asking_gives(service: Service) -> None:
    ours = client.Client(service.url)
    fields = {**ASK, "seed": 11}
    jobs = [ours.submit(f"integration-{n}", **{**fields, "seed": n}) for n in (11, 12, 13)]
    ended = [ours.wait(job.id, every_s=0.1) for job in jobs]
    assert [job.state for job in ended] == ["done"] * 3
    assert ours.sound(ended[0].sounds[0]["sound"]).audio == service.post(seed=11).content
    assert ours.submit("integration-11", **fields).state == "done", "made once, whoever retries"


def test_a_stopped_job_ends_and_frees_the_engine(service: Service) -> None:
    ours = client.Client(service.url)
    job = ours.submit("integration-long", prompt="low drone", seconds=2.5, steps=250, seed=1)
    end = time.monotonic() + 60
    while ours.job(job.id).step < 2:
        assert time.monotonic() < end, "it never began"
        time.sleep(0.05)
    assert ours.cancel(job.id).state == "cancelled"
    assert service.post().status_code == 200


def test_loops_and_parts_made_anew(service: Service) -> None:
    loop = service.post(prompt="pulse", seconds=None, bars=0.5, bpm=120, loop=True)
    assert loop.status_code == 200, loop.text
    assert float(loop.headers["x-audio-tune-seam-db"]) < 20
    again = service.post(init_sound=loop.headers["x-audio-tune-sound"], seconds=None, inpaint_start_s=0.3, inpaint_end_s=0.6)
    assert again.status_code == 200, again.text
    first, second = (read_sound(io.BytesIO(answer.content)) for answer in (loop, again))
    assert first.frames == second.frames
    untouched = slice(0, round(0.3 * first.sample_rate_hz) - 1)
    assert abs(first.data[:, untouched] - second.data[:, untouched]).max() < 1e-4


def test_probes_docs_and_metrics(service: Service) -> None:
    for path in ("/livez", "/readyz", "/docs", "/openapi.json", "/v1/health", "/v1/releases"):
        assert httpx.get(service.url + path, timeout=60).status_code == 200, path
    for number in range(30):
        assert httpx.get(f"{service.url}/made/up/{number}").status_code == 404
    assert "/made/up" not in httpx.get(service.url + "/metrics").text


def test_the_log_has_a_line_for_each_request_and_no_prompts(service: Service) -> None:
    if service.log is None:
        pytest.skip("the service was started by somebody else")
    id = service.post(prompt="a secret clarinet").headers["x-request-id"]
    end = time.monotonic() + 30
    while id not in (lines := service.log.read_text()):  # the line is written after the answer
        assert time.monotonic() < end, lines[-2000:]
        time.sleep(0.2)
    assert next(json.loads(line) for line in lines.splitlines() if id in line)["status"] == 200
    assert "ours version 1 is served" in lines
    assert "clarinet" not in lines


def test_withdrawn_consent_ends_the_service(service: Service) -> None:
    """Nothing is served afterwards, and a withdrawn release is not loaded again."""
    agreement = governance.read_current_agreement(service.store)
    assert agreement is not None
    withdrawal = Consent(recording=RECORDING, contributor="ana", uses=(), basis="test", agreement=agreement.digest)
    governance.record_consent(service.store, withdrawal)
    end = time.monotonic() + 60
    while client.health(service.url)["ready"]:
        assert time.monotonic() < end, "it is still served"
        time.sleep(0.5)
    answer = service.post()
    assert answer.status_code == 503
    assert "ana" in answer.json()["detail"]
    assert httpx.get(service.url + "/readyz").status_code == 503
    time.sleep(3)  # several looks: it must not come back by itself
    assert not client.health(service.url)["ready"]


def test_asked_to_stop_it_says_so_and_ends_by_itself(service: Service) -> None:
    """The very last: the process is gone afterwards."""
    if service.process is None:
        pytest.skip("the service was started by somebody else")
    os.kill(service.process, signal.SIGTERM)
    end, reasons = time.monotonic() + 60, set()
    while time.monotonic() < end:
        try:
            reasons.add(httpx.get(service.url + "/v1/health", timeout=5).json()["reason"])
        except httpx.HTTPError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("it still answers")
    assert "it is stopping" in reasons
