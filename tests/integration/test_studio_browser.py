"""The studio in a real headless Chromium: annotate by keyboard, hidden answers, generate, upload, widths, no console errors."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from audiotune import governance
from audiotune.domain import annotation
from services.studio.library import LibraryCache
from tests.fakes.generation_http import FakeGeneration, serving
from tests.fakes.seeded_store import Seeded, answer, seed, tone

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not CHROMIUM or not DRIVER, reason="no chromium and chromedriver on this machine"),
]
PAGES = ("Upload", "Annotate", "Generate", "Releases", "Agreement")
PARTS = ("Decisions", "Keys", "Leaving")  # of the agreement page; the first part is what opening the page shows
WAIT_S = 90  # two slow cores may be busy with other tests


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    made = seed(tmp_path_factory.mktemp("studio") / "store", segments_each=2, segment_s=10.0)
    for segment in made.segments:
        answer(made.store, segment, "ben", "<img src=x onerror=document.title='hacked'> a horn", mood=("dark",))
    return made


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[FakeGeneration, str]]:
    fake = FakeGeneration()
    with serving(fake) as url:
        yield fake, url


@pytest.fixture(scope="module")
def studio(group: Seeded, service: tuple[FakeGeneration, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(group.store.url, tmp_path_factory.mktemp("work"), ["--generation-url", service[1]]) as url:
        yield url


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def running(
    store: str, folder: Path, flags: Sequence[str] = (), *, module: str = "services.studio", port: int = 0, **environment: str
) -> Iterator[str]:
    """A studio in a process of its own; its address. It must end by SIGTERM in order. Its log and work lie in `folder`."""
    port = port or free_port()
    url = f"http://localhost:{port}/"
    command = [sys.executable, "-m", module, "--store", store, "--port", str(port), "--work-folder", str(folder / "work"), *flags]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", **environment}
        )
        try:
            _wait_for(url, process, folder / "log")
            yield url
        finally:
            process.terminate()
            ended = process.wait(90)
        assert ended == 0, "the studio does not end by SIGTERM in order"


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(480):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


class Page:
    """One member in front of the page."""

    def __init__(self, driver: webdriver.Chrome, url: str, member: str, width: int = 1280) -> None:
        self.driver = driver
        mobile = width < 500
        metrics = {"width": width, "height": 844 if mobile else 900, "deviceScaleFactor": 1, "mobile": mobile}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(url)
        driver.execute_script("localStorage.clear()")
        driver.get("about:blank")  # leaving a page breaks off what it was asking for; that is no fault of the next one
        driver.get_log("browser")
        driver.get(url)
        self.until(lambda: self.all("#at-member option[value=ana]"))
        self.until(lambda: "Who is listening" in self.text(".at-annotate"))
        Select(self.one("#at-member")).select_by_value(member)
        self.until(lambda: "You heard" in self.text(".at-progress"))

    @classmethod
    def on(cls, driver: webdriver.Chrome) -> Page:
        """In front of whatever the browser shows, as before a sign-in."""
        page = cls.__new__(cls)
        page.driver = driver
        return page

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.driver.execute_script("return document.querySelector(arguments[0])?.innerText || ''", selector))

    def until(self, true: Callable[[], Any]) -> Any:
        wait = WebDriverWait(self.driver, WAIT_S, poll_frequency=0.1, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: true())

    def keys(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def ctrl(self, key: str) -> None:
        ActionChains(self.driver).key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL).perform()

    def open_page(self, name: str) -> None:
        """Opens a page. Its tab may come late: Gradio lays tabs out anew after each change of width."""
        self._open_tab("#at-pages", name)

    def open_part(self, name: str) -> None:
        """Opens a part of the agreement page."""
        self.open_page("Agreement")
        self._open_tab("#at-parts", name)

    def _open_tab(self, of: str, name: str) -> None:
        def tabs() -> list[Any]:
            return [b for b in self.all(f"{of} > .tab-wrapper button[role=tab]") if b.text.strip() == name]

        button = self.until(tabs)[0]
        button.click()
        self.until(lambda: button.get_attribute("aria-selected") == "true")

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def annotate(self, words: str) -> str:
        """Answers the segment on the page by keyboard; returns which it was."""
        self.until(lambda: "You heard" in self.text(".at-progress"))
        segment = self.segment
        self.keys("0")
        self.keys(words)
        self.ctrl("s")
        self.until(lambda: "Saved" in self.text(".at-message"))
        return segment

    @property
    def segment(self) -> str:
        return self.one(".at-annotate").get_attribute("data-segment") or ""


def test_a_member_annotates_by_keyboard_and_then_sees_the_others(chromium: webdriver.Chrome, studio: str, group: Seeded) -> None:
    page = Page(chromium, studio, "ana")
    segment = page.segment
    assert "hidden until you give yours" in page.text(".at-others")
    assert "horn" not in chromium.page_source

    page.keys(" ")
    page.until(lambda: chromium.execute_script("return window.audioTunePlaying && window.audioTunePlaying.played.length > 0"))
    page.keys(" ")
    page.until(lambda: chromium.execute_script("return window.audioTunePlaying.paused"))
    page.keys("1")
    page.until(lambda: "at-chip" in (chromium.switch_to.active_element.get_attribute("class") or ""))
    term = chromium.switch_to.active_element.get_attribute("data-term")
    page.keys(Keys.ENTER)
    page.keys("0")
    page.keys("hum & <b>more</b>")
    page.ctrl("s")
    page.until(lambda: "Saved" in page.text(".at-message"))

    own = [a for a in annotation.read_segment_annotations(group.store, segment) if a.member == "ana"]
    assert [(a.words, list(a.tags.values())) for a in own] == [("hum & <b>more</b>", [(term,)])]
    assert "a horn" in page.text(".at-side-by-side")
    assert not page.all(".at-side-by-side img")
    assert "hacked" not in chromium.title
    assert page.segment == segment

    page.ctrl(Keys.ENTER)
    page.until(lambda: page.segment and page.segment != segment)
    assert "hidden until you give yours" in page.text(".at-others")
    assert "You heard 1 of 6" in page.text(".at-progress")
    assert page.errors() == []


def test_an_answer_may_be_changed_and_the_old_one_stays(chromium: webdriver.Chrome, studio: str, group: Seeded) -> None:
    page = Page(chromium, studio, "chi")
    segment = page.segment
    for words in ("first", " and then second"):
        page.keys("0")
        page.keys(Keys.END, words)
        page.ctrl("s")
        page.until(lambda words=words: words.strip() in page.text(".at-side-by-side .at-own-answer"))
    assert [a.words for a in annotation.read_segment_annotations(group.store, segment) if a.member == "chi"] == [
        "first and then second"
    ]
    assert len(list(group.store.list(f"annotations/{segment}/chi/"))) == 2


def test_a_word_of_ones_own_becomes_the_groups(chromium: webdriver.Chrome, studio: str) -> None:
    page = Page(chromium, studio, "chi")
    own = page.one(".at-text-input")
    own.send_keys("<i>wobbly</i>", Keys.ENTER)
    page.until(lambda: "is one of the group's words now" in page.text(".at-message"))
    chips = [chip.text for chip in page.all(".at-chips .at-chip")]
    assert any("wobbly" in chip for chip in chips)
    assert not page.all(".at-chips i")
    assert page.errors() == []


def test_a_sound_is_asked_for_heard_kept_and_asked_for_again(
    chromium: webdriver.Chrome, studio: str, service: tuple[FakeGeneration, str], group: Seeded
) -> None:
    page = Page(chromium, studio, "ana")
    page.open_page("Generate")
    page.until(lambda: page.all("#at-prompt textarea"))
    page.one("#at-prompt textarea").send_keys("a low <b>drone</b>")
    page.one("#at-make").click()
    page.until(lambda: page.all("#at-new-sounds .at-sound"))
    asked = service[0].asked[-1]
    assert asked["prompt"] == "a low <b>drone</b>"
    assert page.text("#at-new-sounds .at-sound h3") == "a low <b>drone</b>"
    seed_made = page.one("#at-new-sounds .at-sound").get_attribute("data-seed")
    link = page.one("#at-new-sounds .at-sound a[download]").get_attribute("href")
    assert httpx.get(link, timeout=20).content == service[0].gave[-1]
    page.one("#at-new-sounds .at-play").click()
    page.until(lambda: chromium.execute_script("return window.audioTunePlaying.duration > 0"))

    prompt = page.one("#at-prompt textarea")
    prompt.send_keys(Keys.CONTROL + "a")
    prompt.send_keys(Keys.BACKSPACE)
    page.one("#at-new-sounds .at-restore").click()
    page.until(lambda: prompt.get_attribute("value") == "a low <b>drone</b>")
    page.until(lambda: "seed is locked" in page.text("#at-generate-message"))
    page.one("#at-make").click()
    page.until(lambda: len(page.all("#at-history .at-sound")) == 2)
    assert str(service[0].asked[-1]["seed"]) == seed_made
    assert not page.all(".at-withdrawn")

    said = governance.read_consents(group.store, [group.recordings[0].id])[group.recordings[0].id, "ana"]
    governance.record_consent(group.store, said.model_copy(update={"uses": ()}))
    try:
        page = Page(chromium, studio, "ana")
        page.open_page("Generate")
        page.until(lambda: len(page.all("#at-history .at-withdrawn")) == 2)
        marked = page.text("#at-history .at-withdrawn")
        assert marked == "made with a release that was withdrawn: ana has not agreed to generate"
        assert page.all("#at-history .at-sound a[download]"), "it stays theirs"
    finally:
        governance.record_consent(group.store, said)
    assert page.errors() == []


def test_a_refused_wish_and_a_service_that_is_away_are_reported_in_words(
    chromium: webdriver.Chrome, studio: str, service: tuple[FakeGeneration, str]
) -> None:
    page = Page(chromium, studio, "ben")
    page.open_page("Generate")
    page.until(lambda: page.all("#at-prompt textarea"))
    page.one("#at-prompt textarea").send_keys("x")
    for trouble, words in (("refuse", "prompt"), ("away", "service")):
        service[0].trouble = trouble
        page.one("#at-make").click()
        page.until(lambda words=words: words in page.text("#at-generate-message .at-bad"))
    service[0].trouble = ""
    assert page.errors() == []


def test_an_upload_that_is_no_sound_is_refused_in_words(chromium: webdriver.Chrome, studio: str, tmp_path: Path) -> None:
    letter, empty = tmp_path / "letter <i>.wav", tmp_path / "empty.wav"
    letter.write_text("Dear friends " * 100)
    empty.touch()
    page = Page(chromium, studio, "ana")
    page.open_page("Upload")
    page.until(lambda: page.all("#at-files input[type=file]"))
    page.one("#at-files input[type=file]").send_keys(f"{letter}\n{empty}")
    page.until(lambda: "empty" in page.text("#at-files"))
    page.until(lambda: page.all("#at-people input:checked"))
    page.one("#at-send").click()
    page.until(lambda: "Nothing was kept" in page.text("#at-news"))
    assert "this is a text, no sound file" in page.text("#at-news")
    assert "0 bytes" in page.text("#at-news")
    assert page.errors() == []


def test_a_member_packs_everything_of_theirs(chromium: webdriver.Chrome, studio: str) -> None:
    page = Page(chromium, studio, "ben")
    page.open_page("Agreement")
    page.until(lambda: "The Patch Bay Five" in page.text("#at-agreement"))
    page.open_part("Leaving")
    page.one("#at-pack").click()
    page.until(lambda: "audio-tune-ben.zip" in page.text("#at-download"))
    assert page.errors() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_the_screen(chromium: webdriver.Chrome, studio: str, width: int) -> None:
    page = Page(chromium, studio, "ana", width)
    for name in (*PAGES, *PARTS):
        page.open_part(name) if name in PARTS else page.open_page(name)
        time.sleep(1)
        wide = chromium.execute_script("return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
        assert wide <= width, f"{name} is {wide} pixels wide"
        cut = chromium.execute_script(
            "return [...document.querySelectorAll('.gradio-container button, .gradio-container input, .gradio-container h2')]"
            ".filter(e => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 90))"
        )
        assert cut == [], name
    assert page.errors() == []


def test_the_focus_can_be_seen(chromium: webdriver.Chrome, studio: str) -> None:
    page = Page(chromium, studio, "ana")
    for _ in range(14):
        page.keys(Keys.TAB)
        focus = chromium.switch_to.active_element
        style, width = (focus.value_of_css_property(f"outline-{part}") for part in ("style", "width"))
        assert style != "none", focus.get_attribute("outerHTML")[:200]
        assert float(width.removesuffix("px")) >= 2


def test_a_whole_upload_becomes_segments(chromium: webdriver.Chrome, studio: str, group: Seeded, tmp_path: Path) -> None:
    """The real ingest and segment, started by the studio as a process."""
    pytest.importorskip("kfp", reason="kfp, which plays the pipeline on one machine, is not installed")
    take = tone(330, 4.0).write(tmp_path / "evening.wav")
    page = Page(chromium, studio, "ana")
    page.open_page("Upload")
    page.until(lambda: page.all("#at-files input[type=file]"))
    page.one("#at-files input[type=file]").send_keys(str(take))
    page.until(lambda: "evening" in page.text("#at-files"))
    page.until(lambda: page.all("#at-people input:checked"))
    page.one("#at-send").click()
    page.until(lambda: "You may leave the page" in page.text("#at-news"))
    ended = WebDriverWait(chromium, 240).until(lambda _: page.all(".at-upload[data-state=done], .at-upload[data-state=failed]"))
    assert ended[0].get_attribute("data-state") == "done", page.text("#at-uploads")
    page.until(lambda: "wait on the Annotate page" in page.text("#at-uploads"))
    page.one("button[id^=at-upload-report]").click()
    page.until(lambda: page.all("#at-upload-report iframe"))
    [recording] = [row for row in LibraryCache(group.store).current().recordings.values() if row.name == "evening.wav"]
    assert recording.source.startswith("upload:")
