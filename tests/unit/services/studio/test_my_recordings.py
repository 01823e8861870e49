"""My recordings: what a member agreed to, what counts with everybody heard, what hangs on it, and each change by one switch."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
from starlette.requests import Request

from audiotune.access import accounts
from audiotune.governance import read_consents, read_standing
from audiotune.governance.agreement import ALL_USES, FIRST_USES
from audiotune.governance.dependents import DependentsReader, NumberedDataset
from audiotune.governance.ledger.events import build_statement
from audiotune.governance.ledger.keys import generate_key
from audiotune.governance.ledger.ledger import open_ledger, read_event
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.use_texts import build_use_text, find_use_text
from services.studio.context import StudioContext, create_context
from services.studio.pages.agreement import render_agreement
from services.studio.pages.my_recordings import _ConsentFunctions
from services.studio.pages.releases import _refresh_releases
from services.studio.pages.server_functions import create_request_function
from services.studio.recording_consents import (
    describe_dependents,
    describe_member_words,
    explain_silent_releases,
    list_member_consents,
)
from services.studio.settings import load_studio_settings
from services.studio.sign_in.session_store import COOKIE, MEMBER_SCOPE_KEY
from tests.fakes.seeded_store import Seeded, seed


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=2, segment_s=0.3)


@pytest.fixture
def context(group: Seeded, tmp_path: Path) -> StudioContext:
    return create_context(load_studio_settings({}, store=group.store.url, work_folder=tmp_path / "work"))


class Page:
    """The widget's functions as a browser calls them."""

    def __init__(self, context: StudioContext, member: str, request: gr.Request | None = None) -> None:
        calls = _ConsentFunctions(context)
        self._calls = {
            work.__name__: create_request_function(context, work)
            for work in (calls.read_consents, calls.change_consent, calls.hear_recording)
        }
        self._member, self._request = member, request or gr.Request(Request({"type": "http", "headers": []}))

    def call(self, name: str, **payload: Any) -> dict[str, Any]:
        return self._calls[name]({"member": self._member, **payload}, self._request)

    def row(self, recording: str, answer: dict[str, Any] | None = None) -> dict[str, Any]:
        rows = (answer or self.call("read_consents"))["rows"]
        return next(row for row in rows if row["id"] == recording)


def test_a_row_says_what_was_said_what_counts_and_what_hangs_on_it(group: Seeded, context: StudioContext) -> None:
    page, drone = Page(context, "ana"), group.recordings[0].id
    answer = page.call("read_consents")
    assert [row["name"] for row in answer["rows"]] == ["feedback <loud>.wav", "tuesday drone.wav"]
    row = page.row(drone, answer)
    assert row["people"] == ["Ana", "Ben"]
    assert row["uses"] == row["counts"] == list(FIRST_USES)
    assert row["hangs"] == "in release patch-bay 1"
    assert row["missing"] == []  # what the agreement does not allow is not missing
    assert (row["segments"], row["playing"], row["until"]) == (2, ["patch-bay 1"], "")
    assert row["when"] == f"{context.library.current().brought_in[drone]:%d %b %Y}"
    assert [use["use"] for use in answer["uses"] if not use["allowed"]] == ["publish", "earn"]


def test_a_switch_counts_at_once_for_this_recording_alone(group: Seeded, context: StudioContext) -> None:
    page, drone = Page(context, "ben"), group.recordings[0].id
    answer = page.call("change_consent", recording=drone, use="train", on=False)
    row = page.row(drone, answer)
    assert row["uses"] == row["counts"] == ["store", "release", "generate"]
    assert "ben has not agreed to train" in row["missing"]
    assert "ben has not agreed to train" in Page(context, "ana").row(drone)["missing"]
    assert answer["standing"]["uses"] == list(FIRST_USES)
    assert open_ledger(group.store).read_state().number == answer["event"]
    answer = page.call("change_consent", recording=drone, use="train", on=True)
    assert page.row(drone, answer)["uses"] == list(FIRST_USES)
    text = read_consents(group.store, [drone])[drone, "ben"].text
    assert find_use_text(text) == build_use_text(ALL_USES)  # all of them stand on the page


