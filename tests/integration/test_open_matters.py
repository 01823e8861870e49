"""What waits for a member, at the top of the page in a real Chromium: counted, led to, and gone when it is done."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiotune.governance.member_acts import append_member_event
from tests.fakes.seeded_store import Seeded, seed
from tests.integration import test_studio_browser as browser

webdriver, chromium = browser.webdriver, browser.chromium
pytestmark = browser.pytestmark
OPENED: dict[str, Any] = {"kind": "other", "title": "Buy <i>filters</i>", "rule": {}}


@pytest.fixture
def group(tmp_path: Path) -> Seeded:
    return seed(tmp_path / "store", segments_each=1, segment_s=1.0)


@pytest.fixture
def studio(group: Seeded, tmp_path: Path) -> Iterator[str]:
    with browser.running(group.store.url, tmp_path) as url:
        yield url


@pytest.mark.parametrize("width", [1280, 390])
def test_what_waits_is_counted_and_led_to(chromium: webdriver.Chrome, studio: str, group: Seeded, width: int) -> None:
    append_member_event(group.store, "ben", "agreement_signed", {"agreement": group.agreement.digest}, via="command")
    number = append_member_event(group.store, "ana", "proposal_opened", OPENED, via="command")
    page = browser.Page(chromium, studio, "ben", width)
    page.until(lambda: page.all(f"[data-matter=proposal-{number}]"))
    assert page.text("#at-matters .at-count") == "1"  # what is new waits for nothing
    page.one("#at-matters summary").click()
    assert "“Buy <i>filters</i>”" in page.text("#at-matters")
    assert not page.all("#at-matters i")
    if shots := os.environ.get("AUDIOTUNE_SCREENSHOTS"):
        time.sleep(0.7)
        page.driver.save_screenshot(f"{shots}/matters-{width}.png")
        if width == 390:
            page.open_part("Keys")
            time.sleep(2)
            page.driver.save_screenshot(f"{shots}/keys-{width}.png")

    news = [
        one.get_attribute("data-matter") for one in page.all("#at-matters li") if one.find_elements("css selector", ".at-away")
    ]
    assert news  # the releases of the seeded store
    for _ in news:
        page.one("#at-matters .at-away").click()
    assert not page.all("#at-matters .at-away")

    page.one(f"[data-matter=proposal-{number}] .at-link").click()
    page.until(lambda: page.all("#at-vote input[value=abstain]") and page.one("#at-vote-cast").is_displayed())
    page.one("#at-vote input[value=abstain]").click()
    page.one("#at-vote-cast").click()
    page.until(lambda: not page.all("#at-matters"))  # within seconds, without loading the page again
    assert page.errors() == []
