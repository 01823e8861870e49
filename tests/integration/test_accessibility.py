"""Every page of the studio in a real Chromium, looked at by axe-core (WCAG 2 A and AA): light, dark, and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiotune.governance.member_acts import append_member_event
from tests.fakes.seeded_store import Seeded, seed
from tests.integration import test_studio_browser as browser

AXE: str = pytest.importorskip("axe_core_python.base", reason="axe-core-python is not installed").AXE_SCRIPT
webdriver, chromium = browser.webdriver, browser.chromium
pytestmark = browser.pytestmark
PARTS = ("My recordings", *browser.PARTS)
_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}, "resultTypes": ["violations"]}
_RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, arguments[0]).then(found => done(found.violations.map(
  ({id, nodes}) => nodes.map(({target, html, failureSummary}) => `${id} at ${target.join(" ")}: ${html.slice(0, 120)} ${failureSummary}`)
).flat()), fault => done([String(fault)]));
"""


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    """With something to see on each page: an open proposal, a withdrawal, a key."""
    made = seed(tmp_path_factory.mktemp("studio") / "store", segments_each=1, segment_s=1.0)
    opened: dict[str, Any] = {"kind": "other", "title": "Buy filters", "rule": {}}
    append_member_event(made.store, "ben", "proposal_opened", opened, via="command")
    append_member_event(made.store, "ana", "member_key_registered", {"key": "1" * 64, "label": "laptop"}, via="command")
    append_member_event(made.store, "ben", "withdrawal_recorded", {"uses": ["earn"]}, via="command")
    return made


@pytest.fixture(scope="module")
def studio(group: Seeded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browser.running(group.store.url, tmp_path_factory.mktemp("work")) as url:
        yield url


def find_violations(page: browser.Page) -> list[str]:
    page.driver.execute_script(AXE)
    return list(page.driver.execute_async_script(_RUN, _RULES))


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_no_page_shuts_anybody_out(chromium: webdriver.Chrome, studio: str, tmp_path: Path, scheme: str, width: int) -> None:
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    chromium.set_script_timeout(browser.WAIT_S)
    page, found = browser.Page(chromium, f"{studio}?__theme={scheme}", "ana", width), dict[str, list[str]]()
    for name in browser.PAGES:
        page.open_page(name)
        found[name] = find_violations(page)
    for name in PARTS:
        page.open_part(name)
        found[name] = find_violations(page)
    assert {name: faults for name, faults in found.items() if faults} == {}
