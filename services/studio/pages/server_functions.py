"""How a widget's functions answer: who asks is settled first, and what went wrong comes back as words."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from audiotune.errors import AudioTuneError
from services.studio.context import StudioContext
from services.studio.pages.header import find_acting_member

Payload = dict[str, Any]
ServerFunction = Callable[[Payload, gr.Request], Payload]
_log = logging.getLogger(__name__)


def create_server_function(desk: StudioContext, work: Callable[[str, Payload], Payload]) -> ServerFunction:
    """The function as the page may call it: `work` takes the member who acts ("" for nobody) and what the page sent."""

    def call(given: Payload, request: gr.Request) -> Payload:
        try:
            given = given if isinstance(given, dict) else {}
            return work(find_acting_member(desk, str(given.get("member", "")), request), given)
        except AudioTuneError as e:
            return {"error": f"{str(e)[:1].upper()}{str(e)[1:]}."}
        except (TypeError, ValueError, KeyError, AttributeError):
            _log.exception("a page sent something odd to %s", work.__name__)
            return {"error": "The page sent something the studio does not understand. Load it again."}

    # Not functools.wraps: gradio looks for the request in this signature, not in the wrapped one's.
    call.__name__, call.__doc__ = work.__name__, work.__doc__
    return call
