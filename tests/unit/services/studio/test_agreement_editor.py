"""The form of the agreement: who may put it in force, who proposes, and what the second of two writers is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
from starlette.requests import Request

from audiotune.access import accounts
from audiotune.governance import Agreement, publish_agreement, read_current_agreement
from audiotune.governance.agreement_record import DecisionRule
from audiotune.governance.agreement_toml import format_agreement
from audiotune.governance.decisions import read_proposals
from audiotune.governance.ledger.events import event_key, parse_event
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.store import FolderStore
from services.studio.agreement_form import AgreementForm, fill_form
from services.studio.context import StudioContext, create_context
from services.studio.member_events import MemberAct
from services.studio.pages.agreement_editor import AgreementEditor, _list_values
from services.studio.settings import load_studio_settings
from services.studio.sign_in.session_store import COOKIE, MEMBER_SCOPE_KEY
from tests.fakes.layout_store import LayoutStore
from tests.fakes.seeded_store import agreement

FIRST = AgreementForm(group="The Patch Bay Five", members="Ana\nBen\nChi")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


def editor_of(store: FolderStore, folder: Path, **settings: str) -> AgreementEditor:
    context = create_context(load_studio_settings({}, store=store.url, work_folder=folder / "work", **settings))
    with gr.Blocks():
        return AgreementEditor(context, gr.BrowserState(""))


def asks_as(member: str, session: str = "") -> gr.Request:
    scope = {"type": "http", "headers": [(b"cookie", f"{COOKIE}={session}".encode())], MEMBER_SCOPE_KEY: member}
    return gr.Request(Request(scope), username=member or None)


def sign_in(context: StudioContext, member: str) -> gr.Request:
    signed_in = context.access.verify_password(member, "patch cables")
    assert signed_in is not None
    return asks_as(member, context.sessions.begin(member, signed_in.account.password, ticket=signed_in.ticket))


def publish(editor: AgreementEditor, request: gr.Request, form: AgreementForm, base: Agreement | None, chosen: str = "") -> str:
    seen, dumped = (base.digest, base.model_dump(mode="json")) if base else ("", None)
    return str(editor._on_publish(request, chosen, seen, dumped, *_list_values(form))[0])


def visible(editor: AgreementEditor, person: str) -> tuple[Any, ...]:
    """Whether the form, the button that puts it in force, and the one that proposes are shown."""
    return tuple(update.visible for update in editor.load_values(person)[1:4])


def test_where_nobody_signs_in_anybody_makes_the_first_one(store: FolderStore, tmp_path: Path) -> None:
    editor = editor_of(store, tmp_path)
    assert visible(editor, "") == (True, True, False)
    assert "version 1 is in force" in publish(editor, asks_as(""), FIRST, None).lower()
    made = read_current_agreement(store)
    assert made is not None
    assert [member.id for member in made.members] == ["ana", "ben", "chi"]
    assert visible(editor, "") == (False, False, False)
    assert visible(editor, "ana") == (True, False, True)  # it has a rule for changes


def test_where_people_sign_in_an_owner_makes_the_first_one(store: FolderStore, tmp_path: Path) -> None:
    editor = editor_of(store, tmp_path, access="members")
    for who, role in (("ana", "owner"), ("ben", "member")):
        accounts.create_account(store, who, "patch cables", role, work=1)  # type: ignore[arg-type]
    ana, ben = (sign_in(editor._context, who) for who in ("ana", "ben"))
    assert (visible(editor, "ana"), visible(editor, "ben")) == ((True, True, False), (False, False, False))
    assert "An owner of the group makes the first one here" in str(editor.load_values("ben")[0])
    assert "Only owners do this" in publish(editor, ben, FIRST, None)
    assert read_current_agreement(store) is None
    assert "is in force" in publish(editor, ana, FIRST, None)
    number = open_ledger(store).read_state().number
    event = parse_event(store.get(event_key(number)), "")
    assert (event.kind, event.by, event.via) == ("agreement_published", "ana", "sign_in")


def test_an_owner_changes_what_has_no_rule_and_a_member_proposes(store: FolderStore, tmp_path: Path) -> None:
    publish_agreement(store, agreement())
    editor = editor_of(store, tmp_path, access="members")
    for who, role in (("ana", "owner"), ("ben", "member"), ("zoe", "owner")):
        accounts.create_account(store, who, "patch cables", role, work=1)  # type: ignore[arg-type]
    assert visible(editor, "ben") == (True, False, True)
    assert visible(editor, "zoe") == (False, False, False)  # who has left
    ana, base = sign_in(editor._context, "ana"), read_current_agreement(store)
    assert base is not None
    form = fill_form(base)
    assert "nothing differs" in publish(editor, ana, form, base).lower()
    assert "version 2 is in force" in publish(editor, ana, replace(form, group="The Six"), base).lower()
    news = publish(editor, ana, replace(form, weights_licence="CC0-1.0"), base)
    assert "another version of the agreement took force" in news.lower()
    found = read_current_agreement(store)
    assert found is not None
    assert (found.group, found.weights_licence) == ("The Six", base.weights_licence)
    act = MemberAct(editor._context, "", sign_in(editor._context, "ben"))
    values = _list_values(replace(fill_form(found), weights_licence="CC0-1.0"))
    assert "is open until" in editor._on_propose(act, found.digest, found.model_dump(mode="json"), *values)[0]
    (proposed,) = read_proposals(store).values()
    assert (proposed.by, proposed.agreement and proposed.agreement.weights_licence) == ("ben", "CC0-1.0")


def test_with_a_rule_an_owner_puts_nothing_in_force(store: FolderStore, tmp_path: Path) -> None:
    base = agreement().model_copy(update={"decisions": {"agreement": DecisionRule()}})
    publish_agreement(store, base)
    editor = editor_of(store, tmp_path)
    assert "under a decision of the group" in publish(editor, asks_as(""), replace(fill_form(base), group="x"), base, "ana")
    assert read_current_agreement(store) == base


def test_a_file_fills_the_form_and_the_form_makes_a_file(store: FolderStore, tmp_path: Path) -> None:
    editor = editor_of(store, tmp_path)
    given = agreement()
    news, base, _, *values = editor._take_file(format_agreement(given).encode())
    assert "nothing is in force yet" in news
    assert (base, tuple(values)) == (given.model_dump(mode="json"), _list_values(fill_form(given)))
    assert "is no TOML" in editor._take_file(b"[[")[0]
    _, download = editor._save_file("", base, *values)
    assert Path(download.value["path"] if isinstance(download.value, dict) else download.value).read_text() == format_agreement(
        given
    )
