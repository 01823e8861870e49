"""Wiring: the pages on one desk, opened by `launch()` in a process of its own.

Never mounted into another app: a mounted Gradio app skips the check that a file was uploaded by whoever asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from audiotune.errors import SettingsError
from audiotune.governance import read_current_agreement
from services.studio.context import StudioContext, create_context
from services.studio.pages import PageRefresh, account, agreement, annotate, generate, header, releases, upload
from services.studio.settings import StudioSettings
from services.studio.sign_in.middleware import SignIn
from services.studio.sign_in.password_page import PasswordSignIn
from services.studio.store_wait import wait_for_store
from services.studio.theme import CSS, HEAD, create_theme

FIRST_PAGE = "annotate"
_KEEP_FILES_S = (3600, 24 * 3600)  # look once an hour, let files for browsers live a day


def build_studio(desk: StudioContext) -> gr.Blocks:
    """The whole studio as one page of rooms."""
    blocks: gr.Blocks
    with gr.Blocks(title="Audio Tune", delete_cache=_KEEP_FILES_S, analytics_enabled=False) as blocks:
        me = gr.BrowserState("", storage_key="audio-tune-member", secret="audio-tune")  # a choice, no secret
        bar = header.build_header(desk)
        with gr.Tabs(elem_id="at-pages", selected=FIRST_PAGE):
            with gr.Tab("Upload", id="upload") as room:
                arrivals = [(room, upload.build_upload_page(desk, me))]
            with gr.Tab("Annotate", id="annotate") as room:
                arrivals.append((room, annotate.build_annotate_page(desk)))
            with gr.Tab("Generate", id="generate") as room:
                arrivals.append((room, generate.build_generate_page(desk, me)))
            with gr.Tab("Releases", id="releases") as room:
                arrivals.append((room, releases.build_releases_page(desk, me)))
            with gr.Tab("Agreement", id="agreement") as room:
                arrivals.append((room, agreement.build_agreement_page(desk, me)))
            if desk.requires_sign_in:
                with gr.Tab("Account", id="account") as room:
                    arrivals.append((room, account.build_account_page(desk)))
        _connect_events(blocks, desk, me, bar, arrivals)
    return blocks


def serve_studio(settings: StudioSettings, desk: StudioContext | None = None, *, wait: bool = True) -> tuple[gr.Blocks, str]:
    """Opens the studio; returns its blocks and address. With `wait` it stays until the process is ended."""
    os.environ.setdefault("GRADIO_TEMP_DIR", str(settings.work_folder.resolve() / "files"))  # read when parts are made
    desk = desk or create_context(settings)
    blocks = wait_for_store(lambda: _build_when_agreed(desk), settings.store_wait_s)
    try:
        _, url, _ = blocks.launch(
            server_name=settings.host, server_port=settings.port or None, max_file_size=settings.upload_limit_mb * 1_000_000,
            theme=create_theme(), css_paths=[CSS], head=HEAD, share=False, ssr_mode=False, prevent_thread_lock=True,
            footer_links=[], quiet=True, show_error=False, pwa=False, mcp_server=False,
            run_history=False,  # it keeps what was typed, passwords and tokens too, in the browser
            **_build_sign_in_options(desk),
        )  # fmt: skip
    except OSError as e:
        raise SettingsError(f"cannot listen on {settings.host}:{settings.port}", cure="give another --port") from e
    print(f"The studio is open at {url}", flush=True)
    if wait:
        blocks.block_thread()
    return blocks, url


def _build_when_agreed(desk: StudioContext) -> gr.Blocks:
    read_current_agreement(desk.store)  # what the pages ask, before they are laid out
    return build_studio(desk)


def _build_sign_in_options(desk: StudioContext) -> dict[str, Any]:
    """How members come in: at the provider's, with a password, or by choosing a name."""
    if not desk.requires_sign_in:
        return {}
    door: SignIn
    if desk.uses_provider:
        from services.studio.sign_in.oidc import OidcProvider  # Authlib is imported where it is needed only
        from services.studio.sign_in.provider_page import ProviderSignIn

        door = ProviderSignIn(desk, OidcProvider(desk.settings))
    else:
        door = PasswordSignIn(desk)
    return {"auth_dependency": door.read_member, "app_kwargs": {"middleware": [door.middleware()]}}


def _connect_events(
    blocks: gr.Blocks, desk: StudioContext, me: gr.BrowserState, bar: gr.HTML, arrivals: list[tuple[gr.Tab, PageRefresh]]
) -> None:
    """Loading the page fills the room that is open and the forms; choosing who one is fills all; opening a room fills it."""
    first = [arrival for room, arrival in arrivals if room.id == FIRST_PAGE or not arrival.when_opened]
    parts = [part for _, arrival in arrivals for part in arrival.outputs]
    cleared = [part for _, arrival in arrivals for part in arrival.cleared_outputs]

    def on_load(chosen: str, request: gr.Request) -> tuple[Any, ...]:
        shown = header.build_header_value(
            desk, header.find_present_member(desk, chosen or "", request), header.find_account(desk, request)
        )
        return (shown, *_collect_values(first, *_identify_member(desk, chosen, request)))

    def on_choose(event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        chosen = header.find_present_member(desk, str(event.member or ""), request)
        nothing: list[dict[str, list[Any]]] = [{"sounds": []} for _ in cleared]
        every = [arrival for _, arrival in arrivals]
        shown = header.build_header_value(desk, chosen, header.find_account(desk, request))
        return (chosen, shown, *nothing, *_collect_values(every, *_identify_member(desk, chosen, request)))

    blocks.load(on_load, [me], [bar, *(part for arrival in first for part in arrival.outputs)], show_progress="hidden")
    bar.choose(on_choose, None, [me, bar, *cleared, *parts], show_progress="hidden")
    for room, arrival in arrivals:
        if arrival.when_opened:
            room.select(_create_open_handler(desk, arrival), [me], list(arrival.outputs), show_progress="hidden")


def _create_open_handler(desk: StudioContext, arrival: PageRefresh) -> Callable[..., Any]:
    def on_open(chosen: str, request: gr.Request) -> Any:
        values = _collect_values([arrival], *_identify_member(desk, chosen, request))
        return tuple(values) if len(values) > 1 else values[0]

    return on_open


def _identify_member(desk: StudioContext, chosen: str | None, request: gr.Request) -> tuple[str, str]:
    """The member who acts, and the account that signed in."""
    return header.find_acting_member(desk, chosen or "", request), header.find_account(desk, request)


def _collect_values(arrivals: Sequence[PageRefresh], member: str, account: str) -> list[Any]:
    """What the arrivals call for, one value for each of their parts, in order."""
    values: list[Any] = []
    for arrival in arrivals:
        found = arrival.load_values(account if arrival.by_account else member)
        values += found if isinstance(found, tuple) else [found]
    return values
