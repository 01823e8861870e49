"""A recording that waits, in a real headless Chromium: Ana uploads it, Ben hears it and says yes, and the real pipeline cuts it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from audiotune.audio.sound import Sound
from audiotune.domain.manifest import fetch_manifest, list_manifests
from audiotune.domain.recording import Recording
from audiotune.domain.segment import Segment
from audiotune.governance import Member, publish_agreement, read_consents
from audiotune.store import compute_digest
from tests.fakes.seeded_store import Seeded, seed, tone
from tests.integration import test_studio_browser as browser

webdriver, chromium = browser.webdriver, browser.chromium
pytestmark = browser.pytestmark
RATE = 48_000
CUT_S = 300  # the real pipeline, beside other tests on two cores


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    """Ben and Dov ask for each recording."""
    made = seed(tmp_path_factory.mktemp("waiting") / "store", segments_each=1, segment_s=1.0)
    members = [one.model_copy(update={"consents_to": ()}) if one.id == "ben" else one for one in made.agreement.members]
    members.append(Member(id="dov", name="Dov"))
    agreement = made.agreement.model_copy(update={"version": 2, "members": tuple(members)})
    publish_agreement(made.store, agreement)
    return replace(made, agreement=agreement)


@pytest.fixture(scope="module")
def studio(group: Seeded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browser.running(group.store.url, tmp_path_factory.mktemp("work")) as url:
        yield url


def write_take(path: Path, seed: int) -> Path:
    """Five plucks with silence between them."""
    pause = np.zeros((2, RATE // 2), np.float32)
    plucks = [part for i in range(5) for part in (pause, tone(200 + 60 * i + seed, 1.0, RATE).data)]
    return Sound(np.concatenate([*plucks, pause], axis=1), RATE).write(path)


def upload(page: browser.Page, take: Path, *others: str) -> None:
    page.open_page("Upload")
    page.until(lambda: page.all("#at-files input[type=file]"))
    page.one("#at-files input[type=file]").send_keys(str(take))
    page.until(lambda: take.stem in page.text("#at-files"))
    page.until(lambda: page.all("#at-people input:checked"))
    for name in others:
        next(label for label in page.all("#at-people label") if label.text.strip() == name).click()
    page.one("#at-send").click()
    page.until(lambda: "You may leave the page" in page.text("#at-news"))


def card(page: browser.Page, name: str) -> str:
    return next((each.text for each in page.all(".at-upload") if name in each.text), "")


def keep_screenshot(driver: webdriver.Chrome, name: str) -> None:
    """For people to look at, where AUDIOTUNE_TEST_SCREENSHOTS names a folder."""
    if folder := os.environ.get("AUDIOTUNE_TEST_SCREENSHOTS"):
        driver.save_screenshot(f"{folder}/{name}.png")


def read_rows(group: Seeded, take: Path) -> tuple[list[Recording], list[Segment]]:
    """What the store's manifests have of a take."""
    id, store = compute_digest(take), group.store
    rows = [
        row for one in list_manifests(store, "recordings") for row in fetch_manifest(store, one.key, "recordings", Recording).rows
    ]
    cut = [row for one in list_manifests(store, "segments") for row in fetch_manifest(store, one.key, "segments", Segment).rows]
    return [row for row in rows if row.id == id], [row for row in cut if row.recording == id]


