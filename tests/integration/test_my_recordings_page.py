"""My recordings in a real headless Chromium: 203 recordings, one switch by keyboard, all of mine, a date; at 1280 and 390 pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from audiotune.domain.manifest import Manifest
from audiotune.governance import Consent, read_consents, read_standing
from audiotune.governance.agreement import FIRST_USES
from audiotune.governance.consent import record_consents
from tests.fakes.described_store import digest
from tests.fakes.seeded_store import Seeded, seed
from tests.integration import test_studio_browser as browser
from tests.integration.test_studio_browser import chromium as chromium

pytestmark = browser.pytestmark
MORE = 200


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    made = seed(tmp_path_factory.mktemp("consents") / "store", segments_each=2, segment_s=1.0)
    first = made.recordings[0]
    names = {digest(f"jam {i}"): f"evening jam {i:03}.wav" for i in range(MORE)}
    rows = [first.model_copy(update={"id": id, "name": name, "contributors": ("ana",)}) for id, name in names.items()]
    Manifest("recordings", rows, {"source": "tests"}).save(made.store)
    words = [
        Consent(recording=row.id, contributor="ana", uses=FIRST_USES, basis="x", agreement=made.agreement.digest) for row in rows
    ]
    record_consents(made.store, words)
    return made


@pytest.fixture(scope="module")
def studio(group: Seeded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browser.running(group.store.url, tmp_path_factory.mktemp("work")) as url:
        yield url


def take_picture(driver: webdriver.Chrome, name: str) -> None:
    if shots := os.environ.get("AUDIOTUNE_SCREENSHOTS"):
        driver.save_screenshot(f"{shots}/{name}.png")


def rows_of(page: browser.Page) -> int:
    return len([row for row in page.all(".at-consent-rows .at-consent-row") if row.is_displayed()])


def opened(driver: webdriver.Chrome, studio: str, width: int = 1280) -> browser.Page:
    page = browser.Page(driver, studio, "ana", width)
    page.open_part("My recordings")
    page.until(lambda: rows_of(page) == MORE + 2)
    return page


def test_a_member_gives_and_takes_back_by_keyboard(chromium: webdriver.Chrome, studio: str, group: Seeded) -> None:
    page, drone = opened(chromium, studio), group.recordings[0].id
    take_picture(chromium, "my-recordings")
    page.one("#at-consent-find").send_keys("drone")
    page.until(lambda: rows_of(page) == 1)
    assert "1 of 202" in page.text(".at-consent-tools")
    assert "in release patch-bay 1" in page.text(f"[data-recording='{drone}'] .at-hangs")
    page.one(f"#at-use-{drone}-store").send_keys(Keys.ARROW_RIGHT)  # to the next switch
    assert chromium.switch_to.active_element.get_attribute("id") == f"at-use-{drone}-train"
    chromium.switch_to.active_element.send_keys(Keys.SPACE)
    page.until(lambda: page.one(f"#at-use-{drone}-train").get_attribute("aria-checked") == "false")
    assert "Taken back: train, for tuesday drone.wav" in page.text(".at-consents > .at-message")
    assert "ana has not agreed to train" in page.one(f"[data-recording='{drone}']").get_attribute("textContent")
    assert "train" not in read_consents(group.store, [drone])[drone, "ana"].uses
    assert chromium.switch_to.active_element.get_attribute("id") == f"at-use-{drone}-train"  # the keyboard stays where it was
    chromium.switch_to.active_element.send_keys(Keys.SPACE)
    page.until(lambda: page.one(f"#at-use-{drone}-train").get_attribute("aria-checked") == "true")
    assert rows_of(page) == 1  # the filter stays, too
    page.one(f"#at-hear-{drone}").click()
    page.until(lambda: chromium.execute_script("return window.audioTunePlaying && window.audioTunePlaying.played.length > 0"))
    assert page.errors() == []


def test_what_stops_a_release_is_asked_twice(chromium: webdriver.Chrome, studio: str, group: Seeded) -> None:
    page, drone = opened(chromium, studio), group.recordings[0].id
    switch = f"#at-use-{drone}-generate"
    page.one(switch).send_keys(Keys.SPACE)
    asks = page.until(lambda: chromium.switch_to.alert)
    assert "patch-bay 1 holds tuesday drone.wav" in asks.text
    asks.dismiss()
    assert page.one(switch).get_attribute("aria-checked") == "true"
    page.one(switch).send_keys(Keys.SPACE)
    page.until(lambda: chromium.switch_to.alert).accept()
    page.until(lambda: page.one(switch).get_attribute("aria-checked") == "false")
    page.open_page("Releases")
    page.until(lambda: "not allowed to play" in page.text("#at-releases"))
    assert "ana has not agreed to generate" in page.text("#at-releases")
    take_picture(chromium, "silent-release")
    page.open_page("Agreement")
    page.open_part("Agreement")
    page.until(lambda: "less for 1 of 202 recordings" in page.text("#at-agreement"))


def test_a_phone_shows_it_without_scrolling_sideways(chromium: webdriver.Chrome, studio: str, group: Seeded) -> None:
    page = opened(chromium, studio, 390)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 390
    take_picture(chromium, "my-recordings-390")
    sizes = [page.one(f"#at-use-all-{use}").size for use in FIRST_USES]
    assert all(size["height"] >= 44 and size["width"] >= 44 for size in sizes)  # for a thumb
    page.one("#at-use-all-train").click()
    page.until(lambda: page.one("#at-use-all-train").get_attribute("aria-checked") == "false")
    assert read_standing(group.store)["ana"].uses == ("store", "release", "generate")
    assert rows_of(page) == MORE + 2
    take_picture(chromium, "my-recordings-390-all")
    assert page.errors() == []
