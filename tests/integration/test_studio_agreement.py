"""A new group in Chromium: an empty store, an agreement by five members, a change with its difference, a vote, and signatures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiotune.governance import read_current_agreement
from audiotune.governance.decisions import read_proposals
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.verification import read_events, verify_events
from tests.fakes.layout_store import LayoutStore
from tests.integration import test_studio_browser as browser

pytestmark = browser.pytestmark
chromium = browser.chromium
FIVE = "Ana Kos\nBen\nChi (chi)\nDee\nØystein Łoś"
SHOTS = os.environ.get("AUDIOTUNE_TEST_SHOTS", "")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LayoutStore:
    return LayoutStore(tmp_path_factory.mktemp("new") / "store")


@pytest.fixture(scope="module")
def studio(store: LayoutStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store.root.mkdir(parents=True, exist_ok=True)
    with browser.running(store.url, tmp_path_factory.mktemp("work")) as url:
        yield url


def open_at(driver: Any, url: str, width: int) -> Any:
    page = browser.Page.on(driver)
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(url)
    driver.execute_script("localStorage.clear()")  # nobody is chosen
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(url)
    page.until(lambda: page.all("#at-member"))
    # what loading the page fills must not come after what a choice fills
    page.until(lambda: "Who is listening" in page.text(".at-annotate") or page.text("#at-agreement-publish"))
    return page


def shoot(page: Any, name: str) -> None:
    if SHOTS:
        height = page.driver.execute_script("return Math.max(document.body.scrollHeight, 900)")
        width = page.driver.execute_script("return innerWidth")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        Path(SHOTS).mkdir(exist_ok=True)
        page.driver.save_screenshot(f"{SHOTS}/{name}-{width}.png")
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "height": 900})


def choose(page: Any, member: str) -> None:
    page.until(lambda: page.all(f"#at-member option[value={member}]"))
    browser.Select(page.one("#at-member")).select_by_value(member)
    page.until(lambda: page.driver.execute_script("return document.querySelector('#at-member').value") == member)


def write(page: Any, selector: str, words: str) -> None:
    field = page.until(lambda: next((one for one in page.all(selector) if one.is_displayed()), None))
    field.click()
    field.send_keys(browser.Keys.CONTROL, "a")
    field.send_keys(words, browser.Keys.TAB)


def fits(page: Any, width: int) -> None:
    wide = page.driver.execute_script("return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    assert wide <= width


def test_a_new_group_makes_changes_and_signs_its_agreement(chromium: Any, studio: str, store: LayoutStore) -> None:
    page = open_at(chromium, studio, 1280)
    page.until(lambda: page.text("#at-agreement-publish") == "Make it our agreement")  # the first page, without a click
    write(page, "#at-agreement-members textarea", FIVE)
    page.until(lambda: "oystein-los" in page.one("#at-agreement-members textarea").get_attribute("value"))
    page.one("#at-agreement-publish").click()
    page.until(lambda: "the group has no name" in page.text("#at-agreement-news").lower())
    write(page, "#at-agreement-group input, #at-agreement-group textarea", "The Patch Bay Five")
    shoot(page, "first")
    page.one("#at-agreement-publish").click()
    page.until(lambda: page.all("#at-member option[value=ana-kos]"))  # the page has loaded itself again
    agreement = read_current_agreement(store)
    assert agreement is not None
    assert [member.id for member in agreement.members] == ["ana-kos", "ben", "chi", "dee", "oystein-los"]
    assert set(agreement.decisions) == {"agreement", "champion", "publish_release"}

    for member in ("ana-kos", "ben"):
        choose(page, member)
        page.open_page("Agreement")
        page.until(lambda: page.all("#at-sign") and page.one("#at-sign").is_displayed())
        page.one("#at-sign").click()
        page.until(lambda member=member: member in open_ledger(store).read_state().signatures.get(agreement.digest, {}))
    page.until(lambda: "Not signed yet by Chi, Dee, Øystein Łoś." in page.text("#at-agreement"))
    shoot(page, "signed")

    write(page, "#at-agreement-members textarea", "Ana Kos (ana-kos)\nBen (ben)\nChi (chi)\nDee (dee)\nFay")
    page.until(lambda: "Fay (fay) joins" in page.text("#at-agreement-diff"))
    assert "Øystein Łoś (oystein-los) leaves" in page.text("#at-agreement-diff")
    assert "This needs a decision of the group: change the agreement." in page.text("#at-agreement-diff")
    assert not page.one("#at-agreement-publish").is_displayed() if page.all("#at-agreement-publish") else True
    shoot(page, "change")
    page.one("#at-agreement-propose").click()
    page.until(lambda: "is open until" in page.text("#at-agreement-news"))
    (number,) = read_proposals(store)
    for member in ("ana-kos", "ben", "chi", "dee"):
        if read_proposals(store)[number].outcome:
            break
        choose(page, member)
        page.open_part("Decisions")
        page.until(lambda: "Fay (fay) joins" in page.text("#at-proposals"))
        page.one("#at-vote input[value=yes]").click()
        page.one("#at-vote-cast").click()
        page.until(lambda: member in read_proposals(store)[number].votes)  # noqa: B023
    page.until(lambda: "version 2 of the agreement is in force" in page.text("#at-proposals"))
    shoot(page, "decided")
    changed = read_current_agreement(store)
    assert changed is not None
    assert [(one.id, one.left) for one in changed.members if one.id in ("fay", "oystein-los")] == [
        ("fay", False),
        ("oystein-los", True),
    ]
    assert verify_events(read_events(store)).is_sound
    assert page.errors() == []


def test_the_second_of_two_writers_is_told_and_sees_the_difference_again(chromium: Any, studio: str, store: LayoutStore) -> None:
    from audiotune.governance import publish_agreement

    current = read_current_agreement(store)
    assert current is not None
    page = open_at(chromium, studio, 390)
    choose(page, "ana-kos")
    page.open_page("Agreement")
    write(page, "#at-agreement-group input, #at-agreement-group textarea", "The Sixth Patch")
    page.until(lambda: "called The Sixth Patch" in page.text("#at-agreement-diff"))
    fits(page, 390)
    shoot(page, "editor")
    other = current.model_copy(update={"version": current.version + 1, "weights_licence": "CC0-1.0"})
    publish_agreement(store, other, override="test")
    page.one("#at-agreement-propose").click()
    page.until(lambda: "Another version of the agreement took force" in page.text("#at-agreement-news"))
    page.until(lambda: "licence of releases" in page.text("#at-agreement-diff"))  # the form would take it back
    assert "called The Sixth Patch" in page.text("#at-agreement-diff")