def test_it_waits_is_heard_agreed_to_and_cut(chromium: webdriver.Chrome, studio: str, group: Seeded, tmp_path: Path) -> None:
    take = write_take(tmp_path / "evening & rain.wav", 1)
    page = browser.Page(chromium, studio, "ana")
    upload(page, take, "Ben")
    assert "1 file: waits for Ben, until 20" in page.text("#at-news")
    page.until(lambda: "Waits for Ben" in card(page, "evening"))
    keep_screenshot(chromium, "waits-1280")
    assert read_rows(group, take) == ([], [])
    assert page.errors() == []

    page = browser.Page(chromium, studio, "chi")  # who is not in it is shown nothing
    page.open_part("My recordings")
    page.until(lambda: page.all(".at-waiting-for-me"))
    assert not page.all(".at-waiting-one")

    page = browser.Page(chromium, studio, "ben", 390)
    page.open_part("My recordings")
    page.until(lambda: page.all(".at-waiting-one"))
    assert "1 recording waits for you" in page.text(".at-waiting-for-me")
    assert page.text(".at-waiting-one h3") == "evening & rain.wav"
    page.one("button[id^=at-hear]").click()
    page.until(lambda: page.all(".at-waiting-one audio"))
    page.until(lambda: chromium.execute_script("return document.querySelector('.at-waiting-one audio').duration > 7"))
    chromium.execute_script("document.querySelector('.at-waiting-one audio').play()")
    page.until(lambda: chromium.execute_script("return document.querySelector('.at-waiting-one audio').currentTime") > 0.2)
    keep_screenshot(chromium, "heard-390")
    wide = chromium.execute_script("return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    assert wide <= 390

    page.one("button[id^=at-answer]").click()  # nothing is said yet
    page.until(lambda: "Say yes or no to each use first" in page.text(".at-waiting-for-me .at-message"))
    page.one("input[id^=at-use][id$=store-yes]").send_keys(browser.Keys.SPACE)  # by keyboard
    for use in ("train", "release", "generate"):
        page.one(f"input[id^=at-use][id$={use}-yes]").send_keys(browser.Keys.SPACE)
    page.one("input[id^=at-use][id$=release-yes]").send_keys(browser.Keys.ARROW_RIGHT)
    assert page.one("input[id^=at-use][id$=release-no]").is_selected()
    page.one("button[id^=at-answer]").send_keys(browser.Keys.ENTER)
    page.until(lambda: "Everybody has agreed" in page.text(".at-waiting-for-me .at-message"))
    keep_screenshot(chromium, "answered-390")
    assert not page.all(".at-waiting-one")
    assert page.errors() == []

    end = time.monotonic() + CUT_S
    while not read_rows(group, take)[1] and time.monotonic() < end:
        time.sleep(0.5)
    page = browser.Page(chromium, studio, "ana")
    page.open_page("Upload")
    page.until(lambda: "segments" in card(page, "evening") or "failed" in card(page, "evening"))
    keep_screenshot(chromium, "cut-1280")
    (row,), segments = read_rows(group, take)
    assert row.contributors == ("ana", "ben")
    assert segments
    assert f"{len(segments)} segments" in card(page, "evening")
    page.until(lambda: not list(group.store.list("waiting/")))
    assert page.errors() == []


def test_a_no_deletes_it_for_everybody(chromium: webdriver.Chrome, studio: str, group: Seeded, tmp_path: Path) -> None:
    take = write_take(tmp_path / "night.wav", 2)
    page = browser.Page(chromium, studio, "ana")
    upload(page, take, "Ben", "Dov")
    page.until(lambda: "Waits for Ben and Dov" in card(page, "night"))
    page = browser.Page(chromium, studio, "dov")
    page.open_part("My recordings")
    page.until(lambda: page.all(".at-waiting-one"))
    page.one("button[id^=at-hear]").click()
    page.until(lambda: page.all(".at-waiting-one audio"))
    address = str(page.one(".at-waiting-one audio").get_attribute("src"))
    assert httpx.get(address).status_code == 200
    page.one("button[id^=at-all-no]").click()
    assert "the recording is deleted, for everybody and for good" in page.text(".at-waiting-one")
    keep_screenshot(chromium, "no-1280")
    page.one("button[id^=at-answer]").click()
    page.until(lambda: "It is deleted." in page.text(".at-waiting-for-me .at-message"))
    assert list(group.store.list("waiting/")) == []
    assert httpx.get(address).status_code in (403, 404)  # the copy to hear is gone, too
    page = browser.Page(chromium, studio, "ana", 390)
    page.open_page("Upload")
    page.until(lambda: "Dov said no" in card(page, "night"))
    keep_screenshot(chromium, "deleted-390")
    wide = chromium.execute_script("return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    assert wide <= 390
    assert not any(compute_digest(take) in entry.key for entry in group.store.list(""))
    assert page.errors() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_a_part_is_left_out(chromium: webdriver.Chrome, studio: str, group: Seeded, width: int) -> None:
    page = browser.Page(chromium, studio, "chi", width)
    page.open_part("My recordings")
    page.until(lambda: page.all("#at-except-of input") and page.one("#at-except-of input").is_displayed())
    chromium.execute_script("document.querySelector('#at-except-of').scrollIntoView()")
    page.one("#at-except-of input").send_keys("plucks", browser.Keys.ENTER)
    page.until(lambda: "left out" in page.text("#at-excepted").lower())
    start, end = ("0.1", "0:00.2") if width > 390 else ("0.5", "0.6")
    page.one("#at-except-from input, #at-except-from textarea").send_keys(start)
    page.one("#at-except-to input, #at-except-to textarea").send_keys(end)
    page.one("#at-except-add").click()
    page.until(lambda: "Recorded" in page.text("#at-except-news"))
    page.until(lambda: "0:00.1 to 0:00.2" in page.text("#at-excepted"))
    keep_screenshot(chromium, f"left-out-{width}")
    wide = chromium.execute_script("return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    assert wide <= width
    record = read_consents(group.store, [group.recordings[1].id])[group.recordings[1].id, "chi"]
    assert (record.excepted[0].start_s, record.excepted[0].end_s) == (0.1, 0.2)
    assert page.errors() == []
