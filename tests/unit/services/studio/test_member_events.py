"""What a member does on a page is said by who signed in, or by the member chosen where nobody signs in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
from starlette.requests import Request

from audiotune.access import accounts
from audiotune.errors import AccessError
from audiotune.governance.ledger.events import LedgerEvent, event_key, parse_event
from services.studio.context import StudioContext, create_context
from services.studio.member_events import record_member_event
from services.studio.settings import load_studio_settings
from services.studio.sign_in.session_store import COOKIE, MEMBER_SCOPE_KEY
from tests.fakes.seeded_store import Seeded, seed

OPENED: dict[str, Any] = {"kind": "other", "title": "Buy filters", "rule": {}}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=1, segment_s=0.3)


def open_context(group: Seeded, folder: Path, **settings: str) -> StudioContext:
    return create_context(load_studio_settings({}, store=group.store.url, work_folder=folder / "work", **settings))


def asks_as(member: str, session: str = "") -> gr.Request:
    scope = {"type": "http", "headers": [(b"cookie", f"{COOKIE}={session}".encode())], MEMBER_SCOPE_KEY: member}
    return gr.Request(Request(scope), username=member or None)


def read_event(group: Seeded, number: int) -> LedgerEvent:
    return parse_event(group.store.get(event_key(number)), "")


def test_where_nobody_signs_in_the_chosen_member_says_it(group: Seeded, tmp_path: Path) -> None:
    context = open_context(group, tmp_path)
    event = read_event(group, record_member_event(context, "ben", asks_as(""), "proposal_opened", OPENED))
    assert (event.by, event.via) == ("ben", "command")
    for chosen in ("", "mallory"):
        with pytest.raises(AccessError, match="nobody is chosen"):
            record_member_event(context, chosen, asks_as(""), "proposal_opened", OPENED)


def test_where_members_sign_in_the_chosen_member_counts_nothing(group: Seeded, tmp_path: Path) -> None:
    accounts.create_account(group.store, "ben", "patch cables", "member", work=1)
    context = open_context(group, tmp_path, access="members")
    signed_in = context.access.verify_password("ben", "patch cables")
    assert signed_in is not None
    ben = asks_as("ben", context.sessions.begin("ben", signed_in.account.password, ticket=signed_in.ticket))
    event = read_event(group, record_member_event(context, "ana", ben, "proposal_opened", OPENED))
    assert (event.by, event.via) == ("ben", "sign_in")
    with pytest.raises(AccessError, match="signed in"):
        record_member_event(context, "ben", asks_as("ben", "0" * 64), "proposal_opened", OPENED)
