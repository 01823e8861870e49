"""Making a new release from the Releases page, in a real headless Chromium: the form, the steps, a reload, a reason, a cancel.

The studio is the real one; the program that trains is a stand-in of ours (tests.fakes.local_program), so that seconds are enough.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from audiotune.governance import Consent, record_consent
from tests.fakes.seeded_store import Seeded, answer, seed
from tests.integration import test_studio_browser as browser

webdriver, chromium = browser.webdriver, browser.chromium
pytestmark = browser.pytestmark


class Studio:
    """A studio that can be stopped and started again on the same store."""

    def __init__(self, group: Seeded, folder: Path) -> None:
        self.group, self.folder, self.port = group, folder, browser.free_port()
        self._running = ExitStack()

    def start(self) -> None:
        flags, module = ["--generation-url", "http://127.0.0.1:9"], "tests.fakes.studio"
        studio = browser.running(self.group.store.url, self.folder, flags, module=module, port=self.port)
        self.url = self._running.enter_context(studio)

    def stop(self) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    group = seed(tmp_path_factory.mktemp("tuning") / "store", segments_each=2, segment_s=1.0)
    for segment in group.segments[:4]:
        answer(group.store, segment, "ben", "a horn", mood=("dark",))
    made = Studio(group, tmp_path_factory.mktemp("studio"))
    made.start()
    yield made
    made.stop()


def at_releases(driver: webdriver.Chrome, studio: Studio, member: str, width: int = 1280) -> browser.Page:
    page = browser.Page(driver, studio.url, member, width)
    page.open_page("Releases")
    page.until(lambda: page.all("#at-training button"))
    return page


def shot(driver: webdriver.Chrome, name: str) -> None:
    if folder := os.environ.get("AUDIOTUNE_SCREENSHOTS"):
        time.sleep(0.5)
        driver.save_screenshot(f"{folder}/{name}.png")


def newest(studio: Studio) -> Path:
    """The folder of the newest run."""
    return max((studio.folder / "work" / "tunings").iterdir())


def begin(page: browser.Page, name: str) -> None:
    page.one("#at-training-open").click()
    page.until(lambda: page.all("#at-training-start"))
    box = page.one("#at-box-training_name")
    box.clear()
    box.send_keys(name)
    page.one("#at-training-start").click()
    page.until(lambda: f"{name} is being made" in page.text("#at-training"))


def test_a_release_is_made_and_its_report_found(chromium: webdriver.Chrome, studio: Studio) -> None:
    page = at_releases(chromium, studio, "ana")
    page.one("#at-training-open").click()
    page.until(lambda: page.all("#at-training-start"))
    assert "6 of 6 segments have words: 4 by members' ears, 2 by their file's name" in page.text(".at-readiness")
    options = [option.text for option in page.all("#at-box-training_base option")]
    assert options == ["tiny, for trials", "Stable Audio Open 1.0"]
    shot(chromium, "tuning-form-1280")
    assert page.one("#at-box-training_name").get_attribute("value") == "patch-bay"
    browser.Select(page.one("#at-box-training_length")).select_by_value("short (24 steps)")
    page.one("#at-training-start").click()
    page.until(lambda: "patch-bay is being made" in page.text("#at-training"))
    page.until(lambda: "step 96 of 240" in page.text("#at-training"))
    assert "short (24 steps)" in page.text("#at-training")
    shot(chromium, "tuning-running-1280")
    (newest(studio) / "go").touch()
    page.until(lambda: "patch-bay 2 is there" in page.text("#at-training-outcome"))
    page.until(lambda: "patch-bay 2" in page.text("#at-releases"))
    assert "did not pass the gate" in page.text("#at-training")
    page.one("#at-training-report").click()
    page.until(lambda: page.all("#at-report-frame iframe"))
    shot(chromium, "tuning-done-1280")
    assert page.errors() == []


def test_a_reload_and_a_restart_lose_nothing_and_another_sees_who_began_it(chromium: webdriver.Chrome, studio: Studio) -> None:
    page = at_releases(chromium, studio, "ana")
    begin(page, "waits")
    page.until(lambda: "step 96 of 240" in page.text("#at-training"))
    studio.stop()
    studio.start()
    page = at_releases(chromium, studio, "ben", 390)
    page.until(lambda: "Ana began it" in page.text("#at-training"))
    page.until(lambda: "step 96 of 240" in page.text("#at-training"))
    assert not page.all("#at-training-open")
    shot(chromium, "tuning-running-390")

    page.one("#at-training-cancel").click()
    page.one("#at-training-cancel-confirm").click()
    page.until(lambda: "waits was cancelled by Ben" in page.text("#at-training-outcome"))
    shot(chromium, "tuning-cancelled-390")
    assert page.errors() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_failing_step_and_its_reason_are_reported(chromium: webdriver.Chrome, studio: Studio, width: int) -> None:
    page = at_releases(chromium, studio, "chi", width)
    begin(page, "fails")
    page.until(lambda: "fails failed" in page.text("#at-training-outcome"))
    assert page.text("#at-training-reason").startswith("Finetune: the loss is not a number at step 108. Take a smaller")
    assert "stopped at Fine-tune the model" in page.text("#at-training")
    wide = chromium.execute_script("return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    assert wide <= width
    shot(chromium, f"tuning-failed-{width}")
    page.one("#at-training-open").click()
    page.until(lambda: page.all("#at-training-start"))
    shot(chromium, f"tuning-form-again-{width}")
    assert page.errors() == []


def test_what_is_missing_is_said_before_anything_starts(chromium: webdriver.Chrome, studio: Studio, tmp_path: Path) -> None:
    empty = Studio(seed(tmp_path / "store", segments_each=1, segment_s=0.5), tmp_path)
    for recording in empty.group.recordings:
        for who in recording.contributors:
            taken_back = Consent(recording=recording.id, contributor=who, uses=(), basis="by hand", agreement="0" * 64)
            record_consent(empty.group.store, taken_back)
    empty.start()
    try:
        page = at_releases(chromium, empty, "ana", 390)
        page.one("#at-training-open").click()
        page.until(lambda: "No recording may be trained on" in page.text(".at-readiness"))
        assert "ben has not agreed to train" in page.text(".at-readiness")
        assert not page.all("#at-training-start")
        shot(chromium, "tuning-missing-390")
        assert page.errors() == []
    finally:
        empty.stop()
