"""Metrics in Prometheus' text format, with bounded labels: routes as they are written, never paths as they are asked for.

BentoML's own are switched off in service.py: they keep one series for every path anybody makes up.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping

Label = tuple[str, str, int]  # route, method, status
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """Counts of answers; the gauges are asked when somebody looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[Label] = Counter()
        self._seconds: defaultdict[Label, float] = defaultdict(float)

    def count_answer(self, route: str, method: str, status: int, seconds: float) -> None:
        label = (route, method if method in _METHODS else "other", status)
        with self._lock:
            self._requests[label] += 1
            self._seconds[label] += seconds

    def render_text(self, gauges: dict[str, float]) -> str:
        with self._lock:
            requests, seconds = dict(self._requests), dict(self._seconds)
        counters: tuple[tuple[str, Mapping[Label, float]], ...] = (
            ("requests_total", requests),
            ("request_seconds_total", seconds),
        )
        lines: list[str] = []
        for name, values in counters:
            lines.append(f"# TYPE audio_tune_{name} counter")
            for (route, method, status), value in sorted(values.items()):
                lines.append(f'audio_tune_{name}{{route="{route}",method="{method}",status="{status}"}} {value:g}')
        for gauge, value in gauges.items():
            lines += [f"# TYPE audio_tune_{gauge} gauge", f"audio_tune_{gauge} {value:g}"]
        return "\n".join(lines) + "\n"
