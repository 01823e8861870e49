"""Who asks: an event's request tells by name, a widget's bare request by the session's cookie or by the door."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
from starlette.requests import Request

from services.studio.pages.head import signed_in
from services.studio.sessions import WHO


class App:
    """What Gradio's app keeps of a session."""

    cookie_id = "x1"
    tokens = {"secret": "ana"}


def bare(cookie: str = "", **more: Any) -> Request:
    headers = [(b"cookie", cookie.encode())] if cookie else []
    return Request({"type": "http", "headers": headers, "app": App(), **more})


def event(username: str | None) -> Any:
    """A request as Gradio gives it to an event: with the name, around the bare one."""
    return gr.Request(bare("access-token-x1=secret"), username=username)


@pytest.mark.parametrize(
    ("request_", "who"),
    [
        (event("ben"), "ben"),
        (event(None), None),
        (bare("access-token-x1=secret"), "ana"),
        (bare("access-token-unsecure-x1=secret"), "ana"),
        (bare("access-token-x1=guessed"), None),
        (bare("access-token-other=secret"), None),
        (bare(), None),
        (bare(**{WHO: "chi"}), "chi"),
        (bare(**{WHO: ""}), None),
        (None, None),
    ],
)
def test_who_asks(request_: Any, who: str | None) -> None:
    assert signed_in(request_) == who
