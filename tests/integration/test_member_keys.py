"""Members' keys in a real Chromium: made, used, lost; the canonical form in JavaScript; a ledger that was cut or written anew is told."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from audiotune.governance.ledger.events import canonicalize, event_key, parse_event
from audiotune.governance.ledger.ledger import Ledger, open_ledger, read_event
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.governance.member_acts import append_member_event
from audiotune.store import FolderStore
from tests.fakes.seeded_store import Seeded, seed
from tests.integration import test_studio_browser as browser

webdriver, chromium = browser.webdriver, browser.chromium
pytestmark = browser.pytestmark
OPENED: dict[str, Any] = {"kind": "other", "title": "Buy filters", "rule": {}}
HARD = [
    {"€": 1, "\r": 2, "דּ": 3, "1": 4, "😀": 5, "\x80": 6, "ö": 7},  # RFC 8785, 3.2.3: sorted by UTF-16 units
    {"b": [], "a": {}, "": None, "A": [True, False, None, [[]], {"z": {"y": ["x"]}}], "__proto__": 1, "constructor": 2},
    [
        "\x00\x01\x07\x08\t\n\x0b\x0c\r\x1f\x7f\x80",
        '"\\/',
        "<script>&amp;",
        "é e\u0301 ﬃ",
        "\u2028\u2029\ufeff\uffff",
        "🎛️👩‍🎤",
        "",
    ],
    [
        0,
        -0.0,
        1,
        -1,
        1.0,
        0.1,
        1e21,
        1e20,
        1e-6,
        1e-7,
        123456789.123,
        5e-324,
        1.7976931348623157e308,
        2**53 - 1,
        1 - 2**53,
        333333333.3333333,
    ],
    [4.50, 2e-3, 1e30, 1e-27, 9007199254740991, 0.000001, 1e23, 9.999999999999997e22, 2.9514790517935283e20],
]


@pytest.fixture
def group(tmp_path: Path) -> Seeded:
    return seed(tmp_path / "store", segments_each=1, segment_s=1.0)


@pytest.fixture
def studio(group: Seeded, tmp_path: Path) -> Iterator[str]:
    with browser.running(group.store.url, tmp_path) as url:
        yield url


def make_value(dice: random.Random, depth: int = 0) -> Any:
    """A value of JSON with names, texts and numbers from all over their ranges."""

    def text() -> str:
        points = (
            dice.choice((dice.randrange(0x20), dice.randrange(0x250), dice.randrange(0x11_0000)))
            for _ in range(dice.randrange(6))
        )
        return "".join(chr(point) for point in points if not 0xD800 <= point <= 0xDFFF)

    kind = dice.randrange(7 if depth < 4 else 5)
    if kind == 0:
        return dice.choice((True, False, None))
    if kind == 1:
        return dice.randrange(-(2**53) + 1, 2**53)
    if kind == 2:
        return dice.choice(
            (dice.uniform(-1e3, 1e3), dice.random() * 10.0 ** dice.randrange(-310, 308), float(dice.randrange(100)))
        )
    if kind in (3, 4):
        return text()
    if kind == 5:
        return [make_value(dice, depth + 1) for _ in range(dice.randrange(5))]
    return {text(): make_value(dice, depth + 1) for _ in range(dice.randrange(6))}


def show(page: browser.Page, name: str) -> None:
    if shots := os.environ.get("AUDIOTUNE_SCREENSHOTS"):
        time.sleep(0.7)
        page.driver.save_screenshot(f"{shots}/{name}.png")


def press(page: browser.Page, selector: str) -> None:
    """Clicks what may just be drawn anew."""
    page.until(lambda: page.all(selector) and (page.one(selector).click(), True))


def choose(page: browser.Page, member: str) -> None:
    browser.Select(page.one("#at-member")).select_by_value(member)
    page.until(lambda: page.driver.execute_script("return document.querySelector('#at-member').value") == member)
    page.open_part("Keys")
    page.until(lambda: page.all("#at-key-make, #at-key-held, #at-key-why-not"))


def vote(page: browser.Page, group: Seeded, choice: str) -> None:
    before = open_ledger(group.store).read_state().number
    page.open_part("Decisions")
    page.until(lambda: page.all(f"#at-vote input[value={choice}]"))
    page.one(f"#at-vote input[value={choice}]").click()
    page.one("#at-vote-cast").click()
    page.until(lambda: open_ledger(group.store).read_state().number > before)
    page.until(lambda: "Your vote counts" in page.text("#at-vote-news"))


def newest(group: Seeded, kind: str) -> Any:
    events = [parse_event(data, key) for key, data in read_events(group.store)]
    return next(event for event in reversed(events) if event.kind == kind)


def test_the_canonical_form_in_a_browser_is_that_of_the_ledger(chromium: webdriver.Chrome, studio: str) -> None:
    page = browser.Page(chromium, studio, "ana")
    dice = random.Random(8785)
    values = [*HARD, *(make_value(dice) for _ in range(400))]
    texts = [json.dumps(value, ensure_ascii=True) for value in values]
    script = "return arguments[0].map((text) => window.audioTuneKeys.canonicalize(JSON.parse(text)))"
    made = page.driver.execute_script(script, texts)
    for value, text in zip(values, made, strict=True):
        assert text.encode() == rfc8785.dumps(value) == canonicalize(value)
    refused = (
        "return arguments[0].map((js) => { try { return window.audioTuneKeys.canonicalize(eval(js)); } catch { return null; } })"
    )
    assert page.driver.execute_script(refused, ["NaN", "[1/0]", "'\\ud800'", "({a: undefined})", "(() => 1)"]) == [None] * 5


def test_from_a_new_key_to_its_end(chromium: webdriver.Chrome, studio: str, group: Seeded) -> None:
    append_member_event(group.store, "ana", "proposal_opened", OPENED, via="command")
    page = browser.Page(chromium, studio, "ana")
    choose(page, "ana")
    page.one("#at-key-label").send_keys("phone <b>")
    press(page, "#at-key-make")
    page.until(lambda: "this browser signs what you say" in page.text(".at-member-keys .at-message"))
    (key,) = open_ledger(group.store).read_state().member_keys.values()
    assert (key.member, key.label) == ("ana", "phone <b>")
    show(page, "keys-1280")

    vote(page, group, "abstain")
    event = newest(group, "vote_cast")
    assert (event.by, event.via, event.signatures.member is not None) == ("ana", "member_key", True)
    page.open_part("Keys")
    page.until(lambda: "signed by ana" in page.text("#at-events"))

    choose(page, "ben")  # the same browser, another member: ana's key is not theirs
    page.until(lambda: page.all("#at-key-make"))
    vote(page, group, "abstain")
    assert newest(group, "vote_cast").signatures.member is None
    assert newest(group, "vote_cast").by == "ben"

    choose(page, "ana")
    page.until(lambda: page.all("#at-key-lost"))
    press(page, "#at-key-lost")
    press(page, "#at-key-lost-confirm")
    page.until(lambda: "until then the key still counts" in page.text(".at-member-keys .at-message"))
    choose(page, "ben")
    page.until(lambda: page.all("#at-key-confirm"))
    show(page, "keys-lost-1280")
    press(page, "#at-key-confirm")
    page.until(lambda: "The key has ended" in page.text(".at-member-keys .at-message"))
    choose(page, "ana")
    page.until(lambda: page.all("#at-key-make"))
    page.until(lambda: "ended with event" in page.text("#at-own-keys"))
    vote(page, group, "yes")
    assert (newest(group, "vote_cast").by, newest(group, "vote_cast").signatures.member) == ("ana", None)
    report = verify_events(read_events(group.store))
    assert (report.faults, report.vouched["signed by ana"]) == ([], 1)
    assert page.errors() == []


def test_a_consent_is_signed_too(chromium: webdriver.Chrome, studio: str, group: Seeded) -> None:
    page = browser.Page(chromium, studio, "ana")
    choose(page, "ana")
    page.until(lambda: page.all("#at-key-make"))
    press(page, "#at-key-make")
    page.until(lambda: page.all("#at-key-held"))
    page.open_part("My recordings")
    page.until(lambda: page.all(".at-switch[id$=-train]:not(:disabled)"))
    before = open_ledger(group.store).read_state().number
    press(page, ".at-switch[id$=-train]:not(:disabled)")
    page.until(lambda: open_ledger(group.store).read_state().number > before)
    event = read_event(group.store, before + 1)
    assert (event.by, event.via, event.signatures.member is not None) == ("ana", "member_key", True)
    assert verify_events(read_events(group.store)).is_sound


def test_a_key_cannot_be_copied_out_of_the_browser(chromium: webdriver.Chrome, studio: str) -> None:
    page = browser.Page(chromium, studio, "ana")
    choose(page, "ana")
    page.until(lambda: page.all("#at-key-make"))
    press(page, "#at-key-make")
    page.until(lambda: page.all("#at-key-held"))
    script = """
      const done = arguments[0];
      (async () => {
        const [row] = await window.audioTuneKeys.list("ana");
        const take = (form) => crypto.subtle.exportKey(form, row.key).then(() => "out", () => "kept");
        const tried = await Promise.all(["raw", "pkcs8", "jwk"].map(take));
        done([row.key.type, row.key.extractable, ...tried]);
      })();
    """
    assert page.driver.execute_async_script(script) == ["private", False, "kept", "kept", "kept"]


def test_a_page_that_is_not_secure_says_why_it_has_no_keys(tmp_path: Path, studio: str, group: Seeded) -> None:
    options = webdriver.ChromeOptions()
    options.binary_location = str(browser.CHROMIUM)
    flags = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP studio.lan 127.0.0.1")
    for flag in flags:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(browser.DRIVER)))
    try:
        page = browser.Page(driver, studio.replace("localhost", "studio.lan"), "ana", 390)
        choose(page, "ana")
        page.until(lambda: "does not begin with https" in page.text("#at-key-why-not"))
        assert not page.all("#at-key-make")
        show(page, "keys-not-secure-390")
        assert not page.all("#at-ledger-fault")
    finally:
        driver.quit()


@pytest.mark.parametrize("change", ["cut", "written anew", "only longer"])
def test_a_browser_tells_of_a_ledger_that_does_not_lead_on_from_what_it_saw(
    chromium: webdriver.Chrome, group: Seeded, tmp_path: Path, change: str
) -> None:
    store = group.store
    append_member_event(store, "ana", "proposal_opened", OPENED, via="command")
    seen = "return JSON.parse(localStorage.getItem('audio-tune-ledger-head') || '{}')"
    port = browser.free_port()
    with browser.running(store.url, tmp_path, port=port) as url:
        page = browser.Page(chromium, url, "ana", 390)
        state = open_ledger(store).read_state()
        page.until(lambda: page.driver.execute_script(seen).get("digest") == state.head)
        assert not page.all("#at-ledger-fault")
    if change == "only longer":
        for title in map(str, range(150)):
            append_member_event(store, "ben", "proposal_opened", {**OPENED, "title": title}, via="command")
    else:
        store.delete(event_key(state.number))
        if change == "written anew":  # by somebody who holds the service's key
            anew = FolderStore(store.root)
            for title in ("Sell filters", "Sell drums"):
                append_member_event(anew, "ana", "proposal_opened", {**OPENED, "title": title}, via="command")
            assert verify_events(read_events(anew)).is_sound  # nothing shows who has not seen the earlier one
    with browser.running(store.url, tmp_path, port=port):
        page.driver.get("about:blank")
        page.driver.get(url)
        page.until(lambda: page.all("#at-member option[value=ana]"))
        browser.Select(page.one("#at-member")).select_by_value("ana")
        if change == "only longer":
            newer = Ledger(FolderStore(store.root)).read_state().head
            page.until(lambda: page.driver.execute_script(seen).get("digest") == newer)
            assert not page.all("#at-ledger-fault")
            return
        page.until(lambda: page.all("#at-ledger-fault"))
        words = page.text("#at-ledger-fault")
        assert ("has become shorter" if change == "cut" else "was changed") in words
        assert f"--seen {state.head}" in words
        assert page.driver.execute_script(seen)["digest"] == state.head  # it goes on remembering
        show(page, "ledger-fault-390")
        page.one("#at-ledger-accept").click()
        page.until(lambda: not page.all("#at-ledger-fault"))
