"""The account page: every token of a member is listed, whatever it is called, and nothing secret is a public event."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from starlette.requests import Request

from audiotune.access import tokens
from services.studio.app import build_studio
from services.studio.context import StudioContext, create_context
from services.studio.notices.addresses import read_address
from services.studio.pages.account import _show_tokens
from services.studio.pages.notice_address import NoticeAddressForm
from services.studio.settings import load_studio_settings
from tests.fakes.seeded_store import Seeded, seed


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=1, segment_s=0.3)


@pytest.fixture
def context(group: Seeded) -> StudioContext:
    return create_context(load_studio_settings({}, store=group.store.url, access="members"))


def test_the_list_of_tokens_is_whole_and_marks_the_studios_own(context: StudioContext) -> None:
    context.sessions.begin("ben", "proof", ticket=context.access.vouch_for("ben"))
    context.service_tokens("ben")
    named_alike = tokens.issue_token(context.store, "ben", ["generate"], 365, label="studio").split("_")[1]
    hers = tokens.issue_token(context.store, "ana", ["generate"], 365).split("_")[1]
    ended = tokens.issue_token(context.store, "ben", ["generate"], 365).split("_")[1]
    tokens.revoke_token(context.store, ended)
    table, choice = _show_tokens(context, "ben")
    own = context.service_tokens.find_id("ben")
    assert {id for _, id in choice.choices} == {named_alike, own}
    assert {id: words for words, id in choice.choices}[own].startswith("this studio, for")
    assert (named_alike in table, own in table, hers in table, ended in table) == (True, True, False, False)


@pytest.mark.parametrize("provider", [False, True])
def test_no_event_that_carries_a_secret_is_public(group: Seeded, provider: bool, tmp_path: Path) -> None:
    at_provider = {"oidc_issuer": "https://idp.example", "oidc_client_id": "x", "public_url": "https://s.example"}
    settings = load_studio_settings({}, store=group.store.url, access="members", **(at_provider if provider else {}))
    blocks = build_studio(create_context(settings))
    secret = [block for block in blocks.blocks.values() if isinstance(block, gr.Textbox) and block.type == "password"]
    shown = [block for block in blocks.blocks.values() if block.elem_id in ("at-token-news", "at-account-news")]
    assert (len(secret), len(shown)) == (0 if provider else 2, 2)
    touching = [fn for fn in blocks.fns.values() if {*secret, *shown} & {*fn.inputs, *fn.outputs}]
    assert len(touching) >= 3
    assert {fn.api_visibility for fn in touching} == {"private"}


def test_a_member_gives_and_takes_away_their_own_address(group: Seeded) -> None:
    settings = load_studio_settings({}, store=group.store.url, access="members", smtp_host="m.example", smtp_from="t@x.example")
    context = create_context(settings)
    with gr.Blocks():
        form = NoticeAddressForm(context)
    ben = gr.Request(Request({"type": "http", "headers": []}), username="ben")
    assert "You are told" in form._keep_address("ben@band.example", ben)[0]
    assert form.load_values("ben") == ("ben@band.example",)
    assert "no e-mail address" in form._keep_address("ben", ben)[0]
    assert (read_address(context.store, "ben"), read_address(context.store, "ana")) == ("ben@band.example", "")
    assert "told nothing" in form._keep_address("", ben)[0]
    assert form.load_values("ben") == ("",)
    nobody = gr.Request(Request({"type": "http", "headers": []}), username=None)
    assert "no member id" in form._keep_address("eve@band.example", nobody)[0]
    assert not list(context.store.list("notices/"))


def test_without_a_mail_server_nobody_is_asked_for_an_address(context: StudioContext) -> None:
    with gr.Blocks():
        assert NoticeAddressForm(context).outputs == []
