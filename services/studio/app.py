"""Wiring: the pages on one desk, opened by `launch()` in a process of its own.

Never mounted into another app: a mounted Gradio app skips the check that a file was uploaded by whoever asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from audiotune.errors import SettingsError
from audiotune.governance import current_agreement
from services.studio.desk import Desk, desk_for
from services.studio.door import Door
from services.studio.pages import Arrival, account, agreement, annotate, generate, head, releases, upload
from services.studio.password_door import PasswordDoor
from services.studio.patience import patiently
from services.studio.settings import Settings
from services.studio.theme import CSS, HEAD, theme

FIRST_ROOM = "annotate"
_KEEP_FILES_S = (3600, 24 * 3600)  # look once an hour, let files for browsers live a day


def build(desk: Desk) -> gr.Blocks:
    """The whole studio as one page of rooms."""
    blocks: gr.Blocks
    with gr.Blocks(title="Audio Tune", delete_cache=_KEEP_FILES_S, analytics_enabled=False) as blocks:
        me = gr.BrowserState("", storage_key="audio-tune-member", secret="audio-tune")  # a choice, no secret
        bar = head.build(desk)
        with gr.Tabs(elem_id="at-rooms", selected=FIRST_ROOM):
            with gr.Tab("Upload", id="upload") as room:
                arrivals = [(room, upload.build(desk, me))]
            with gr.Tab("Annotate", id="annotate") as room:
                arrivals.append((room, annotate.build(desk)))
            with gr.Tab("Generate", id="generate") as room:
                arrivals.append((room, generate.build(desk, me)))
            with gr.Tab("Releases", id="releases") as room:
                arrivals.append((room, releases.build(desk, me)))
            with gr.Tab("Agreement", id="agreement") as room:
                arrivals.append((room, agreement.build(desk, me)))
            if desk.signs_in:
                with gr.Tab("Account", id="account") as room:
                    arrivals.append((room, account.build(desk)))
        _wire(blocks, desk, me, bar, arrivals)
    return blocks


def serve(settings: Settings, desk: Desk | None = None, *, wait: bool = True) -> tuple[gr.Blocks, str]:
    """Opens the studio; returns its blocks and address. With `wait` it stays until the process is ended."""
    os.environ.setdefault("GRADIO_TEMP_DIR", str(settings.work_folder.resolve() / "files"))  # read when parts are made
    desk = desk or desk_for(settings)
    blocks = patiently(lambda: _built(desk), settings.store_wait_s)
    try:
        _, url, _ = blocks.launch(
            server_name=settings.host, server_port=settings.port or None, max_file_size=settings.upload_limit_mb * 1_000_000,
            theme=theme(), css_paths=[CSS], head=HEAD, share=False, ssr_mode=False, prevent_thread_lock=True,
            footer_links=[], quiet=True, show_error=False, pwa=False, mcp_server=False,
            run_history=False,  # it keeps what was typed, passwords and tokens too, in the browser
            **_sign_in(desk),
        )  # fmt: skip
    except OSError as e:
        raise SettingsError(f"cannot listen on {settings.host}:{settings.port}", cure="give another --port") from e
    print(f"The studio is open at {url}", flush=True)
    if wait:
        blocks.block_thread()
    return blocks, url


def _built(desk: Desk) -> gr.Blocks:
    current_agreement(desk.store)  # what the pages ask, before they are laid out
    return build(desk)


def _sign_in(desk: Desk) -> dict[str, Any]:
    """How members come in: at the provider's, with a password, or by choosing a name."""
    if not desk.signs_in:
        return {}
    door: Door
    if desk.signs_in_elsewhere:
        from services.studio.oidc import Provider  # Authlib is imported where it is needed only
        from services.studio.provider_door import ProviderDoor

        door = ProviderDoor(desk, Provider(desk.settings))
    else:
        door = PasswordDoor(desk)
    return {"auth_dependency": door.who, "app_kwargs": {"middleware": [door.middleware()]}}


def _wire(blocks: gr.Blocks, desk: Desk, me: gr.BrowserState, bar: gr.HTML, arrivals: list[tuple[gr.Tab, Arrival]]) -> None:
    """Loading the page fills the room that is open and the forms; choosing who one is fills all; opening a room fills it."""
    first = [arrival for room, arrival in arrivals if room.id == FIRST_ROOM or not arrival.when_opened]
    parts = [part for _, arrival in arrivals for part in arrival.parts]
    cleared = [part for _, arrival in arrivals for part in arrival.cleared]

    def on_load(chosen: str, request: gr.Request) -> tuple[Any, ...]:
        shown = head.value(desk, head.anybody(desk, chosen or "", request), head.account(desk, request))
        return (shown, *_values(first, *_who(desk, chosen, request)))

    def on_choose(event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        chosen = head.anybody(desk, str(event.member or ""), request)
        nothing: list[dict[str, list[Any]]] = [{"sounds": []} for _ in cleared]
        every = [arrival for _, arrival in arrivals]
        shown = head.value(desk, chosen, head.account(desk, request))
        return (chosen, shown, *nothing, *_values(every, *_who(desk, chosen, request)))

    blocks.load(on_load, [me], [bar, *(part for arrival in first for part in arrival.parts)], show_progress="hidden")
    bar.choose(on_choose, None, [me, bar, *cleared, *parts], show_progress="hidden")
    for room, arrival in arrivals:
        if arrival.when_opened:
            room.select(_opened(desk, arrival), [me], list(arrival.parts), show_progress="hidden")


def _opened(desk: Desk, arrival: Arrival) -> Callable[..., Any]:
    def on_open(chosen: str, request: gr.Request) -> Any:
        values = _values([arrival], *_who(desk, chosen, request))
        return tuple(values) if len(values) > 1 else values[0]

    return on_open


def _who(desk: Desk, chosen: str | None, request: gr.Request) -> tuple[str, str]:
    """The member who acts, and the account that signed in."""
    return head.who(desk, chosen or "", request), head.account(desk, request)


def _values(arrivals: Sequence[Arrival], member: str, account: str) -> list[Any]:
    """What the arrivals call for, one value for each of their parts, in order."""
    values: list[Any] = []
    for arrival in arrivals:
        found = arrival.call(account if arrival.by_account else member)
        values += found if isinstance(found, tuple) else [found]
    return values
