"""Uploads in a real headless Chromium: leaving the page and restarting the studio lose nothing; a failed one is tried again.

The studio is the real one; the program that cuts is a stand-in of ours (tests.fakes.local_program), so that seconds are enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.seeded_store import seed, tone
from tests.integration import test_studio_browser as browser
from tests.integration.test_studio_tuning import Studio

webdriver, chromium = browser.webdriver, browser.chromium
pytestmark = browser.pytestmark


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    group = seed(tmp_path_factory.mktemp("uploads") / "store", segments_each=1, segment_s=1.0)
    made = Studio(group, tmp_path_factory.mktemp("studio"))
    made.start()
    yield made
    made.stop()


def at_uploads(driver: webdriver.Chrome, studio: Studio, member: str, width: int = 1280) -> browser.Page:
    page = browser.Page(driver, studio.url, member, width)
    page.open_page("Upload")
    page.until(lambda: page.all("#at-files input[type=file]"))
    return page


def send(page: browser.Page, take: Path, session: str) -> None:
    page.one("#at-files input[type=file]").send_keys(str(take))
    page.until(lambda: take.stem in page.text("#at-files"))
    page.until(lambda: page.all("#at-people input:checked"))
    page.one("#at-session textarea, #at-session input").send_keys(session)
    page.one("#at-send").click()
    page.until(lambda: "You may leave the page" in page.text("#at-news"))
    page.until(lambda: card(page, session))


def card(page: browser.Page, session: str) -> str:
    """What the page shows of the upload of a session."""
    return next((each.text for each in page.all(".at-upload") if each.text.startswith(session)), "")


def newest_run(studio: Studio) -> Path:
    return max(path for path in (studio.folder / "work" / "uploads").iterdir() if path.is_dir())


def test_an_upload_goes_on_when_the_page_is_left_and_the_studio_restarted(
    chromium: webdriver.Chrome, studio: Studio, tmp_path: Path
) -> None:
    page = at_uploads(chromium, studio, "ana")
    send(page, tone(330, 1.0).write(tmp_path / "evening <i>.wav"), "Tuesday jam")
    page.until(lambda: "step 96 of 240" in card(page, "Tuesday jam"))
    assert not page.all(".at-upload i:not(.at-bar-me)")
    chromium.get("about:blank")
    studio.stop()
    studio.start()
    page = at_uploads(chromium, studio, "ben", 390)
    page.until(lambda: "by Ana" in card(page, "Tuesday jam") and "step 96 of 240" in card(page, "Tuesday jam"))
    chromium.get("about:blank")
    (newest_run(studio) / "go").touch()
    page = at_uploads(chromium, studio, "ben", 390)
    page.until(lambda: "done" in card(page, "Tuesday jam"))
    wide = chromium.execute_script("return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    assert wide <= 390
    assert page.errors() == []


def test_a_failed_upload_gives_its_reason_and_is_tried_again(chromium: webdriver.Chrome, studio: Studio, tmp_path: Path) -> None:
    page = at_uploads(chromium, studio, "ben")
    send(page, tone(220, 1.0).write(tmp_path / "morning.wav"), "once")
    page.until(lambda: "failed" in card(page, "once"))
    assert "the loss is not a number at step 108" in card(page, "once")
    page.one("button[id^=at-upload-retry]").click()
    page.until(lambda: "step 96 of 240" in card(page, "once"))
    (newest_run(studio) / "go").touch()
    page.until(lambda: "done" in card(page, "once"))
    assert page.errors() == []


def test_a_running_upload_is_stopped(chromium: webdriver.Chrome, studio: Studio, tmp_path: Path) -> None:
    page = at_uploads(chromium, studio, "chi")
    send(page, tone(440, 1.0).write(tmp_path / "night.wav"), "waits")
    page.until(lambda: "step 96 of 240" in card(page, "waits"))
    page.one("button[id^=at-upload-stop]").click()
    page.until(lambda: "stopped by chi" in card(page, "waits"))
    assert page.errors() == []
