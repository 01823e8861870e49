"""Jobs over HTTP: created once, followed, stopped, listed, reported to webhooks; limits of a member."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotune.access import tokens
from audiotune.audio.sound import Sound
from audiotune.outside.public_addresses import look_up_host
from audiotune.store import FolderStore
from services.generation.engine.quotas import MemberQuotas
from services.generation.errors import RetryLaterError, WebhookError
from services.generation.http.problems import problem_from_error
from services.generation.http.routes_generations import parse_wait_s
from services.generation.http.routes_jobs import describe_job
from services.generation.jobs import webhooks
from services.generation.settings import GenerationSettings
from tests.fakes.fake_models import FakeModels
from tests.fakes.in_process_service import ASK, URL, InProcessService, until

JOB = "/v1/jobs/job-0001"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[InProcessService]:
    with InProcessService(tmp_path) as made:
        yield made


def ended(bench: InProcessService, path: str = JOB, **headers: str) -> dict[str, Any]:
    until(lambda: bench.client.get(path, headers=headers).json()["state"] in ("done", "failed", "cancelled"))
    return dict(bench.client.get(path, headers=headers).json())


def test_a_job_is_made_once_and_gives_the_sound_that_asking_gives(bench: InProcessService) -> None:
    answers = [bench.client.put(JOB, json=ASK) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {202}
    assert answers[0].headers["location"] == JOB
    found = ended(bench)
    assert found["state"] == "done"
    assert bench.client.get(found["sounds"][0]["url"]).content == bench.post().content
    assert len(bench.tones.batches) == 2
    assert bench.client.put(JOB, json=ASK).json()["state"] == "done"


def test_a_job_starts_from_the_sound_that_came_with_it(bench: InProcessService) -> None:
    data = Sound(np.full((2, 44_100), 0.1, np.float32), 44_100).to_bytes()
    assert bench.client.put(JOB, json={**ASK, "init_audio": base64.b64encode(data).decode()}).status_code == 202
    assert ended(bench)["sounds"][0]["init"] == hashlib.sha256(data).hexdigest()


def test_another_request_under_a_taken_id_is_a_conflict(bench: InProcessService) -> None:
    bench.client.put(JOB, json=ASK)
    answer = bench.client.put(JOB, json={**ASK, "prompt": "another"})
    assert (answer.status_code, answer.json()["code"]) == (409, "id-taken")


def test_respond_async_makes_a_job(bench: InProcessService) -> None:
    answer = bench.client.post(URL, json={**ASK, "seed": None}, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    found = ended(bench, answer.headers["location"])
    assert found["request"]["seed"] == found["sounds"][0]["seed"]


def test_who_waits_a_while_gets_the_sound_or_a_job(bench: InProcessService) -> None:
    assert bench.client.post(URL, json=ASK, headers={"Prefer": "respond-async, wait=20"}).status_code == 200
    bench.tones.gate.clear()
    later = bench.client.post(URL, json={**ASK, "steps": 9}, headers={"Prefer": "wait=1, respond-async"})
    assert later.status_code == 202
    bench.tones.gate.set()
    assert ended(bench, later.headers["location"])["state"] == "done"


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ([], None),
        (["return=minimal"], None),
        (["respond-async"], 0),
        (["respond-async, wait=7"], 7),
        (["wait=7", "Respond-Async"], 7),
    ],
)
def test_the_prefer_header_is_parsed(prefer: list[str], seconds: float | None) -> None:
    assert parse_wait_s(prefer) == seconds


def test_a_stopped_job_is_computed_no_further(bench: InProcessService) -> None:
    bench.tones.gate.clear()
    bench.client.put(JOB, json={**ASK, "steps": 50})
    until(lambda: bench.tones.batches)
    waiting = bench.client.get(JOB).json()
    assert waiting["steps"] == 50
    assert waiting["eta_s"] >= 0
    before = bench.tones.steps
    assert bench.client.delete(JOB).json()["state"] == "cancelled"
    bench.tones.gate.set()
    until(lambda: bench.engine.is_idle)
    assert bench.tones.steps <= before + 1
    assert bench.client.delete(JOB).json()["state"] == "cancelled"
    assert bench.client.delete("/v1/jobs/nobodys-job").status_code == 404


def test_progress_comes_as_events(bench: InProcessService) -> None:
    bench.client.put(JOB, json={**ASK, "steps": 5})
    with bench.client.stream("GET", f"{JOB}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = "".join(answer.iter_text())
    last = text.strip().split("\n\n")[-1]
    assert last.startswith("event: end\ndata: ")
    assert json.loads(last.split("data: ")[1])["state"] == "done"


def test_a_job_that_cannot_be_made_says_why(bench: InProcessService) -> None:
    bench.client.put(JOB, json={**ASK, "seconds": 99})
    found = ended(bench)
    assert found["state"] == "failed"
    assert found["problem"]["errors"][0]["field"] == "seconds"


def test_a_job_for_a_release_that_nobody_serves_fails_at_once(bench: InProcessService) -> None:
    assert bench.client.put(JOB, json={**ASK, "release": "made-up"}).status_code == 202
    found = ended(bench)
    assert (found["state"], found["problem"]["code"]) == ("failed", "no-such-release")
    assert len(list(bench.store.list("jobs/log/anyone/job-0001/"))) == 3


def test_a_job_for_a_release_that_is_not_served_now_waits_without_being_claimed(tmp_path: Path) -> None:
    models = FakeModels()
    models.others["tape"] = None
    bench = InProcessService(tmp_path, models)
    bench.loaded()
    assert bench.client.put(JOB, json={**ASK, "release": "tape"}).status_code == 202
    time.sleep(0.3)  # fifteen rounds
    assert len(list(bench.store.list("jobs/log/anyone/job-0001/"))) == 1
    bench.models.others["tape"] = "1"
    assert ended(bench)["state"] == "done"
    bench.stop()


def test_only_so_many_event_streams_of_a_member_are_open(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, member_streams=2)
    bench.loaded()
    bench.client.put(JOB, json=ASK)
    bench.context.open_streams.update({"anyone": 2, "ben": 1})
    refused = bench.client.get(f"{JOB}/events")
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-streams")
    assert "retry-after" in refused.headers
    bench.context.open_streams["anyone"] -= 2
    assert bench.client.get(f"{JOB}/events").text.count("event: end") == 1
    assert bench.context.open_streams == {"ben": 1}
    bench.stop()


def test_a_list_goes_on_page_by_page(bench: InProcessService) -> None:
    for number in range(3):
        bench.client.put(f"/v1/jobs/job-{number:04d}", json=ASK)
    first = bench.client.get("/v1/jobs?limit=2").json()
    assert [job["id"] for job in first["jobs"]] == ["job-0002", "job-0001"]
    rest = bench.client.get(first["next"]).json()
    assert [job["id"] for job in rest["jobs"]] == ["job-0000"]
    assert "next" not in rest


def test_jobs_and_sounds_of_others_are_not_there(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, members=True)
    bench.loaded()
    ana, ben = ({"Authorization": f"Bearer {tokens.issue_token(bench.store, who, ['generate'], 1)}"} for who in ("ana", "ben"))
    assert bench.client.put(JOB, json=ASK, headers=ana).status_code == 202
    sound = ended(bench, **ana)["sounds"][0]["url"]
    assert bench.client.get(sound, headers=ana).status_code == 200
    for method, path in (("GET", JOB), ("DELETE", JOB), ("GET", f"{JOB}/events"), ("GET", sound), ("GET", f"{sound}/lineage")):
        assert bench.client.request(method, path, headers=ben).status_code == 404, path
    assert bench.client.get("/v1/jobs", headers=ben).json() == {"jobs": []}
    assert bench.client.put(JOB, json={**ASK, "prompt": "bens own"}, headers=ben).status_code == 202
    bench.stop()


@pytest.mark.parametrize("id", ["short", "x" * 65, "with.dot.s", "..%2f..%2fescape", "-leading-dash", "ümlauts-here"])
def test_ids_are_plain_words(bench: InProcessService, id: str) -> None:
    answer = bench.client.put(f"/v1/jobs/{id}", json=ASK)
    assert answer.status_code in (404, 405)


def test_too_many_jobs_of_one_member_are_refused(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, member_jobs=2)
    bench.loaded()
    bench.tones.gate.clear()
    codes = [bench.client.put(f"/v1/jobs/job-{n:04d}", json={**ASK, "steps": 9}).status_code for n in range(3)]
    assert codes == [202, 202, 429]
    assert bench.client.put("/v1/jobs/job-0000", json={**ASK, "steps": 9}).status_code == 202, "a retry is no new job"
    bench.stop()


def test_who_has_too_many_jobs_is_told_when_one_of_them_ends(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, member_jobs=2)
    bench.loaded()
    bench.tones.gate.clear()
    bench.engine.speed.add_measurement(1.0, 0.1)  # a slow machine: nobody could take the seconds for a fixed number
    for n in range(2):
        assert bench.client.put(f"/v1/jobs/job-{n:04d}", json={**ASK, "steps": 9}).status_code == 202
    until(lambda: bench.tones.batches)
    until(lambda: len(bench.worker.claimed_jobs) == 2)
    told_s = []
    for n in range(2):
        answer = bench.client.put(f"/v1/jobs/more-{n:04d}", json={**ASK, "steps": 9})
        assert (answer.status_code, answer.json()["code"]) == (429, "too-many-jobs")
        told_s.append(int(answer.headers["retry-after"]))
    ends_s = [bench.client.get(f"/v1/jobs/job-{n:04d}").json()["eta_s"] for n in range(2)]
    assert told_s == [max(1, math.ceil(end_s)) for end_s in ends_s]
    assert 10 < told_s[0] < told_s[1]
    bench.stop()


def full(allowance: MemberQuotas, ticket: str, waiting: int, ends_s: float) -> int:
    """Asks for a job where there is no room; the seconds told."""
    with pytest.raises(RetryLaterError) as refused:
        allowance.admit_job("ana", ticket, waiting, lambda place: ends_s * (place + 1))
    return int(problem_from_error(refused.value).headers["Retry-After"])


def test_who_comes_back_as_told_gets_in_and_others_of_the_member_wait_their_turn() -> None:
    now = 1000.0
    allowance = MemberQuotas(GenerationSettings(member_jobs=2), clock=lambda: now)
    assert full(allowance, "third", 2, 30.5) == 31
    assert full(allowance, "fourth", 2, 30.5) == 61
    assert full(allowance, "fifth", 2, 30.5) == 61, "nobody is promised what no job's end will free"
    allowance.admit_job("ben", "first", 1, lambda place: 1.0)
    now += 30
    assert full(allowance, "third", 2, 1) == 2, "too early"
    now += 1
    allowance.admit_job("ana", "third", 2, lambda place: 1.0)  # the prediction was too short; the promise counts
    assert full(allowance, "third", 3, 1) >= 1, "a promise is kept once"
    now += 1000
    allowance.admit_job("ana", "sixth", 1, lambda place: 1.0)  # nobody came back for the rest: it has lapsed


def test_promises_do_not_grow_without_end() -> None:
    now = 0.0
    allowance, waiting, refused = MemberQuotas(GenerationSettings(member_jobs=2), clock=lambda: now), 0, 0
    for n in range(100):  # no job ever ends, whatever was predicted
        now += 1
        try:
            allowance.admit_job("ana", f"job {n // 4}", waiting, lambda place: 1.0)
            waiting += 1
        except RetryLaterError:
            refused += 1
    assert waiting == 4
    assert refused == 96


@contextmanager
def listening(answers: list[int]) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A web server that answers with these codes and keeps what came."""
    came: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(answers.pop(0))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/told?by=us", came
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_is_signed_and_tried_again(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, webhook_secret="s3cret", webhook_hosts="127.0.0.1")
    bench.loaded()
    sender = webhooks.WebhookSender(bench.context.job_store, bench.settings, lambda job: describe_job(bench.context, job))
    with listening([500, 302, 204]) as (url, came):
        assert bench.client.put(f"{JOB}", params={"webhook": url}, json=ASK).status_code == 202
        assert ended(bench)["state"] == "done"
        start = datetime.now(UTC)
        for after_s in (0.0, 1.0, 6.0):
            sender.send_due(start + timedelta(seconds=after_s))
        waiting = bench.client.get(JOB).json()["webhook"]
        assert [one["status"] for one in waiting["tries"]] == [500, 302]
        assert waiting["state"] == "waiting"
        assert datetime.fromisoformat(waiting["next"]) == start + timedelta(seconds=6 + 30)
        anew = webhooks.WebhookSender(
            bench.context.job_store, bench.settings, lambda job: describe_job(bench.context, job)
        )  # goes on, does not begin again
        for after_s in (20.0, 40.0, 1000.0):
            anew.send_due(start + timedelta(seconds=after_s))
    assert len(came) == 3
    assert bench.client.get(JOB).json()["webhook"]["state"] == "told"
    headers, body = came[-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = base64.b64encode(hmac.new(b"s3cret", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{right}"
    assert json.loads(body)["state"] == "done"
    assert not list(bench.context.job_store.list_undelivered())
    bench.stop()


def test_a_job_whose_events_cannot_be_read_says_so_and_holds_nobody_up(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, member_jobs=2, webhook_secret="s3cret", webhook_hosts="127.0.0.1")
    bench.loaded()
    bench.worker.stop_claiming()
    key = "jobs/log/anyone/job-0001/000000.json"
    with listening([204]) as (url, came):
        for id in ("job-0001", "job-0002"):
            assert bench.client.put(f"/v1/jobs/{id}", params={"webhook": url}, json=ASK).status_code == 202
        bench.store.put(key, b"{")
        answers = [
            bench.client.request(method, path) for method, path in (("GET", JOB), ("GET", f"{JOB}/events"), ("DELETE", JOB))
        ]
        for answer in (*answers, bench.client.put(JOB, json=ASK)):
            assert (answer.status_code, answer.json()["code"]) == (500, "damaged-job")
            assert key in answer.json()["detail"]
        assert [job["id"] for job in bench.client.get("/v1/jobs").json()["jobs"]] == ["job-0002"]
        assert bench.client.put("/v1/jobs/job-0003", json=ASK).json()["code"] == "too-many-jobs"
        bench.client.delete("/v1/jobs/job-0002")
        sender = webhooks.WebhookSender(bench.context.job_store, bench.settings, lambda job: describe_job(bench.context, job))
        sender.send_due(datetime.now(UTC))
    assert [json.loads(body)["id"] for _, body in came] == ["job-0002"]
    bench.stop()


def test_a_webhook_nobody_answers_is_given_up_and_the_member_can_see_why(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, webhook_secret="s3cret", webhook_hosts="127.0.0.1")
    bench.loaded()
    sender = webhooks.WebhookSender(bench.context.job_store, bench.settings, lambda job: describe_job(bench.context, job))
    with listening([]) as (url, _):
        pass  # nobody is there any more
    assert bench.client.put(JOB, params={"webhook": url}, json=ASK).status_code == 202
    ended(bench)
    start = datetime.now(UTC)
    for hours in range(9):
        sender.send_due(start + timedelta(hours=hours))
    found = bench.client.get(JOB).json()["webhook"]
    assert found["state"] == "given up"
    assert len(found["tries"]) == 7
    assert found["tries"][0]["problem"] == "no answer (ConnectError)"
    assert not list(bench.context.job_store.list_undelivered())
    bench.stop()


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x", "https://127.0.0.1/x", "https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest",
     "https://localhost/", "https://user@example.org/", "file:///etc/passwd", "gopher://x/", "https://[::ffff:10.0.0.1]/",
     "https://0.0.0.0/", "https://example.org:99999/", "nothing", "https://example.org/#x", "https://2130706433/"],
)  # fmt: skip
def test_a_webhook_never_reaches_into_the_own_network(url: str) -> None:
    settings = GenerationSettings(webhook_secret="x")
    with pytest.raises(WebhookError) as refused:
        webhooks.check_webhook(
            url, settings, lambda host, _: {"example.org": ["93.184.216.34"]}.get(host) or look_up_host(host, 1)
        )
    assert problem_from_error(refused.value).status == 422


def test_a_public_name_with_one_private_address_is_refused() -> None:
    settings = GenerationSettings(webhook_secret="x", webhook_hosts="studio:8080")
    with pytest.raises(WebhookError):
        webhooks.check_webhook("https://example.org/x", settings, lambda *_: ["93.184.216.34", "10.0.0.1"])
    assert webhooks.check_webhook("https://example.org/x", settings, lambda *_: ["93.184.216.34"])[1] == "93.184.216.34"
    assert webhooks.check_webhook("http://studio:8080/x", settings, lambda *_: ["10.0.0.1"])[1] == "10.0.0.1"
    with pytest.raises(WebhookError):
        webhooks.check_webhook("http://studio:9090/x", settings, lambda *_: ["10.0.0.1"])


def test_without_a_secret_no_webhooks(bench: InProcessService) -> None:
    answer = bench.client.put(JOB, params={"webhook": "https://example.org/x"}, json=ASK)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-webhook")


def test_rates_and_daily_sound_are_bounded_each_member_apart() -> None:
    now = 86_400.0 * 10 + 3600
    allowance = MemberQuotas(GenerationSettings(rate_per_minute=2, sound_s_per_day=10), clock=lambda: now)
    allowance.count_request("ana")
    allowance.count_request("ana")
    with pytest.raises(RetryLaterError) as often:
        allowance.count_request("ana")
    assert problem_from_error(often.value).headers["Retry-After"] == "30"
    allowance.count_request("ben")
    now += 30
    allowance.count_request("ana")
    allowance.spend_sound("ana", 9)
    with pytest.raises(RetryLaterError) as much:
        allowance.spend_sound("ana", 2)
    assert int(problem_from_error(much.value).headers["Retry-After"]) == 86_400 - 3630
    now += 86_400
    allowance.spend_sound("ana", 9)


def test_rates_and_daily_sound_are_counted_over_all_replicas(tmp_path: Path) -> None:
    now, store, settings = 86_400.0 * 10 + 3600, FolderStore(tmp_path), GenerationSettings(rate_per_minute=5, sound_s_per_day=10)
    one, two = (MemberQuotas(settings, store, lambda: now, name) for name in ("one", "two"))
    for _ in range(4):
        one.count_request("ana")
    one.spend_sound("ana", 6)
    for replica in (one, two):
        replica.share_counts()
    two.count_request("ana")  # the fifth
    with pytest.raises(RetryLaterError) as often:
        two.count_request("ana")
    assert problem_from_error(often.value).headers["Retry-After"] == "60"
    two.count_request("ben")
    with pytest.raises(RetryLaterError):
        two.spend_sound("ana", 5)
    two.spend_sound("ana", 4)
    now += 60
    two.count_request("ana")
    after = MemberQuotas(settings, store, lambda: now, "started anew")
    after.share_counts()
    with pytest.raises(RetryLaterError):
        after.spend_sound("ana", 5)
    now += 3 * 86_400
    after.share_counts()
    after.spend_sound("ana", 10)
    assert [entry.key for entry in store.list("jobs/allowance/")] == ["jobs/allowance/13/started anew.json"]


def test_what_a_members_jobs_keep_in_the_store_is_bounded_by_day_over_all_replicas(tmp_path: Path) -> None:
    now, settings = 86_400.0 * 10, GenerationSettings(kept_mb_per_day=1)
    one, two = (MemberQuotas(settings, FolderStore(tmp_path), lambda: now, name) for name in ("one", "two"))
    one.keep_bytes("ana", 600_000)
    for replica in (one, two):
        replica.share_counts()
    with pytest.raises(RetryLaterError) as full:
        two.keep_bytes("ana", 500_000)
    assert problem_from_error(full.value).code == "daily-bytes"
    two.keep_bytes("ben", 900_000)
    now += 86_400
    two.keep_bytes("ana", 900_000)


def test_a_job_that_is_made_again_keeps_nothing_more(tmp_path: Path) -> None:
    with InProcessService(tmp_path, kept_mb_per_day=0.1) as bench:
        large = {**ASK, "init_audio": "A" * 60_000}
        for _ in range(3):
            assert bench.client.put(JOB, json=large).status_code == 202
        refused = bench.client.put("/v1/jobs/job-0002", json=large)
        assert (refused.status_code, refused.json()["code"]) == (429, "daily-bytes")
        assert "give a sound that was made here as init_sound" in refused.json()["detail"].lower()
        assert bench.client.put("/v1/jobs/job-0002", json=ASK).status_code == 202


def test_one_member_has_one_allowance_for_sounds_and_jobs(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, rate_per_minute=1)
    bench.loaded()
    assert bench.client.post("/v1/generations", json=ASK).status_code == 200
    assert bench.client.put("/v1/jobs/another-one", json=ASK).status_code == 429
    bench.stop()


def test_what_is_refused_or_made_before_costs_nothing_of_the_day(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, sound_s_per_day=1.1)
    bench.loaded()
    for wrong in ({"sampler": "made-up"}, {"init_audio": "AAAA"}, {"release": "another"}):
        assert bench.post(**wrong).status_code in (404, 422)
    for _ in range(3):
        assert bench.client.put(JOB, json=ASK).status_code == 202
    assert bench.client.put(JOB, json={**ASK, "prompt": "another"}).status_code == 409
    assert bench.post().status_code == 200
    assert bench.post().json()["code"] == "daily-sound"
    bench.stop()


def test_the_registrys_word_must_be_signed(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, registry_secret="s", poll_s=3000)
    bench.loaded()
    bench.models.at = "2"
    body, at = b"{}", str(int(time.time()))
    for key, when, status in (("wrong", at, 401), ("s", "1000", 401), ("s", at, 202)):
        sign = base64.b64encode(hmac.new(key.encode(), f"d1.{when}.".encode() + body, hashlib.sha256).digest()).decode()
        headers = {"X-MLflow-Signature": f"v1,{sign}", "X-MLflow-Delivery-Id": "d1", "X-MLflow-Timestamp": when}
        assert bench.client.post("/v1/webhooks/registry", content=body, headers=headers).status_code == status
    until(lambda: bench.loaded().release.version == "2")
    bench.stop()
