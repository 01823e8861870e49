"""The form by which a member leaves a part of a recording out."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
from starlette.requests import Request

from audiotune.governance import read_consents
from services.studio.context import create_context
from services.studio.member_events import MemberAct
from services.studio.pages.excepted import ExceptedForm
from services.studio.settings import load_studio_settings
from services.studio.sign_in.session_store import MEMBER_SCOPE_KEY
from tests.fakes.seeded_store import Seeded, seed


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=1, segment_s=0.3)


def test_a_part_is_left_out_and_taken_in_again(group: Seeded, tmp_path: Path) -> None:
    context = create_context(load_studio_settings({}, store=group.store.url, work_folder=tmp_path / "work"))
    with gr.Blocks():
        form = ExceptedForm(context, gr.BrowserState(""))
    request = gr.Request(Request({"type": "http", "headers": [], MEMBER_SCOPE_KEY: ""}))

    def act(chosen: str) -> MemberAct:
        return MemberAct(context, chosen, request)

    own = dict(form.load_values("ben")[0].choices)
    assert own == {"tuesday drone.wav": group.recordings[0].id}
    id = group.recordings[0].id
    assert "1 segment touches it, in 0 datasets" in form._foresee(id, "0:00.1", "0.2", "ben", request)
    assert "is no part of a recording" in form._foresee(id, "x", "0.2", "ben", request)
    assert "Chi is not named as a player" in form._foresee(id, "0:00.1", "0.2", "chi", request)
    assert "Nothing is left out" in form._show(id, "ben", request)[0]  # a look changes nothing
    shown, news = form._add(act("ben"), id, "0:00.1", "0.2")
    assert "Left out: 0:00.1 to 0:00.2." in shown
    assert "counts from now on" in news
    assert "0:00.1" in form._show(id, "ben", request)[0]
    assert "Nothing is left out" in form._show(id, "ana", request)[0]
    assert [part.end_s for part in read_consents(group.store, [id])[id, "ben"].excepted] == [0.2]
    assert "Nothing is left out" in form._clear(act("ben"), id)[0]
    for who, recording, start, end, told in (
        ("ben", None, "1", "2", "No recording is chosen"),
        ("ben", id, "x", "2", "is no part of a recording"),
        ("chi", id, "1", "2", "Chi is not named as a player"),
        ("", id, "1", "2", "Nobody is chosen"),
    ):
        assert told in form._add(act(who), recording, start, end)[1]
