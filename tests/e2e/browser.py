"""A member uses the studio on the cluster, in a real headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.cluster_namespace import ClusterError

_WAIT_S = 120


def find_obstacle() -> str:
    """Why no browser can be started here, or ""."""
    return "" if shutil.which("chromium") and shutil.which("chromedriver") else "no chromium and chromedriver on this machine"


def visit(url: str, member: str, password: str, shots: Path) -> None:
    """Signs in, asks for a sound and sees the releases; a picture of each page goes to `shots`.

    Raises:
        ClusterError: a page does not show what it should; a picture of it is in `shots`.
    """
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(shutil.which("chromedriver"))))
    shots.mkdir(parents=True, exist_ok=True)
    try:
        _visit(_Page(driver, shots), url, member, password)
    except WebDriverException as e:
        driver.save_screenshot(str(shots / "trouble.png"))
        raise ClusterError(f"the studio in Chromium: {type(e).__name__} {(e.msg or '')[:300]}; {shots}/trouble.png") from e
    finally:
        driver.quit()


class _Page:
    def __init__(self, driver: Any, shots: Path) -> None:
        self.driver, self._shots = driver, shots

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def text(self, selector: str) -> str:
        return str(self.driver.execute_script("return document.querySelector(arguments[0])?.innerText || ''", selector))

    def until(self, true: Callable[[], Any]) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, _WAIT_S, poll_frequency=0.2).until(lambda _: true())

    def open_tab(self, name: str) -> None:
        tabs = "#at-pages > .tab-wrapper button[role=tab]"
        button = self.until(lambda: next((b for b in self.all(tabs) if b.text.strip() == name), None))
        button.click()
        self.until(lambda: button.get_attribute("aria-selected") == "true")

    def shoot(self, name: str) -> None:
        self.driver.save_screenshot(str(self._shots / f"{name}.png"))


def _visit(page: _Page, url: str, member: str, password: str) -> None:
    page.driver.get(url)
    page.until(lambda: len(page.all("input")) >= 2)
    page.shoot("sign-in")
    for box, words in zip(page.all("input")[:2], (member, password), strict=True):
        box.send_keys(words)
    next(button for button in page.all("button") if button.is_displayed()).click()
    page.until(lambda: page.text("#at-signed-in"))
    page.open_tab("Generate")
    page.until(lambda: page.all("#at-prompt textarea"))
    page.all("#at-prompt textarea")[0].send_keys("low drone")
    page.all("#at-make")[0].click()
    page.until(lambda: page.all("#at-new-sounds .at-sound"))
    page.all("#at-new-sounds .at-play")[0].click()
    page.until(lambda: page.driver.execute_script("return window.audioTunePlaying && window.audioTunePlaying.duration > 0"))
    page.shoot("generate")
    page.open_tab("Releases")
    page.until(lambda: "champion" in page.driver.page_source.lower())
    page.shoot("releases")
