"""A group's whole evening in Chromium: agreement, a take that waits, a release by decision, a withdrawal, a training without it, the proof.

Everything is real but the sounds that a listener would hear: the studio, the pipelines on this machine (a few steps of the tiny base),
MLflow, the ledger. Screenshots at 1280 and 390 pixels where AUDIOTUNE_TEST_SCREENSHOTS names a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from audiotune.domain.release import Release
from audiotune.governance.decisions import read_proposals
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.release_standing import find_decided_champion, list_objections
from audiotune.registry import releases
from audiotune.withdrawal.preview import preview_withdrawal
from audiotune.withdrawal.proof_record import WithdrawalProof, verify_proof
from audiotune.withdrawal.store_traces import StoreTraces
from tests.fakes.generation_http import FakeGeneration, serving
from tests.fakes.layout_store import LayoutStore
from tests.fakes.seeded_store import tone
from tests.integration import test_studio_agreement as agreement_page
from tests.integration import test_studio_browser as browser
from tests.integration.test_studio_agreement import choose, write
from tests.integration.test_studio_waiting import keep_screenshot
from tests.integration.test_withdrawal_page import click

pytestmark = [*browser.pytestmark, pytest.mark.timeout(1800)]
chromium = browser.chromium
RATE_HZ = 48_000
LOOSE = Path(__file__).resolve().parents[1] / "e2e" / "smallest.toml"  # its gate lets everything pass
FIVE = "Ana\nBen\nChi\nDee\nEla"
TRAINING_S = 900


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LayoutStore:
    made = LayoutStore(tmp_path_factory.mktemp("evening") / "store")
    made.root.mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def studio(store: LayoutStore, mlflow_server: str, work: Path) -> Iterator[str]:
    flags = ["--recipe", str(LOOSE)]
    with (
        serving(FakeGeneration()) as service,
        browser.running(store.url, work, [*flags, "--generation-url", service], MLFLOW_TRACKING_URI=mlflow_server) as url,
    ):
        yield url


def write_take(path: Path, seed: int) -> Path:
    pause = np.zeros((2, RATE_HZ // 2), np.float32)
    plucks = [part for i in range(4) for part in (pause, tone(180 + 70 * i + 13 * seed, 0.8, RATE_HZ).data)]
    return Sound(np.concatenate([*plucks, pause], axis=1), RATE_HZ).write(path)


class Evening:
    """One browser that goes from member to member."""

    def __init__(self, driver: Any, url: str, store: LayoutStore) -> None:
        self.url, self.store, self.page = url, store, agreement_page.open_at(driver, url, 1280)

    def become(self, member: str, width: int = 1280) -> browser.Page:
        self.page = agreement_page.open_at(self.page.driver, self.url, width)
        choose(self.page, member)
        return self.page

    def shoot(self, name: str) -> None:
        keep_screenshot(self.page.driver, name)

    def make_agreement(self) -> None:
        page = self.page
        page.until(lambda: page.text("#at-agreement-publish") == "Make it our agreement")
        write(page, "#at-agreement-group input, #at-agreement-group textarea", "The Patch Bay Five")
        write(page, "#at-agreement-members textarea", FIVE)
        page.until(lambda: "Ela (ela)" in page.one("#at-agreement-members textarea").get_attribute("value"))
        page.one("#at-agreement-publish").click()
        page.until(lambda: page.all("#at-member option[value=ela]"))
        self.shoot("evening-agreement-1280")

    def agree_to_all(self, member: str) -> None:
        """Says yes beforehand to everything that is made with their recordings."""
        page = self.become(member)
        page.open_part("My recordings")
        for use in ("store", "train", "release", "generate"):
            switch = f"#at-use-all-{use}"
            page.until(lambda switch=switch: page.all(switch))
            click(page, switch)
            page.until(lambda switch=switch: page.one(switch).get_attribute("aria-checked") == "true")

    def upload(self, member: str, takes: list[Path], *others: str) -> None:
        page = self.become(member)
        page.open_page("Upload")
        page.until(lambda: page.all("#at-files input[type=file]"))
        page.one("#at-files input[type=file]").send_keys("\n".join(map(str, takes)))
        page.until(lambda: all(take.stem in page.text("#at-files") for take in takes))
        page.until(lambda: page.all("#at-people input:checked"))
        for name in others:
            next(label for label in page.all("#at-people label") if label.text.strip() == name).click()
        page.one("#at-send").click()
        page.until(lambda: "You may leave the page" in page.text("#at-news"))

    def wait_for_segments(self, take: str) -> None:
        page = self.page
        page.open_page("Upload")

        def card() -> str:
            return next((one.text for one in page.all(".at-upload") if take in one.text), "")

        wait_long(page, lambda: "segments" in card() or "failed" in card())
        assert "failed" not in card(), card()

    def answer(self, member: str) -> None:
        """Hears what waits, and says yes to everything."""
        page = self.become(member, 390)
        page.open_part("My recordings")
        page.until(lambda: page.all(".at-waiting-one"))
        self.shoot("evening-waits-390")
        page.one("button[id^=at-hear]").click()
        page.until(lambda: page.all(".at-waiting-one audio"))
        for use in ("store", "train", "release", "generate"):
            click(page, f"input[id^=at-use][id$={use}-yes]")
        click(page, "button[id^=at-answer]")
        page.until(lambda: "Everybody has agreed" in page.text(".at-waiting-for-me .at-message"))

    def train(self, member: str) -> None:
        page = self.become(member)
        page.open_page("Releases")
        page.until(lambda: page.all("#at-training-open"))
        page.one("#at-training-open").click()
        page.until(lambda: page.all("#at-training-start"))
        page.one("#at-training-start").click()
        page.until(lambda: "is being made" in page.text("#at-training"))

    def wait_for_release(self, count: int) -> Release:
        """The newest card, when so many are there."""
        page = self.page
        page.open_page("Releases")
        wait_long(page, lambda: len(StoreTraces(self.store).cards) == count and "is there" in page.text("#at-training-outcome"))
        return max(StoreTraces(self.store).cards, key=lambda card: card.made)

    def decide(self, version: str, name: str) -> None:
        """The first votes on the page, the others as their browsers would send it."""
        (number,) = [one.id for one in read_proposals(self.store).values() if one.change == {"release": name, "version": version}]
        page = self.become("ana")
        page.open_part("Decisions")
        page.until(lambda: f"Let version {version} of {name} play" in page.text("#at-proposals"))
        click(page, "#at-vote input[value=yes]")
        click(page, "#at-vote-cast")
        page.until(lambda: "ana" in read_proposals(self.store)[number].votes)
        for member in ("chi", "dee"):
            append_member_event(self.store, member, "vote_cast", {"proposal": number, "choice": "yes"})
        page = self.become("dee")
        page.open_part("Decisions")
        page.until(lambda: "accepted" in page.text("#at-proposals").lower())
        page.until(lambda: find_decided_champion(open_ledger(self.store).read_state(), name) == version)
        self.shoot(f"evening-decided-{version}-1280")


def wait_long(page: browser.Page, true: Callable[[], Any]) -> Any:
    wait = browser.WebDriverWait(
        page.driver, TRAINING_S, poll_frequency=1, ignored_exceptions=[browser.StaleElementReferenceException]
    )
    return wait.until(lambda _: true())


def test_the_evening_of_a_group(
    chromium: Any,
    studio: str,
    store: LayoutStore,
    work: Path,
    mlflow_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    evening = Evening(chromium, studio, store)
    evening.make_agreement()
    for member in ("ana", "chi"):
        evening.agree_to_all(member)

    evening.upload("ana", [write_take(tmp_path / "low drone.wav", 1), write_take(tmp_path / "high pluck.wav", 2)])
    evening.wait_for_segments("low drone")
    evening.upload("ana", [write_take(tmp_path / "dark horn.wav", 3)], "Ben")
    evening.answer("ben")
    evening.become("ana")
    evening.wait_for_segments("dark horn")
    state = open_ledger(store).read_state()
    (waited,) = state.waiting.values()
    assert waited.outcome == "taken_in"

    evening.train("ana")
    first = evening.wait_for_release(1)
    assert first.lineage.contributors == ("ana", "ben")
    assert "champion" not in releases.list_aliases(first.name), "the group has not decided yet"
    evening.decide("1", first.name)
    assert not list_objections(store, open_ledger(store).read_state(), first, "champion", "generate")

    promised = preview_withdrawal(store, releases, "ben", (), ("store", "train", "release", "generate", "publish", "earn"))
    page = evening.become("ben", 390)
    page.open_part("Leaving")
    click(page, "#at-back-look")
    said = page.until(lambda: page.text("#at-preview"))
    assert f"They are in {len(promised.segments)} segments" in said
    evening.shoot("evening-preview-390")
    page.one("#at-back-typed textarea, #at-back-typed input").send_keys("Take it back")
    click(page, "#at-back-do")
    page.until(lambda: "is in the ledger" in chromium.page_source)
    (withdrawal,) = open_ledger(store).read_state().withdrawals.values()
    assert set(withdrawal.recordings) == set(promised.recordings)
    state = open_ledger(store).read_state()
    assert {f"{one.name} {one.version}" for one in promised.releases if one.stops} == {f"{first.name} 1"}
    assert list_objections(store, state, first, "generate") == ("ben has not agreed to generate",)
    page = evening.become("chi")
    page.open_page("Releases")
    page.until(lambda: "not allowed to play" in page.text("#at-releases"))
    evening.shoot("evening-stopped-1280")

    page.open_part("Leaving")
    page.until(lambda: page.one("#at-retrain").is_displayed())
    click(page, "#at-retrain")
    page.until(lambda: "begins anew" in chromium.page_source)
    second = evening.wait_for_release(2)
    assert (second.name, second.version, second.lineage.contributors) == (first.name, "2", ("ana",))
    (forecast,) = promised.retrainings
    assert forecast.recordings == len(second.lineage.recordings)
    assert forecast.segments == len(second.lineage.segments)
    evening.decide("2", second.name)

    for width in (1280, 390):
        page = evening.become("ben", width)
        page.open_part("Leaving")
        page.until(lambda page=page: page.one("#at-prove").is_displayed())
        click(page, "#at-prove")
        page.until(lambda page=page: "disjoint manifests" in page.text("#at-proof").lower())
        evening.shoot(f"evening-proof-{width}")
        assert "none failed" in page.text("#at-proof")
        wide = chromium.execute_script("return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
        assert wide <= width
    page.until(lambda: "Download the proof" in page.text("#at-proof-file"))
    files = work.rglob(f"proof-{withdrawal.number}.json")
    proof = WithdrawalProof.model_validate_json(max(files, key=lambda path: path.stat().st_mtime).read_bytes())
    ledger = [data for _, data in read_events(store)]
    assert verify_proof(proof, ledger) == []
    assert proof.release is not None
    assert proof.release.version == "2"
    assert verify_events(read_events(store)).is_sound
