"""A bounded part of the random requests; `python -m tests.integration.studio_fuzz` sends thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.access import accounts
from tests.fakes.seeded_store import seed
from tests.integration import studio_fuzz
from tests.integration import test_studio_browser as browser

pytestmark = pytest.mark.integration


def test_random_requests_are_refused_in_order_and_take_no_memory(tmp_path: Path) -> None:
    made = seed(tmp_path / "store", segments_each=2, segment_s=0.3)
    for member in ("ana", "ben"):
        accounts.create_account(made.store, member, studio_fuzz.PASSWORD, work=1)
    port = browser.free_port()
    with browser.running(made.store.url, tmp_path, module="tests.fakes.studio", port=port, AUDIOTUNE_ACCESS="members") as url:
        report = studio_fuzz.fuzz_studio(url, studio_fuzz.find_process(port), requests=400, seed=3)
    assert report.faults == []
    assert report.growth < 0.1
    assert len(report.statuses) > 5
    assert report.statuses[200] > 50  # it reaches what lies behind the refusals
