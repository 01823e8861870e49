"""Builds the pages on one context and launches them in a process of their own.

Never mounted into another app: a mounted Gradio app does not check that a file was uploaded by the person who asks for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from audiotune.errors import GovernanceError, SettingsError
from audiotune.governance import read_current_agreement
from audiotune.outside.path_prefix import PathPrefix
from audiotune.withdrawal.cache_sweep import CacheSweep
from services.studio.context import StudioContext, create_context
from services.studio.http.gradio_server import GradioServer
from services.studio.http.named_proxies import NamedProxies, parse_networks
from services.studio.http.page_requests import MOST_EVENTS_OF_ALL, PageRequests
from services.studio.http.same_origin import SameOrigin
from services.studio.http.security_headers import SecurityHeaders
from services.studio.http.upload_route import UploadRoute
from services.studio.notices.channels import list_channels
from services.studio.notices.sender import NoticeSender
from services.studio.pages import PagePart, PageRefresh, account, agreement, annotate, generate, header, releases, upload
from services.studio.pages.ledger_head import create_event_list
from services.studio.pages.matters import create_matter_list
from services.studio.run_watch import RunWatch
from services.studio.settings import StudioSettings
from services.studio.sign_in.middleware import SignIn
from services.studio.sign_in.password_page import PasswordSignIn
from services.studio.store_wait import wait_for_store
from services.studio.stored_news import StoredNewsReader
from services.studio.theme import CSS, HEAD, create_theme

FIRST_PAGE = "annotate"
_DELETE_FILES_S = (3600, 24 * 3600)  # each hour files for browsers that are older than a day are deleted
_Pages = Sequence[tuple[gr.Tab, Sequence[PagePart]]]  # a page without inner tabs is its own only part


def build_studio(context: StudioContext) -> gr.Blocks:
    """All pages of the studio, as the tabs of one Gradio app."""
    blocks: gr.Blocks
    with gr.Blocks(title="Audio Tune", delete_cache=_DELETE_FILES_S, analytics_enabled=False) as blocks:
        me = gr.BrowserState("", storage_key="audio-tune-member", secret="audio-tune")  # a choice, no secret
        bar = header.build_header(context, create_event_list(context), create_matter_list(context))
        builders: dict[str, Callable[[], PageRefresh | list[PagePart]]] = {
            "Upload": lambda: upload.build_upload_page(context, me),
            "Annotate": lambda: annotate.build_annotate_page(context),
            "Generate": lambda: generate.build_generate_page(context, me),
            "Releases": lambda: releases.build_releases_page(context, me),
            "Agreement": lambda: agreement.build_agreement_page(context, me),
        }
        if context.requires_sign_in:
            builders["Account"] = lambda: account.build_account_page(context)
        pages: list[tuple[gr.Tab, Sequence[PagePart]]] = []
        with gr.Tabs(elem_id="at-pages", selected=FIRST_PAGE) as tabs:
            for title, build_page in builders.items():
                with gr.Tab(title, id=title.lower()) as tab:
                    built = build_page()
                    pages.append((tab, built if isinstance(built, list) else [(tab, built)]))
        _connect_events(blocks, context, me, bar, tabs, pages)
    blocks.queue(max_size=MOST_EVENTS_OF_ALL)
    return blocks


def serve_studio(settings: StudioSettings, context: StudioContext | None = None, *, wait: bool = True) -> tuple[gr.Blocks, str]:
    """Launches the studio; returns its blocks and address. With `wait` it returns when the process is ended."""
    studio = context or create_context(settings)
    if "GRADIO_TEMP_DIR" not in os.environ:
        studio.upload_folder.remove_left_over()
    os.environ["GRADIO_TEMP_DIR"] = str(settings.files_folder)  # components read it when created
    os.environ["FORWARDED_ALLOW_IPS"] = ""  # uvicorn's default believes everybody on this machine; NamedProxies decides instead
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")  # it looks at all of them after each event
    blocks = wait_for_store(lambda: _build_with_agreement(studio), settings.store_wait_s)
    CacheSweep(studio.store).start()
    try:
        _, url, _ = blocks.launch(
            server_name=f"[{settings.host}]"
            if ":" in settings.host
            else settings.host,  # as in an address, which Gradio makes of it
            server_port=settings.port or None,
            max_file_size=settings.upload_limit_mb * 1_000_000,
            theme=create_theme(),
            css_paths=[CSS],
            head=HEAD,
            share=False,
            ssr_mode=False,
            prevent_thread_lock=True,
            footer_links=[],
            quiet=True,
            show_error=False,
            pwa=False,
            mcp_server=False,
            run_history=False,  # it keeps what was typed, passwords and tokens too, in the browser
            **_build_server_options(studio, blocks),
        )
    except OSError as e:
        raise SettingsError(f"cannot listen on {settings.host}:{settings.port}", cure="give another --port") from e
    studio.waiting_recordings.start_upkeep()
    print(f"The studio is open at {url}", flush=True)
    notices = NoticeSender(studio.store, list_channels(settings, studio.store), StoredNewsReader(studio.store))
    notices.start()
    watch = RunWatch(studio.training_runs, studio.upload_runs)
    watch.start()
    if wait:
        blocks.block_thread()
        notices.stop()
        watch.stop()
    return blocks, url


def _build_with_agreement(context: StudioContext) -> gr.Blocks:
    with contextlib.suppress(GovernanceError):  # the header says it, and nobody can act
        read_current_agreement(context.store)  # raises StoreError before the pages are built
    return build_studio(context)


def _build_server_options(context: StudioContext, blocks: gr.Blocks) -> dict[str, Any]:
    """Gradio's options for the checks of each request, outermost first, and for the sign-in where there is one."""
    settings, sign_in = context.settings, _create_sign_in(context)
    server = GradioServer(blocks)
    middleware = [
        Middleware(PathPrefix, prefix=settings.base_path),
        Middleware(SecurityHeaders, base_path=settings.base_path),
        Middleware(NamedProxies, proxies=parse_networks(settings.proxies)),
        Middleware(SameOrigin, public_url=settings.public_url, hosts=settings.hosts.split(",")),
        *([sign_in.middleware()] if sign_in else []),
        Middleware(UploadRoute, folder=context.upload_folder, largest_bytes=settings.upload_limit_mb * 1_000_000),
        Middleware(PageRequests, server=server, uploads=context.upload_folder, signs_in=sign_in is not None),
    ]
    options: dict[str, Any] = {"app_kwargs": {"middleware": middleware}, "root_path": settings.base_path}
    return {**options, "auth_dependency": sign_in.read_member} if sign_in else options