def test_what_is_not_kept_is_not_used_and_what_is_used_is_kept(group: Seeded, context: StudioContext) -> None:
    page, plucks = Page(context, "chi"), group.recordings[1].id
    assert page.row(plucks, page.call("change_consent", recording=plucks, use="store", on=False))["uses"] == []
    assert page.row(plucks, page.call("change_consent", recording=plucks, use="train", on=True))["uses"] == ["store", "train"]


def test_all_of_mine_is_a_word_for_later_ones_too(group: Seeded, context: StudioContext) -> None:
    page = Page(context, "ana")
    answer = page.call("change_consent", recording="", use="generate", on=False)
    assert all("generate" not in row["uses"] for row in answer["rows"])
    assert answer["standing"] == {"uses": ["store", "train", "release"], "until": "", "own": True}
    assert read_standing(group.store)["ana"].uses == ("store", "train", "release")


def test_an_end_is_the_last_day_on_which_it_counts(group: Seeded, context: StudioContext) -> None:
    page, plucks = Page(context, "chi"), group.recordings[1].id
    row = page.row(plucks, page.call("change_consent", recording=plucks, until="2099-03-31"))
    assert row["until"] == "2099-03-31"
    record = read_consents(group.store, [plucks])[plucks, "chi"]
    assert record.until == datetime(2099, 4, 1, tzinfo=UTC)
    assert not record.agrees_to("train", record.until)
    assert record.agrees_to("train", record.until - timedelta(seconds=1))
    later = list_member_consents(group.store, context.library.current(), DependentsReader(group.store), "chi", now=record.until)
    assert later.recordings[0].uses == ()
    assert page.row(plucks, page.call("change_consent", recording=plucks, until=""))["until"] == ""


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"recording": "PLUCKS", "use": "train", "on": False}, "is not named as a player of recording"),
        ({"recording": "DRONE", "use": "sell", "on": True}, "'sell' is no use"),
        ({"recording": "DRONE", "until": "tomorrow"}, "'tomorrow' is no date"),
        ({"recording": "DRONE", "until": "2026-01-01"}, "has passed already"),
        ({"recording": "DRONE"}, "does not understand"),
    ],
)
def test_what_may_not_be_said_is_refused_in_words(
    group: Seeded, context: StudioContext, payload: dict[str, Any], says: str
) -> None:
    names = {"DRONE": group.recordings[0].id, "PLUCKS": group.recordings[1].id}
    before = open_ledger(group.store).read_state().number
    answer = Page(context, "ana").call("change_consent", **{**payload, "recording": names[payload["recording"]]})
    assert says in answer["error"]
    assert open_ledger(group.store).read_state().number == before


def test_nobody_acts_without_a_name_and_a_member_who_left_takes_back(group: Seeded, context: StudioContext) -> None:
    assert "choose who you are" in Page(context, "").call("read_consents")["error"].lower()
    assert Page(context, "zoe").call("change_consent", recording="", use="store", on=False)["standing"]["uses"] == []
    assert "has left the group" in Page(context, "zoe").call("change_consent", recording="", use="store", on=True)["error"]


def test_with_sign_in_the_session_says_who_speaks(group: Seeded, tmp_path: Path) -> None:
    accounts.create_account(group.store, "ben", "patch cables", "member", work=1)
    settings = load_studio_settings({}, store=group.store.url, access="members", work_folder=tmp_path / "work")
    context, drone = create_context(settings), group.recordings[0].id
    found = context.access.verify_password("ben", "patch cables")
    assert found is not None
    session = context.sessions.begin("ben", found.account.password, ticket=found.ticket)
    scope = {"type": "http", "headers": [(b"cookie", f"{COOKIE}={session}".encode())], MEMBER_SCOPE_KEY: "ben"}
    page = Page(context, "ana", gr.Request(Request(scope), username="ben"))  # who claims to be ana
    assert "train" not in page.row(drone, page.call("change_consent", recording=drone, use="train", on=False))["uses"]
    records = read_consents(group.store, [drone])
    assert "train" in records[drone, "ana"].uses
    assert "train" not in records[drone, "ben"].uses


