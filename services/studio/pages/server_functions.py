"""Server functions of the widgets: they get the acting member, and return {"error": words} on failure."""

import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from audiotune.errors import AudioTuneError
from services.studio.context import StudioContext
from services.studio.markup import format_sentence
from services.studio.pages.header import find_acting_member

Payload = dict[str, Any]
ServerFunction = Callable[[Payload, gr.Request], Payload]
_log = logging.getLogger(__name__)


def create_server_function(context: StudioContext, work: Callable[[str, Payload], Payload]) -> ServerFunction:
    """A function that a page may call: `work` takes the acting member ("" for nobody) and the payload of the page."""
    call = create_request_function(context, lambda member, payload, request: work(member, payload))
    call.__name__, call.__doc__ = work.__name__, work.__doc__
    return call


def create_request_function(context: StudioContext, work: Callable[[str, Payload, gr.Request], Payload]) -> ServerFunction:
    """As `create_server_function`, for work that needs the request: it records something in the member's name."""

    def call(payload: Payload, request: gr.Request) -> Payload:
        try:
            payload = payload if isinstance(payload, dict) else {}
            return work(find_acting_member(context, str(payload.get("member", "")), request), payload, request)
        except AudioTuneError as e:
            return {"error": format_sentence(e)}
        except (TypeError, ValueError, KeyError, AttributeError):
            _log.exception("a page sent an invalid payload to %s", call.__name__)
            return {"error": "The page sent something the studio does not understand. Load it again."}

    # Not functools.wraps: gradio looks for the request in this signature, not in the wrapped one's.
    call.__name__, call.__doc__ = work.__name__, work.__doc__
    return call
