"""Decisions on the agreement page: proposals are opened, discussed and voted on; who signs in speaks for themselves only."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
from starlette.requests import Request

from audiotune.access import accounts
from audiotune.errors import DecisionError
from audiotune.governance.decisions import read_proposals
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.governance.proposal import parse_change
from services.studio.context import create_context
from services.studio.member_events import MemberAct
from services.studio.pages.decisions import DecisionForms, render_proposals
from services.studio.settings import load_studio_settings
from services.studio.sign_in.session_store import COOKIE, MEMBER_SCOPE_KEY
from tests.fakes.seeded_store import Seeded, agreement, seed


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=1, segment_s=0.3)


def forms_of(group: Seeded, folder: Path, **settings: str) -> DecisionForms:
    context = create_context(load_studio_settings({}, store=group.store.url, work_folder=folder / "work", **settings))
    with gr.Blocks():
        return DecisionForms(context, gr.BrowserState(""))


def asks_as(member: str, session: str = "") -> gr.Request:
    scope = {"type": "http", "headers": [(b"cookie", f"{COOKIE}={session}".encode())], MEMBER_SCOPE_KEY: member}
    return gr.Request(Request(scope), username=member or None)


def test_from_a_proposal_to_its_acceptance(group: Seeded, tmp_path: Path) -> None:
    forms = forms_of(group, tmp_path)

    def act(chosen: str) -> MemberAct:
        return MemberAct(forms._context, chosen, asks_as(""))

    news, page, choice = forms._propose(act("ana"), "other", "Buy <b>filters</b>", "They sing.", "")
    assert "is open until" in news
    assert "Buy &lt;b&gt;filters&lt;/b&gt;" in page
    number = choice.value
    assert "Said." in forms._comment(act("ben"), number, "Which <i>ones</i>?")[0]
    assert "Choose who you are" in forms._vote(act(""), number, "yes")[0]
    assert "choose a proposal and a vote" in forms._vote(act("ben"), number, None)[0].lower()
    members = [member.id for member in group.agreement.members if not member.left]
    said = [forms._vote(act(who), number, "yes")[0] for who in members]
    assert any("The proposal is accepted." in news for news in said)
    page = forms.load_values()[0]
    assert "accepted" in page
    assert "Which &lt;i&gt;ones&lt;/i&gt;?" in page
    assert verify_events(read_events(group.store)).is_sound


def test_who_signs_in_votes_for_themselves(group: Seeded, tmp_path: Path) -> None:
    for member in ("ana", "ben"):
        accounts.create_account(group.store, member, "patch cables", "member", work=1)
    forms = forms_of(group, tmp_path, access="members")
    context = forms._context
    signed_in = context.access.verify_password("ben", "patch cables")
    assert signed_in is not None
    session = context.sessions.begin("ben", signed_in.account.password, ticket=signed_in.ticket)
    ben = MemberAct(context, "ana", asks_as("ben", session))
    forms._propose(ben, "other", "Mine", "", "")  # the name that a page chose counts nothing
    (proposal,) = read_proposals(group.store).values()
    assert proposal.by == "ben"
    forms._vote(ben, proposal.id, "yes")
    assert read_proposals(group.store)[proposal.id].votes == {"ben": "yes"}
    nobody = MemberAct(context, "ben", asks_as("ben", "0" * 64))  # a session that was never given out has no ticket
    assert "signed in" in forms._vote(nobody, proposal.id, "no")[0]
    assert read_proposals(group.store)[proposal.id].votes == {"ben": "yes"}


@pytest.mark.parametrize("text", ["release", "=3", "release="])
def test_what_is_to_be_done_is_written_in_one_form(text: str) -> None:
    with pytest.raises(DecisionError, match="NAME=VALUE"):
        parse_change(text.split())
    assert parse_change(["release=jam", "version=3"]) == {"release": "jam", "version": "3"}


def test_without_proposals() -> None:
    assert "Nothing was proposed yet" in render_proposals([], agreement())