def _create_sign_in(context: StudioContext) -> SignIn | None:
    """At a provider, with a password, or none."""
    if not context.requires_sign_in:
        return None
    if not context.uses_provider:
        return PasswordSignIn(context)
    from services.studio.sign_in.oidc import OidcProvider  # Authlib is imported only where it is needed
    from services.studio.sign_in.provider_page import ProviderSignIn

    return ProviderSignIn(context, OidcProvider(context.settings))


def _connect_events(
    blocks: gr.Blocks, context: StudioContext, me: gr.BrowserState, bar: gr.HTML, tabs: gr.Tabs, pages: _Pages
) -> None:
    """Loading refreshes the first page and the forms; choosing a member refreshes all; opening a tab refreshes its page or part."""
    every = [refresh for _, parts in pages for _, refresh in parts]
    first = [refresh for tab, parts in pages for _, refresh in parts if tab.id == FIRST_PAGE or not refresh.when_opened]
    cleared = [output for refresh in every for output in refresh.cleared_outputs]

    def read_values(refreshes: Sequence[PageRefresh], chosen: str, request: gr.Request) -> list[Any]:
        """One value for each output of the refreshes, in order."""
        member, owner = header.find_acting_member(context, chosen, request), header.find_account(context, request)
        values: list[Any] = []
        for refresh in refreshes:
            try:
                loaded = refresh.load_values(owner if refresh.by_account else member)
            except GovernanceError:  # the header says it
                loaded = tuple(gr.skip() for _ in refresh.outputs)
            values += loaded if isinstance(loaded, tuple) else [loaded]
        return values

    def read_header(member: str, request: gr.Request) -> dict[str, Any]:
        return header.build_header_value(context, member, header.find_account(context, request))

    def on_load(chosen: str, request: gr.Request) -> tuple[Any, ...]:
        member = header.find_present_member(context, chosen or "", request)
        return (read_header(member, request), open_first_page(), *read_values(first, chosen or "", request))

    def open_first_page() -> Any:
        """A group without an agreement begins by making it."""
        with contextlib.suppress(GovernanceError):
            if context.find_agreement() is None:
                return gr.Tabs(selected="agreement")
        return gr.skip()

    def on_choose(event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        member = header.find_present_member(context, str(event.member or ""), request)
        no_sounds: list[dict[str, list[Any]]] = [{"sounds": []} for _ in cleared]
        return (member, read_header(member, request), *no_sounds, *read_values(every, member, request))

    def refresh_when_selected(tab: gr.Tab, refreshes: Sequence[PageRefresh]) -> None:
        opened = [refresh for refresh in refreshes if refresh.when_opened and refresh.outputs]

        def on_open(chosen: str, request: gr.Request) -> Any:
            values = read_values(opened, chosen or "", request)
            return tuple(values) if len(values) > 1 else values[0]

        if opened:
            tab.select(on_open, [me], list_outputs(opened), show_progress="hidden")

    def list_outputs(refreshes: Sequence[PageRefresh]) -> list[Any]:
        return [output for refresh in refreshes for output in refresh.outputs]

    loading = blocks.load(on_load, [me], [bar, tabs, *list_outputs(first)], show_progress="hidden")
    # What loading answers late would take back what choosing a member has filled.
    bar.choose(on_choose, None, [me, bar, *cleared, *list_outputs(every)], show_progress="hidden", cancels=[loading])
    for tab, parts in pages:
        refresh_when_selected(tab, [refresh for _, refresh in parts])
        for part, refresh in parts:
            if part is not tab:
                refresh_when_selected(part, [refresh])
