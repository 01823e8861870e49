"""The studio with sign-in, in a real headless Chromium: nothing to be had without it, one's own name, a token that works."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from audiotune.access import accounts, tokens
from audiotune.domain import annotation
from audiotune.governance import read_consents
from tests.fakes.seeded_store import Seeded, seed
from tests.integration import test_studio_browser as browser

webdriver, chromium = browser.webdriver, browser.chromium
pytestmark = browser.pytestmark
FIRST = "a first password"


@pytest.fixture
def group(tmp_path: Path) -> Seeded:
    made = seed(tmp_path / "store", segments_each=1, segment_s=1.0)
    accounts.create_account(made.store, "ana", FIRST, "owner")
    return made


@pytest.fixture
def studio(group: Seeded, tmp_path: Path) -> Iterator[str]:
    with browser.running(group.store.url, tmp_path, AUDIOTUNE_ACCESS="members") as url:
        yield url


def sign_in(page: browser.Page, studio: str, member: str) -> None:
    page.driver.get(studio)
    page.until(lambda: len(page.all("input")) >= 2)
    for box, words in zip(page.all("input")[:2], (member, FIRST), strict=True):
        box.send_keys(words)
    next(button for button in page.all("button") if button.is_displayed()).click()


def test_members_sign_in_and_act_in_their_own_name(chromium: webdriver.Chrome, studio: str, group: Seeded) -> None:
    assert httpx.get(f"{studio}config").status_code == 401
    assert httpx.post(f"{studio}gradio_api/queue/join", json={"fn_index": 0, "data": []}).status_code == 401
    wrong = httpx.post(f"{studio}login", data={"username": "ana", "password": "a guess at it"})
    assert wrong.status_code == 400

    page = browser.Page.on(chromium)
    sign_in(page, studio, "ana")
    page.until(lambda: page.text("#at-signed-in") == "Ana")
    assert not page.all("#at-member")  # nobody else's name can be chosen

    segment = page.annotate("a horn")
    assert [(a.member, a.words) for a in annotation.read_segment_annotations(group.store, segment)] == [("ana", "a horn")]
    page.open_page("Releases")
    page.until(lambda: page.all("#at-training-open"))  # the widget knows who asks, too

    page.open_page("Account")
    page.until(lambda: "Ben" in page.text("#at-accounts"))
    page.one("#at-token-make").click()
    page.until(lambda: page.text("#at-token-news code").startswith("at_"))
    assert tokens.check_token(group.store, page.text("#at-token-news code"), "generate").member == "ana"
    if shots := os.environ.get("AUDIOTUNE_SCREENSHOTS"):
        chromium.save_screenshot(f"{shots}/account.png")
    assert not [words for words in page.errors() if "Content Security Policy" in words]


def test_the_page_runs_no_script_that_somebody_brought_in(chromium: webdriver.Chrome, studio: str) -> None:
    page = browser.Page.on(chromium)
    chromium.delete_all_cookies()
    sign_in(page, studio, "ana")
    page.until(lambda: page.text("#at-signed-in") == "Ana")
    page.errors()
    chromium.execute_script("document.body.insertAdjacentHTML('beforeend', `<img src=x onerror=\"document.title = 'run'\">`)")
    page.until(lambda: any("Content Security Policy" in words for words in page.errors()))
    assert chromium.title != "run"


def test_a_new_password_ends_every_session_but_the_one_it_was_changed_in(chromium: webdriver.Chrome, studio: str) -> None:
    page = browser.Page.on(chromium)
    chromium.delete_all_cookies()
    sign_in(page, studio, "ana")
    page.until(lambda: page.text("#at-signed-in") == "Ana")
    with httpx.Client(base_url=studio) as elsewhere:
        assert elsewhere.post("login", data={"username": "ana", "password": FIRST}).status_code == 200
        assert elsewhere.get("config").status_code == 200
        page.open_page("Account")
        page.until(lambda: page.one("#at-password-now input").is_displayed())
        page.one("#at-password-now input").send_keys(FIRST)
        page.one("#at-password-new input").send_keys("a second password")
        page.one("#at-password-change").click()
        page.until(lambda: "You stay signed in here" in page.text("#at-password-news"))
        page.until(lambda: elsewhere.get("config").status_code == 401)  # within seconds
    chromium.get(studio)
    page.until(lambda: page.text("#at-signed-in") == "Ana")
    page.one("#at-sign-out").click()
    page.until(lambda: "Sign in" in page.text("main"))
    if shots := os.environ.get("AUDIOTUNE_SCREENSHOTS"):
        chromium.save_screenshot(f"{shots}/password-page.png")


_READ_STORAGE = """
const done = arguments[0];
const wait = request => new Promise((good, bad) => { request.onsuccess = () => good(request.result); request.onerror = bad; });
const readable = (key, value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value) ? new TextDecoder().decode(value) : value;
(async () => {
  const found = {local: {...localStorage}, session: {...sessionStorage}, databases: {}};
  for (const {name} of await indexedDB.databases()) {
    const database = await wait(indexedDB.open(name));
    for (const table of database.objectStoreNames)
      found.databases[`${name}/${table}`] = await wait(database.transaction(table).objectStore(table).getAll());
    database.close();
  }
  done(JSON.stringify(found, readable));
})().catch(error => done(`cannot read: ${error}`));
"""
_WRITE_STORAGE = """
const done = arguments[0];
localStorage.setItem("probe", "kept in local");
sessionStorage.setItem("probe", "kept in session");
const request = indexedDB.open("probe", 1);
request.onupgradeneeded = () => request.result.createObjectStore("rows").put({words: "kept in a database"}, 1);
request.onsuccess = () => { request.result.close(); done(true); };
"""


def test_the_browser_keeps_neither_password_nor_token(chromium: webdriver.Chrome, studio: str) -> None:
    page = browser.Page.on(chromium)
    chromium.delete_all_cookies()
    sign_in(page, studio, "ana")
    page.until(lambda: page.text("#at-signed-in") == "Ana")
    page.open_page("Account")
    page.until(lambda: page.one("#at-password-now input").is_displayed())
    page.one("#at-password-now input").send_keys(FIRST)
    page.one("#at-password-new input").send_keys("a second password")
    page.one("#at-password-change").click()
    page.until(lambda: "You stay signed in here" in page.text("#at-password-news"))
    page.one("#at-token-make").click()
    page.until(lambda: page.text("#at-token-news code").startswith("at_"))
    token = page.text("#at-token-news code")
    time.sleep(2)  # what the page writes later
    chromium.execute_async_script(_WRITE_STORAGE)
    before = chromium.execute_async_script(_READ_STORAGE)
    page.one("#at-sign-out").click()
    page.until(lambda: "Sign in" in page.text("main"))
    after = chromium.execute_async_script(_READ_STORAGE)
    for kept in (before, after):
        assert all(words in kept for words in ("kept in local", "kept in session", "kept in a database")), kept
        assert not [secret for secret in (FIRST, "a second password", token) if secret in kept]


def test_an_owner_whom_the_agreement_does_not_name_is_told_so_and_makes_accounts(
    chromium: webdriver.Chrome, studio: str, group: Seeded
) -> None:
    accounts.create_account(group.store, "keeper", FIRST, "owner")
    page = browser.Page.on(chromium)
    chromium.delete_all_cookies()
    sign_in(page, studio, "keeper")
    page.until(lambda: page.text("#at-signed-in") == "keeper")
    page.until(lambda: "does not name keeper" in page.text(".at-notice"))
    page.open_page("Account")
    page.until(lambda: page.all("#at-account-of input") and page.one("#at-account-of input").is_displayed())
    if shots := os.environ.get("AUDIOTUNE_SCREENSHOTS"):
        chromium.save_screenshot(f"{shots}/not-named.png")
    page.one("#at-account-of input").send_keys("Ben", browser.Keys.ENTER)
    page.one("#at-account-make").click()
    page.until(lambda: "Give ben this password" in page.text("#at-account-news"))
    assert accounts.verify_password(group.store, "ben", page.text("#at-account-news code")) is not None


def test_a_member_takes_back_consent_to_one_recording(chromium: webdriver.Chrome, studio: str, group: Seeded) -> None:
    page = browser.Page.on(chromium)
    chromium.delete_all_cookies()
    sign_in(page, studio, "ana")
    page.until(lambda: page.text("#at-signed-in") == "Ana")
    page.open_part("My recordings")
    take = next(recording for recording in group.recordings if recording.name.startswith("tuesday"))
    switch = f"#at-use-{take.id}-store"
    page.until(lambda: page.all(switch) and page.one(switch).is_displayed())
    page.until(lambda: page.one(switch).click() or True)  # the list may be drawn anew at this moment
    page.until(lambda: chromium.switch_to.alert).accept()  # a release holds it
    page.until(lambda: "Everything taken back" in page.text(".at-consents > .at-message"))
    if shots := os.environ.get("AUDIOTUNE_SCREENSHOTS"):
        chromium.save_screenshot(f"{shots}/consent.png")
    assert read_consents(group.store, [take.id])[take.id, "ana"].uses == ()
    assert read_consents(group.store, [take.id])[take.id, "ben"].uses != ()
