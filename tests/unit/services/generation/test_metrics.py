"""Prometheus metrics: names that dashboard and alerts use, bounded labels, histograms of the three times."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from services.generation.metrics import Metrics
from tests.fakes.in_process_service import InProcessService

CHART_FILES = Path(__file__).resolve().parents[4] / "helm" / "audio-tune" / "files"


def read_samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_of_dashboard_and_alerts_is_there(tmp_path: Path) -> None:
    with InProcessService(tmp_path) as bench:
        bench.post()
        names = {name for name, _ in read_samples(bench.client.get("/metrics").text)}
    asked = set()
    for file in ("dashboard.json", "alerts.yaml"):
        asked |= set(re.findall(r"audio_tune_\w+", (CHART_FILES / file).read_text()))
    assert asked >= {"audio_tune_ready", "audio_tune_requests_total"}
    assert asked <= names


def test_a_sound_is_counted_in_the_three_histograms(tmp_path: Path) -> None:
    with InProcessService(tmp_path) as bench:
        bench.post(count=2)
        answer = bench.client.get("/metrics")
        found = read_samples(answer.text)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    route = frozenset({("route", "/v1/generations"), ("method", "POST")})
    assert found["audio_tune_queue_duration_seconds_count", frozenset()] == 2
    assert found["audio_tune_generation_duration_seconds_count", frozenset()] == 2
    assert found["audio_tune_request_duration_seconds_count", route] == 1
    total = found["audio_tune_request_seconds_total", route | {("status", "200")}]
    assert 0 < found["audio_tune_generation_duration_seconds_sum", frozenset()] / 2 <= total
    assert found["audio_tune_request_duration_seconds_sum", route] == total
    assert found["audio_tune_ready", frozenset()] == 1
    assert found["audio_tune_swaps_done", frozenset()] == 1


def test_labels_are_bounded_whatever_is_asked_for(tmp_path: Path) -> None:
    with InProcessService(tmp_path) as bench:
        for number in range(30):
            bench.client.request(f"METHOD{number}", f"/made/up/{number}")
        found = read_samples(bench.client.get("/metrics").text)
    assert {labels for name, labels in found if name == "audio_tune_requests_total"} == {
        frozenset({("route", "unknown"), ("method", "other"), ("status", "404")})
    }


def test_two_services_in_one_process_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.queue_s.observe(0.3)
    assert read_samples(one.render_text({}))["audio_tune_queue_duration_seconds_count", frozenset()] == 1
    assert read_samples(two.render_text({}))["audio_tune_queue_duration_seconds_count", frozenset()] == 0
