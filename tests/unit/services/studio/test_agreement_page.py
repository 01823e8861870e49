"""The agreement page: members read what others did in their name, and owners decide who is heard."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
from starlette.requests import Request

from audiotune.access import accounts
from audiotune.domain.manifest import Manifest
from audiotune.domain.member_notices import META, MemberNoticeReader
from audiotune.domain.recording import Recording
from audiotune.domain.upload import Upload, UploadedFile
from audiotune.governance import decide_policy, read_consents
from audiotune.governance.member_acts import append_member_event
from services.studio.context import StudioContext, create_context
from services.studio.pages.agreement import render_notices
from services.studio.pages.consent_forms import HeardForm
from services.studio.settings import load_studio_settings
from services.studio.sign_in.session_store import COOKIE, MEMBER_SCOPE_KEY
from tests.fakes.seeded_store import Seeded, seed


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=1, segment_s=0.3)


@pytest.fixture
def context(group: Seeded, tmp_path: Path) -> StudioContext:
    return create_context(load_studio_settings({}, store=group.store.url, work_folder=tmp_path / "work"))


def test_a_member_reads_who_named_them_and_what_was_imported_as_theirs(group: Seeded, context: StudioContext) -> None:
    files = tuple(UploadedFile(name=f"<b>{number}</b>.wav", blob="blobs/x", size=1) for number in range(5))
    upload = Upload(id="1", uploaded_by="ana", contributors=("ana", "ben"), files=files)
    group.store.put(upload.key, upload.model_dump_json().encode())
    no_rows: list[Recording] = []
    Manifest("datasets", no_rows, {META: {"ben": {"notes.csv": 12}}}).save(group.store)
    reader = MemberNoticeReader(group.store)
    page = render_notices(context, reader, "ben")
    assert "Ana named you as a player when they uploaded &lt;b&gt;0&lt;/b&gt;.wav" in page
    assert "and 2 more" in page
    assert "12 annotations were taken in from the file notes.csv as yours" in page
    assert render_notices(context, reader, "ana") == render_notices(context, reader, "") == ""


def test_an_owner_decides_who_is_heard(group: Seeded, tmp_path: Path) -> None:
    for member, role in (("ana", "owner"), ("ben", "member")):
        accounts.create_account(group.store, member, "patch cables", role, work=1)
    settings = load_studio_settings({}, store=group.store.url, access="members", work_folder=tmp_path / "work")
    context = create_context(settings)
    with gr.Blocks():
        form = HeardForm(context)
    take = group.recordings[0].id  # of ana and ben
    assert [form.load_values(who)[0].visible for who in ("ben", "ana")] == [False, True]
    append_member_event(group.store, "ben", "consent_narrowed", {"uses": ["train"]})
    assert "only owners" in form._decide(take, ["ana"], "he was away", signed_in(context, "ben"))
    assert decide_now(group, take) == ["ben has not agreed to train"]
    assert "Decided" in form._decide(take, ["ana"], "he was away", signed_in(context, "ana"))
    assert form._show_heard(take)[0] == ["ana"]
    assert decide_now(group, take) == []
    assert "not signed in" in form._decide(take, ["ana"], "x", signed_in(context, ""))


def decide_now(group: Seeded, recording: str) -> list[str]:
    """The objections at the gate of training."""
    people = {recording: next(r.contributors for r in group.recordings if r.id == recording)}
    consents = read_consents(group.store, people)
    return list(decide_policy("annotate_merge", group.agreement, consents, people).reasons)


def signed_in(context: StudioContext, member: str) -> gr.Request:
    """The request of a browser in which a member has signed in with a password; "" for a browser without a session."""
    found = context.access.verify_password(member, "patch cables") if member else None
    session = context.sessions.begin(member, found.account.password, ticket=found.ticket) if found else "guessed"
    scope = {"type": "http", "headers": [(b"cookie", f"{COOKIE}={session}".encode())], MEMBER_SCOPE_KEY: member}
    return gr.Request(Request(scope), username=member)
