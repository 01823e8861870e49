"""Metrics in Prometheus' text format, with bounded labels: routes as they are written, never paths as they are asked for.

BentoML's own are switched off in host/service.py: they keep one series for every path that anybody makes up.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900)
_GAUGES = {
    "ready": "whether a request that comes now will probably get its sound",
    "waiting": "sounds that wait for the engine",
    "swaps_done": "versions that took over since the start",
    "swaps_broken": "versions that could not be served since the start",
    "jobs_held": "jobs that this replica has claimed",
}
disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each counter, which no dashboard reads


class Metrics:
    """Counters and histograms of one service process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        route = ("route", "method", "status")
        self._requests = Counter("audio_tune_requests", "requests that were answered", route, registry=self._registry)
        self._seconds = Counter(
            "audio_tune_request_seconds", "seconds from requests to their answers, in all", route, registry=self._registry
        )
        self._request_s = self._build_histogram(
            "request", "from a request to its answer, where it was not refused", ("route", "method")
        )
        self.queue_s = self._build_histogram("queue", "that a sound waited for the engine")
        self.generation_s = self._build_histogram("generation", "that a sound's batch was denoised")
        self._trouble = Gauge("audio_tune_trouble", "1 for the class of what is wrong now", ["reason"], registry=self._registry)
        self._gauges = {name: Gauge(f"audio_tune_{name}", words, registry=self._registry) for name, words in _GAUGES.items()}

    def _build_histogram(self, name: str, words: str, labels: tuple[str, ...] = ()) -> Histogram:
        name, words = f"audio_tune_{name}_duration_seconds", f"seconds {words}"
        return Histogram(name, words, labels, buckets=_BUCKETS_S, registry=self._registry)

    def count_answer(self, route: str, method: str, status: int, seconds: float) -> None:
        method = method if method in _METHODS else "other"
        self._requests.labels(route, method, status).inc()
        self._seconds.labels(route, method, status).inc(seconds)
        if status < 400:  # refusals are quick, and would add a series for every route that is asked for wrongly
            self._request_s.labels(route, method).observe(seconds)

    def render_text(self, gauges: Mapping[str, float], trouble: str = "") -> str:
        """Everything that was counted, the given values of the gauges, and the class of what is wrong now, if anything is."""
        self._trouble.clear()
        if trouble:
            self._trouble.labels(trouble).set(1)
        for name, value in gauges.items():
            self._gauges[name].set(value)
        return generate_latest(self._registry).decode()
