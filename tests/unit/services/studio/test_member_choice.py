"""Which member a request comes from: an event's request has the name, a widget's bare request has the session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
from starlette.requests import Request

from audiotune.access import accounts
from audiotune.governance import publish_agreement
from audiotune.store import FolderStore
from services.studio.context import create_context
from services.studio.pages.header import build_header_value, find_present_member, read_session_cookie, read_signed_in
from services.studio.pages.header import find_account as who_signed_in
from services.studio.settings import load_studio_settings
from services.studio.sign_in.session_store import MEMBER_SCOPE_KEY
from tests.fakes.seeded_store import agreement


def bare(cookie: str = "", **more: Any) -> Request:
    headers = [(b"cookie", cookie.encode())] if cookie else []
    return Request({"type": "http", "headers": headers, **more})


def event(username: str | None, cookie: str = "") -> Any:
    """A request as Gradio gives it to an event: with the name, around the bare one."""
    return gr.Request(bare(cookie), username=username)


@pytest.mark.parametrize(
    ("request_", "who"),
    [
        (event("ben"), "ben"),
        (event(None), None),
        (bare("audio-tune-session=guessed"), None),
        (bare(), None),
        (bare(**{MEMBER_SCOPE_KEY: "chi"}), "chi"),
        (bare(**{MEMBER_SCOPE_KEY: ""}), None),
        (None, None),
    ],
)
def test_the_signed_in_member_of_a_request(request_: Any, who: str | None) -> None:
    assert read_signed_in(request_) == who


@pytest.mark.parametrize(
    ("cookie", "text"),
    [
        ("", ""),
        ("audio-tune-session=x1", "x1"),
        ("__Host-audio-tune=x2", "x2"),
        ("other=x3", ""),
        ("__Secure-audio-tune=x4", "x4"),
    ],
)
def test_the_session_of_a_request(cookie: str, text: str) -> None:
    assert read_session_cookie(event("ben", cookie)) == text
    assert read_session_cookie(gr.Request(username="ben")) == ""


@pytest.mark.parametrize(
    ("account", "agreed", "words"),
    [
        ("keeper", True, ("does not name keeper", "make accounts", 'id = "keeper"', "on the Agreement page")),
        ("roadie", True, ("does not name roadie", "Ask the group", 'id = "roadie"')),
        ("keeper", False, ("no agreement yet", "make accounts", 'id = "keeper"')),
        ("ana", True, ()),
        ("", True, ()),
    ],
)
def test_somebody_the_agreement_does_not_name_is_told_what_to_do(
    tmp_path: Path, account: str, agreed: bool, words: tuple[str, ...]
) -> None:
    store = FolderStore(tmp_path / "store")
    if agreed:
        publish_agreement(store, agreement())
    accounts.create_account(store, "keeper", None, "owner")
    context = create_context(load_studio_settings({}, store=store.url, access="members"))
    asks = event(account or None)
    shown = build_header_value(context, find_present_member(context, "", asks), who_signed_in(context, asks))
    assert shown["account"] == account
    assert all(word in shown["notice"] for word in words)
    assert bool(shown["notice"]) == bool(words)
