"""The studio below a path of a reverse proxy, in a real headless Chromium: sign-in, widgets, sounds, uploads, nothing beside the path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from audiotune.access import accounts, identities
from audiotune.domain import annotation
from tests.fakes.oidc import FakeProvider
from tests.fakes.oidc import serving as serving_provider
from tests.fakes.reverse_proxy import proxying
from tests.fakes.seeded_store import Seeded, seed
from tests.integration import test_studio_browser as browser
from tests.integration.test_studio_oidc import PEOPLE, come_in
from tests.integration.test_studio_sign_in import FIRST, sign_in

webdriver, chromium = browser.webdriver, browser.chromium
pytestmark = browser.pytestmark
PREFIX = "/band/studio"


@pytest.fixture
def group(tmp_path: Path) -> Seeded:
    made = seed(tmp_path / "store", segments_each=1, segment_s=1.0)
    accounts.create_account(made.store, "ana", FIRST, "owner")
    return made


@pytest.fixture
def port(group: Seeded, tmp_path: Path) -> Iterator[int]:
    with browser.running(group.store.url, tmp_path, ["--root-path", PREFIX], AUDIOTUNE_ACCESS="members") as url:
        yield urlsplit(url).port or 0


@pytest.mark.parametrize("strips", [True, False])
def test_members_sign_in_hear_annotate_and_upload_below_the_path(
    chromium: webdriver.Chrome, port: int, group: Seeded, tmp_path: Path, strips: bool
) -> None:
    with proxying(port, PREFIX, strips=strips) as (url, elsewhere):
        assert httpx.get(f"{url}/config").status_code == 401
        page = browser.Page.on(chromium)
        chromium.delete_all_cookies()
        sign_in(page, f"{url}/", "ana")
        page.until(lambda: page.text("#at-signed-in") == "Ana")
        assert chromium.current_url == f"{url}/"
        assert {cookie["path"] for cookie in chromium.get_cookies() if cookie["name"].startswith("audio-tune")} == {PREFIX}
        page.errors()

        page.until(lambda: "You heard" in page.text(".at-progress"))
        page.keys(" ")
        page.until(lambda: chromium.execute_script("return window.audioTunePlaying && window.audioTunePlaying.played.length > 0"))
        assert chromium.execute_script("return window.audioTunePlaying.src").startswith(f"{url}/gradio_api/file=")
        page.keys(" ")
        segment = page.annotate("a horn")
        assert [a.words for a in annotation.read_segment_annotations(group.store, segment)] == ["a horn"]
        letter = tmp_path / "letter.wav"
        letter.write_text("Dear friends " * 100)
        page.open_page("Upload")
        page.until(lambda: page.all("#at-files input[type=file]"))
        page.one("#at-files input[type=file]").send_keys(str(letter))
        page.until(lambda: "letter" in page.text("#at-files"))
        page.until(lambda: page.all("#at-people input:checked"))
        page.one("#at-send").click()
        page.until(lambda: "this is a text, no sound file" in page.text("#at-news"))
        page.open_page("Releases")
        page.until(lambda: page.all("#at-training-open"))  # a widget's own function

        chromium.get(url)  # without the slash: a proxy that takes the path off cannot tell the two apart
        page.until(lambda: page.text("#at-signed-in") == "Ana")
        # A browser asks for these two at the root of a name, and without cookies.
        assert [words for words in page.errors() if "/favicon.ico" not in words and "/manifest.json" not in words] == []
        page.until(lambda: page.all("#at-sign-out") and (page.one("#at-sign-out").click() or True))  # the bar renews itself
        page.until(lambda: page.all("input[type=password]"))
        assert chromium.current_url == f"{url}/"
        assert [path for path, _ in elsewhere if path != "/favicon.ico"] == []
        chromium.get(url.removesuffix(PREFIX) + "/")
        assert "audio-tune" not in elsewhere[-1][1]  # the other site is not sent the studio's cookies


def test_members_sign_in_at_the_provider_below_the_path(chromium: webdriver.Chrome, group: Seeded, tmp_path: Path) -> None:
    identities.add_identity(group.store, "ana", "ana@band.example")
    provider, port = FakeProvider(("studio", "hush"), PEOPLE), browser.free_port()
    with serving_provider(provider), proxying(port, PREFIX, strips=False) as (url, elsewhere):
        flags = ["--public-url", url, "--oidc-issuer", provider.issuer, "--oidc-client-id", "studio"]
        claim = ["--oidc-member-claim", "email"]
        secret = {"AUDIOTUNE_STUDIO_OIDC_CLIENT_SECRET": "hush", "AUDIOTUNE_ACCESS": "members"}
        with browser.running(group.store.url, tmp_path, [*flags, *claim], port=port, **secret):
            page = browser.Page.on(chromium)
            chromium.delete_all_cookies()
            chromium.get(f"{url}/")
            come_in(page, "ana")
            page.until(lambda: page.text("#at-signed-in") == "Ana")
            assert chromium.current_url == f"{url}/"
            page.until(lambda: page.all("#at-sign-out") and (page.one("#at-sign-out").click() or True))  # the bar renews itself
            page.until(lambda: "Sign in with" in page.text("main"))
            assert chromium.current_url == f"{url}/"
            assert provider.signed_out == 1
            assert [path for path, _ in elsewhere if path != "/favicon.ico"] == []
