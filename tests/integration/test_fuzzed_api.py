"""The API fuzzed over real HTTP: nothing is answered by 5xx. `python -m benchmarks.fuzz_api` plays more of it, and measures memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzz_api import fuzz_service, serve_fuzzed

pytestmark = pytest.mark.integration
COUNT = 1500


def test_no_request_is_answered_by_a_fault_of_ours(tmp_path: Path) -> None:
    with serve_fuzzed(tmp_path) as service:
        found = fuzz_service(service, COUNT)
    assert not found.broken
    assert found.statuses.total() >= COUNT
    assert {200, 202, 400, 401, 404, 405, 415, 422} <= set(found.statuses), "all kinds of answers came"
