"""Recordings that wait in the studio: uploaded, kept where they can be deleted, heard by few, answered, taken in or deleted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")
import gradio as gr
import soundfile as sf
from starlette.requests import Request

from audiotune.access import accounts
from audiotune.domain.upload import read_upload
from audiotune.governance import Member, publish_agreement
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.use_texts import compute_text_digest
from audiotune.governance.waiting import hold_recording
from audiotune.runs.port import RunSnapshot
from audiotune.store import compute_digest
from services.studio.context import StudioContext, create_context
from services.studio.http.refusals import RequestRefusedError
from services.studio.pages.upload import UploadFunctions, keep_and_start
from services.studio.pages.waiting import WaitingFunctions
from services.studio.settings import load_studio_settings
from services.studio.sign_in.session_store import COOKIE, MEMBER_SCOPE_KEY
from tests.fakes.runner import ScriptedRunner
from tests.fakes.seeded_store import Seeded, agreement, seed, tone

DOV, ELI = Member(id="dov", name="Dov"), Member(id="eli", name="Eli")  # both ask for each recording


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    made = seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=1, segment_s=0.2)
    group = made.agreement.model_copy(update={"version": 2, "members": (*made.agreement.members, DOV, ELI)})
    publish_agreement(made.store, group)
    return replace(made, agreement=group)


@pytest.fixture
def studio(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> StudioContext:
    settings = load_studio_settings({}, store=group.store.url, work_folder=tmp_path / "work")
    return create_context(settings, preparer=runner)


def send(studio: StudioContext, path: Path, *people: str, by: str = "ana") -> str:
    """Uploads a file in which these people are heard; the news."""
    said = {"uploaded_by": by, "contributors": people, "session": "attic", "instrument": "", "licence": ""}
    kept, news = keep_and_start(studio, [path], said)
    assert kept
    return str(news)


def take(tmp_path: Path, pitch_hz: float = 220) -> Path:
    return tone(pitch_hz, 0.4).write(tmp_path / f"take {pitch_hz:g}.wav")


def uploads(studio: StudioContext) -> list[dict[str, Any]]:
    studio.upload_runs._seen = None
    return list(UploadFunctions(studio).list_uploads("ana", {})["uploads"])


def asks(member: str, session: str = "") -> gr.Request:
    scope = {"type": "http", "headers": [(b"cookie", f"{COOKIE}={session}".encode())], MEMBER_SCOPE_KEY: member}
    return gr.Request(Request(scope), username=member or None)


def answer(studio: StudioContext, member: str, recording: str, *uses: str) -> dict[str, Any]:
    payload = {"member": member, "id": recording, "uses": list(uses)}
    return WaitingFunctions(studio).answer_recording(member, payload, asks(""))


def state_of(studio: StudioContext) -> GovernanceState:
    return open_ledger(studio.store).read_state()


def keys(studio: StudioContext, prefix: str) -> list[str]:
    return [entry.key for entry in studio.store.list(prefix)]


def test_an_upload_waits_for_who_asks_and_starts_nothing(studio: StudioContext, runner: ScriptedRunner, tmp_path: Path) -> None:
    before = keys(studio, "blobs/")
    news = send(studio, take(tmp_path), "ana", "dov", "eli")
    assert "1 file: waits for Dov and Eli, until 20" in news
    assert runner.started == []
    assert keys(studio, "blobs/") == before
    (shown,) = uploads(studio)
    assert (shown["state"], shown["may_retry"]) == ("waiting", False)
    assert shown["words"].startswith("Waits for Dov and Eli, until 20")
    (one,) = studio.waiting_recordings.list_for("dov")
    assert (one["title"], one["why"]) == ("take 220.wav", "Ana brought it in and named you.")
    assert one["about"] == "attic. It waits also for Eli."
    assert one["days"] == 14
    assert studio.waiting_recordings.list_for("ana") == studio.waiting_recordings.list_for("") == []


def test_the_last_yes_takes_it_in_at_once(studio: StudioContext, runner: ScriptedRunner, tmp_path: Path) -> None:
    path = take(tmp_path)
    send(studio, path, "ana", "dov", "eli")
    id = compute_digest(path)
    told = answer(studio, "dov", id, "store", "train")
    assert told["words"] == "Recorded. It still waits for Eli."
    assert told["waiting"] == []
    assert runner.started == []
    assert "waits for Eli" in uploads(studio)[0]["words"].lower().replace("eli", "Eli")
    told = answer(studio, "eli", id, "store")
    assert told["words"] == "Recorded. Everybody has agreed. It is being cut in a test."
    ((_, form),) = runner.started
    assert form["source"] == f"upload:{uploads(studio)[0]['id']}"
    record = state_of(studio).consents[id]["dov"]
    assert (record.uses, record.text) == (("store", "train"), compute_text_digest(["store", "train"]))
    assert studio.store.get(read_upload(studio.store, uploads(studio)[0]["id"]).files[0].blob) == path.read_bytes()


def test_a_no_deletes_it_and_the_upload_list_says_who(studio: StudioContext, tmp_path: Path) -> None:
    path = take(tmp_path)
    send(studio, path, "dov", "eli")
    copy = studio.waiting_recordings.write_copy("eli", compute_digest(path))
    told = answer(studio, "dov", compute_digest(path))
    assert told["words"] == "Recorded. It is deleted."
    assert keys(studio, "waiting/") == []
    assert not copy.exists()  # also what others have fetched to hear
    (shown,) = uploads(studio)
    assert (shown["state"], shown["may_retry"]) == ("deleted", False)
    assert shown["words"].startswith("Deleted on 20")
    assert shown["words"].endswith(": Dov said no")
    assert studio.waiting_recordings.list_for("eli") == []
    late = studio.waiting_recordings
    with pytest.raises(Exception, match="was deleted on .* Dov|dov said no"):
        answer(studio, "eli", compute_digest(path), "store")
    assert late.find_agreed_upload(compute_digest(path)) is None


def test_only_who_is_in_it_hears_it_from_a_folder_of_their_own(
    studio: StudioContext, runner: ScriptedRunner, tmp_path: Path
) -> None:
    settings = load_studio_settings({}, store=studio.store.url, work_folder=tmp_path / "work", access="members")
    studio = create_context(settings, preparer=runner)
    path = take(tmp_path)
    send(studio, path, "dov", by="ana")
    id, folder = compute_digest(path), studio.upload_folder
    copy = studio.waiting_recordings.write_copy("dov", id)
    assert sf.info(copy).frames == sf.info(path).frames
    assert sf.info(copy).subtype == "PCM_16"
    folder.require_own(str(copy), "dov")
    for other in ("ana", "ben", "eli"):
        with pytest.raises(RequestRefusedError):
            folder.require_own(str(copy), other)
    assert studio.waiting_recordings.write_copy("dov", id) == copy  # once
    studio.waiting_recordings.write_copy("ana", id)  # who brought it in
    for stranger in ("ben", "eli", ""):
        with pytest.raises(Exception, match="waits for others"):
            studio.waiting_recordings.write_copy(stranger, id)


def test_more_than_two_channels_are_heard(studio: StudioContext, tmp_path: Path) -> None:
    path = tmp_path / "four.wav"
    sf.write(path, tone(220, 0.4).data.T.repeat(2, axis=1) * 3, 48_000, subtype="FLOAT")  # above full scale
    send(studio, path, "dov")
    heard = sf.read(studio.waiting_recordings.write_copy("dov", compute_digest(path)))[0]
    assert heard.ndim == 1
    assert 0.9 < abs(heard).max() <= 1.0


def test_a_recording_of_two_uploads_waits_once(studio: StudioContext, tmp_path: Path) -> None:
    path = take(tmp_path)
    send(studio, path, "ana", "dov")
    send(studio, path, "chi", "dov", by="chi")
    assert len(keys(studio, "waiting/")) == 2
    assert len(studio.waiting_recordings.list_for("dov")) == 1
    assert "Ana and Chi" in studio.waiting_recordings.list_for("dov")[0]["why"]
    assert [shown["state"] for shown in uploads(studio)] == ["waiting", "waiting"]


def test_what_needs_no_asking_is_cut_and_the_rest_waits(studio: StudioContext, runner: ScriptedRunner, tmp_path: Path) -> None:
    """Of two files of one upload dov has agreed to one before."""
    known, new = take(tmp_path, 220), take(tmp_path, 330)
    hold_recording(studio.store, studio.require_agreement(), compute_digest(known), ["dov"], sound="")
    append_member_event(studio.store, "dov", "consent_given", {"recordings": [compute_digest(known)], "uses": ["store"]})
    said = {"uploaded_by": "ana", "contributors": ("dov",), "session": "", "instrument": "", "licence": ""}
    _, news = keep_and_start(studio, [known, new], said)
    assert "1 file is kept and being cut in a test. 1 file: 1 of 2: waits for Dov" in str(news)
    assert len(runner.started) == 1
    runner.seen = RunSnapshot(outcome="done")
    (shown,) = uploads(studio)
    assert shown["state"] == "done"
    assert "1 of 2: waits for Dov" in shown["words"]
    answer(studio, "dov", compute_digest(new), "store")
    assert len(runner.started) == 2  # once more, although its first run is done


def test_who_leaves_cannot_be_waited_for(studio: StudioContext, tmp_path: Path) -> None:
    path = take(tmp_path)
    send(studio, path, "ana", "dov")
    group = studio.require_agreement()
    left = [one.model_copy(update={"left": one.id == "dov" or one.left}) for one in group.members]
    publish_agreement(studio.store, group.model_copy(update={"version": group.version + 1, "members": tuple(left)}))
    assert "About to be deleted" in uploads(studio)[0]["words"]
    studio.waiting_recordings.end_due()
    assert uploads(studio)[0]["words"].endswith("Dov left the group without an answer")
    assert keys(studio, "waiting/") == []


def test_an_answer_by_command_shows_the_way_on(studio: StudioContext, runner: ScriptedRunner, tmp_path: Path) -> None:
    path = take(tmp_path)
    send(studio, path, "ana", "dov")
    append_member_event(studio.store, "dov", "recording_answered", {"recording": compute_digest(path), "uses": ["store"]})
    (shown,) = uploads(studio)
    assert (shown["state"], shown["words"], shown["may_retry"]) == ("waiting", "Everybody agreed", True)
    UploadFunctions(studio).retry_upload("ana", {"id": shown["id"]})
    assert len(runner.started) == 1


def test_a_form_that_was_sent_twice_or_by_nobody_is_told(studio: StudioContext, tmp_path: Path) -> None:
    path = take(tmp_path)
    send(studio, path, "ana", "dov", "eli")
    answer(studio, "dov", compute_digest(path), "store")
    with pytest.raises(Exception, match="dov has answered for this recording already"):
        answer(studio, "dov", compute_digest(path), "store")
    with pytest.raises(Exception, match="Choose who you are"):
        answer(studio, "", compute_digest(path), "store")
    with pytest.raises(Exception, match="ben is not named"):
        answer(studio, "ben", compute_digest(path), "store")


def test_with_sign_in_the_session_answers_and_not_the_page(group: Seeded, tmp_path: Path, runner: ScriptedRunner) -> None:
    settings = load_studio_settings({}, store=group.store.url, work_folder=tmp_path / "work", access="members")
    studio = create_context(settings, preparer=runner)
    path = take(tmp_path)
    send(studio, path, "ana", "dov")
    accounts.create_account(group.store, "dov", "patch cables", work=1)
    calls, payload = WaitingFunctions(studio), {"member": "dov", "id": compute_digest(path), "uses": ["store"]}
    with pytest.raises(Exception, match="sign in"):
        calls.answer_recording("dov", payload, asks("dov", "no session"))
    verified = studio.access.verify_password("dov", "patch cables")
    assert verified is not None
    session = studio.sessions.begin("dov", verified.account.password, ticket=verified.ticket)
    assert calls.answer_recording("dov", payload, asks("dov", session))["waiting"] == []
    assert len(runner.started) == 1


def test_the_allowed_uses_are_asked_with_their_words(studio: StudioContext) -> None:
    uses = WaitingFunctions(studio).list_waiting("dov", {}, asks(""))["uses"]
    assert [one["use"] for one in uses] == list(agreement().allowed_uses)
    assert all(": " in one["text"] for one in uses)
