"""Taking back in a real headless Chromium, at the width of a screen and of a phone: what is promised first, the act, and what follows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiotune.governance.ledger.ledger import open_ledger
from tests.fakes.generation_http import FakeGeneration, serving
from tests.fakes.seeded_store import Seeded, answer, seed
from tests.integration import test_studio_browser as browser

pytestmark = browser.pytestmark
chromium = browser.chromium
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    made = seed(tmp_path_factory.mktemp("leaving") / "store", segments_each=1, segment_s=1.0)
    for segment in made.segments:
        answer(made.store, segment, "ben", "a horn")
    return made


@pytest.fixture(scope="module")
def studio(group: Seeded, mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        serving(FakeGeneration()) as service,
        browser.running(
            group.store.url, tmp_path_factory.mktemp("work"), ["--generation-url", service], MLFLOW_TRACKING_URI=mlflow_server
        ) as url,
    ):
        yield url


def keep_screenshot(page: browser.Page, name: str) -> None:
    """Where AUDIOTUNE_TEST_SCREENSHOTS names a folder."""
    if folder := os.environ.get("AUDIOTUNE_TEST_SCREENSHOTS"):
        page.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


def look(page: browser.Page) -> str:
    """Opens the part, asks what follows, and waits for the answer."""
    page.open_part("Leaving")
    page.until(lambda: page.one("#at-back-look").is_displayed())
    page.driver.execute_script("document.querySelector('#at-back-look').click()")
    return str(page.until(lambda: page.text("#at-preview")))


def click(page: browser.Page, selector: str) -> None:
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", page.one(selector))


@pytest.mark.parametrize("width", WIDTHS)
def test_what_follows_fits_the_screen(chromium: browser.webdriver.Chrome, studio: str, width: int) -> None:
    page = browser.Page(chromium, studio, "ben", width)
    words = look(page)
    assert "All your recordings, also later ones; now 1 recording." in words
    assert "1 of them is played together with ana: closed for all." in words
    assert "Out of reach: Exports" in words
    keep_screenshot(page, f"leaving-preview-{width}")
    wide = chromium.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    assert page.errors() == []


def test_a_member_takes_everything_back(chromium: browser.webdriver.Chrome, studio: str, group: Seeded) -> None:
    page = browser.Page(chromium, studio, "ben", 390)
    look(page)
    before = open_ledger(group.store).read_state().number
    click(page, "#at-back-do")
    page.until(lambda: "nothing was done" in chromium.page_source)
    assert open_ledger(group.store).read_state().number == before

    click(page, "#at-back-erase input[value=everything_derived]")
    page.one("#at-back-typed textarea, #at-back-typed input").send_keys("Take it back")
    click(page, "#at-back-do")
    page.until(lambda: "is in the ledger" in chromium.page_source)
    page.until(lambda: "Withdrawal" in page.text("#at-withdrawals"))
    keep_screenshot(page, "leaving-done-390")
    state = open_ledger(group.store).read_state()
    (made,) = state.withdrawals.values()
    assert (made.member, made.is_all, made.erase) == ("ben", True, "everything_derived")
    assert state.erasures[made.number][0].counts["segments"] == 1
    drone = group.recordings[0]
    assert group.store.exists(drone.blob)  # ana plays on it, too
    assert not group.store.exists(next(s.blob for s in group.segments if s.recording == drone.id))
    shown = page.text("#at-withdrawals")
    assert f"Withdrawal {made.number}, by Ben" in shown
    assert "kept: recording" in shown
    assert page.errors() == []
