"""Who asks: an event's request tells by name, a widget's bare request by the door."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
from starlette.requests import Request

from services.studio.pages.head import session, signed_in
from services.studio.sessions import WHO


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
        (bare(**{WHO: "chi"}), "chi"),
        (bare(**{WHO: ""}), None),
        (None, None),
    ],
)
def test_who_asks(request_: Any, who: str | None) -> None:
    assert signed_in(request_) == who


@pytest.mark.parametrize(
    ("cookie", "text"), [("", ""), ("audio-tune-session=x1", "x1"), ("__Host-audio-tune=x2", "x2"), ("other=x3", "")]
)
def test_which_session_asks(cookie: str, text: str) -> None:
    assert session(event("ben", cookie)) == text
    assert session(gr.Request(username="ben")) == ""