def test_a_member_hears_what_they_are_heard_in(group: Seeded, context: StudioContext) -> None:
    page = Page(context, "ana")
    heard = page.call("hear_recording", recording=group.recordings[0].id)
    assert heard["url"].endswith(".flac")
    assert heard["peaks"]
    assert "not heard in this recording" in page.call("hear_recording", recording=group.recordings[1].id)["error"]


def test_the_agreement_page_does_not_say_that_a_member_agrees_to_what_they_took_back(
    group: Seeded, context: StudioContext
) -> None:
    assert describe_member_words(group.store, group.agreement)["ana"] == "store, train, release, generate"
    append_member_event(group.store, "ana", "withdrawal_recorded", {"recordings": [group.recordings[0].id]})
    assert (
        describe_member_words(group.store, group.agreement)["ana"]
        == "store, train, release, generate; less for 1 of 2 recordings"
    )
    append_member_event(group.store, "ana", "withdrawal_recorded", {})
    append_member_event(group.store, "ben", "consent_narrowed", {"uses": ["release", "generate"]})
    words = describe_member_words(group.store, group.agreement)
    assert (words["ana"], words["ben"], words["zoe"]) == ("nothing", "store, train", "left the group")
    page = str(render_agreement(context, context.require_agreement(), {}))
    assert '>Ana</td><td data-label="Signed">not yet</td><td data-label="Agrees to">nothing</td>' in page
    assert '>Ben</td><td data-label="Signed">not yet</td><td data-label="Agrees to">store, train</td>' in page


def test_a_release_card_says_who_keeps_it_from_playing(group: Seeded, context: StudioContext) -> None:
    assert explain_silent_releases(group.store, [group.release]) == {}
    assert "not allowed to play" not in str(_refresh_releases(context, "ana")[0])
    append_member_event(group.store, "ben", "withdrawal_recorded", {"why": "no"})
    assert explain_silent_releases(group.store, [group.release]) == {
        group.release.weights.identity: ("ben has not agreed to generate",)
    }
    card = str(_refresh_releases(context, "ana")[0])
    assert "not allowed to play" in card
    assert "ben has not agreed to generate" in card


def test_what_hangs_on_a_recording_in_words(group: Seeded) -> None:
    found = DependentsReader(group.store).list_dependents([group.recordings[0].id])
    two = group.release.model_copy(update={"version": "2"})
    many = type(found)(found.segments, (NumberedDataset(3, "d"),), (group.release, two), (two,), ())
    assert describe_dependents(many) == "in dataset 3, releases patch-bay 1 and patch-bay 2, adapter patch-bay 2"
    assert describe_dependents(type(found)()) == ""


def test_a_members_key_signs_what_the_page_records(group: Seeded, context: StudioContext) -> None:
    key, page = generate_key(), Page(context, "ana")
    append_member_event(group.store, "ana", "member_key_registered", {"key": key.public.hex()})
    for change in ({"use": "train", "on": False}, {"use": "train", "on": True}, {"until": "2099-03-31"}):
        before = open_ledger(group.store).read_state().number
        asked = page.call("change_consent", recording="", prepare=True, **change)["sign"]
        assert open_ledger(group.store).read_state().number == before  # asked, and nothing said yet
        statement = build_statement(asked["kind"], asked["by"], asked["body"], asked["head"])
        signed = {"key": key.id, "value": base64.b64encode(key.sign(statement)).decode(), "head": asked["head"]}
        answer = page.call("change_consent", recording="", signed=signed, **change)
        assert read_event(group.store, answer["event"]).signatures.member is not None
        assert "does not fit" in page.call("change_consent", recording="", signed=signed, use="generate", on=False)["error"]
    report = verify_events(read_events(group.store))
    assert (report.faults, report.vouched["signed by ana"]) == ([], 3)
