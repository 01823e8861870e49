"""The agreement page tells members what others did in their name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
from audiotune.domain.manifest import Manifest
from audiotune.domain.member_notices import META, MemberNoticeReader
from audiotune.domain.recording import Recording
from audiotune.domain.upload import Upload, UploadedFile
from services.studio.context import StudioContext, create_context
from services.studio.pages.agreement import render_notices
from services.studio.settings import load_studio_settings
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
