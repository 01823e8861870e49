"""The studio behind a sign-in provider, in a real headless Chromium: sign in, annotate in one's own name, sign out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from audiotune.access import accounts, identities
from audiotune.domain import annotation
from tests.fakes.oidc import FakeProvider, serving
from tests.fakes.seeded_store import Seeded, seed
from tests.integration import test_studio_browser as browser

webdriver, chromium = browser.webdriver, browser.chromium
pytestmark = browser.pytestmark
PEOPLE = {name: {"email": f"{name}@band.example", "email_verified": True} for name in ("ana", "ben", "eve")}
WIDE = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
NARROW = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture
def group(tmp_path: Path) -> Seeded:
    made = seed(tmp_path / "store", segments_each=1, segment_s=1.0)
    accounts.create_account(made.store, "ana", None, "owner")
    identities.add_identity(made.store, "ana", "ana@band.example")
    return made


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider(("studio", "hush"), PEOPLE)
    with serving(fake):
        yield fake


@pytest.fixture
def studio(group: Seeded, provider: FakeProvider, tmp_path: Path) -> Iterator[str]:
    port = browser.free_port()
    flags = ["--public-url", f"http://localhost:{port}", "--oidc-issuer", provider.issuer, "--oidc-client-id", "studio"]
    secrets = {"AUDIOTUNE_STUDIO_OIDC_CLIENT_SECRET": "hush", "AUDIOTUNE_STUDIO_OIDC_NAME": "the band's account"}
    claim = ["--oidc-member-claim", "email"]
    with browser.running(group.store.url, tmp_path, flags + claim, port=port, AUDIOTUNE_ACCESS="members", **secrets) as url:
        yield url


def test_members_sign_in_at_the_provider_annotate_and_sign_out(
    chromium: webdriver.Chrome, studio: str, group: Seeded, provider: FakeProvider
) -> None:
    for path in ("config", "gradio_api/info", "gradio_api/file=/etc/hostname"):
        assert httpx.get(f"{studio}{path}").status_code == 401
    assert httpx.post(f"{studio}gradio_api/queue/join", json={"fn_index": 0, "data": []}).status_code == 401

    page = browser.Page.on(chromium)
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", WIDE)
    chromium.get(studio)
    page.until(lambda: "the band's account" in page.text("main"))
    shot(chromium, "sign-in-1280")
    come_in(page, "eve")
    page.until(lambda: "Nobody of the group is known as eve@band.example" in page.text("main"))
    shot(chromium, "sign-in-refused-1280")
    come_in(page, "ana")
    page.until(lambda: page.text("#at-signed-in") == "Ana")
    assert not page.all("#at-member")  # nobody else's name can be chosen

    segment = page.annotate("a horn")
    assert [(a.member, a.words) for a in annotation.read_segment_annotations(group.store, segment)] == [("ana", "a horn")]

    page.open_page("Account")
    page.until(lambda: "cannot sign in yet" in page.text("#at-accounts"))
    assert not page.all("#at-password-now")
    page.until(lambda: page.all("#at-account-of input"))
    page.one("#at-account-of input").send_keys("Ben", browser.Keys.ENTER)
    page.one("#at-identity textarea, #at-identity input").send_keys("ben@band.example")
    page.one("#at-identity-add").click()
    page.until(lambda: "ben@band.example" in page.text("#at-accounts"))
    shot(chromium, "account-identities-1280")
    found = identities.find_identity(group.store, "ben@band.example")
    assert found is not None
    assert found.member == "ben"

    page.one("#at-sign-out").click()
    page.until(lambda: "Sign in with" in page.text("main"))
    assert provider.signed_out == 1
    chromium.get(f"{studio}config")
    assert "Not authenticated" in chromium.page_source

    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW)
    chromium.get(studio)
    shot(chromium, "sign-in-390")
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 390
    come_in(page, "ben")
    page.until(lambda: page.text("#at-signed-in") == "Ben")
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", WIDE)
    chromium.get(studio)
    page.open_page("Account")
    page.until(lambda: page.text("#at-tokens"))
    assert not page.text("#at-accounts")  # owners' business
    assert not [each for each in page.all("#at-identity-add") if each.is_displayed()]


def come_in(page: browser.Page, person: str) -> None:
    """From the sign-in page to the provider, and signed in there."""
    page.one("main a").click()
    page.until(lambda: page.all(f"#{person}"))
    page.one(f"#{person}").click()


def shot(driver: webdriver.Chrome, name: str) -> None:
    if folder := os.environ.get("AUDIOTUNE_SCREENSHOTS"):
        driver.save_screenshot(f"{folder}/{name}.png")
