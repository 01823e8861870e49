"""Taking back in the studio: the page's words and acts, who finishes what follows, and the training without it. No browser here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")

from audiotune.errors import PipelineError
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.service_client import KEY, URL
from audiotune.runs.run_form import FormField, RunForm
from audiotune.withdrawal.consent_steps import follow_withdrawals
from services.studio import withdrawals
from services.studio.context import StudioContext, create_context
from services.studio.library import LibraryCache
from services.studio.settings import load_studio_settings
from tests.fakes.layout_store import LayoutStore
from tests.fakes.runner import ScriptedRunner
from tests.fakes.withdrawal_group import WithdrawalGroup, make_withdrawal_group


class RetrainingRunner(ScriptedRunner):
    """Of a pipeline of this version."""

    def read_form(self) -> RunForm:
        form = super().read_form()
        known = {"training_name", "training_like", "segments"} - {box.name for box in form.boxes}
        return form.model_copy(update={"boxes": (*form.boxes, *(FormField(name=name) for name in sorted(known)))})


@pytest.fixture
def group(tmp_path: Path) -> WithdrawalGroup:
    return make_withdrawal_group(LayoutStore(tmp_path / "store"))


def open_context(group: WithdrawalGroup, folder: Path, runner: ScriptedRunner) -> StudioContext:
    settings = load_studio_settings({}, store=group.store.url, work_folder=folder / "work", generation_url="http://127.0.0.1:9")
    return create_context(settings, preparer=ScriptedRunner(), trainer=runner)


def withdraw(group: WithdrawalGroup, who: str = "ben", **body: Any) -> int:
    return append_member_event(group.store, who, "withdrawal_recorded", body)


def test_own_recordings_are_offered_until_they_are_taken_back(group: WithdrawalGroup, tmp_path: Path) -> None:
    context = open_context(group, tmp_path, ScriptedRunner())
    assert [name for name, _ in withdrawals.list_own_recordings(context, "ben")] == ["ben alone", "both"]
    withdraw(group, recordings=list(group.id_of("both")))
    assert [name for name, _ in withdrawals.list_own_recordings(context, "ben")] == ["ben alone"]
    assert [name for name, _ in withdrawals.list_own_recordings(context, "ana")] == ["ana alone", "both"]


def test_aliases_are_unknown_while_the_service_is_away(group: WithdrawalGroup, tmp_path: Path) -> None:
    aliases = withdrawals.ServedAliases(open_context(group, tmp_path, ScriptedRunner()), "ben")
    assert aliases.list_aliases("jam") == {}


def test_on_a_cluster_a_job_finishes_it(group: WithdrawalGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    number = withdraw(group, erase="recordings")
    monkeypatch.setenv(URL, "http://127.0.0.1:9")
    monkeypatch.setenv(KEY, "k" * 20)
    assert "a job runs it every hour" in follow_withdrawals(group.store)
    assert number not in open_ledger(group.store).read_state().erasures


def test_a_registry_that_is_away_is_said_and_nothing_is_lost(group: WithdrawalGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    withdraw(group, erase="recordings")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    words = follow_withdrawals(group.store)
    assert words.startswith("The gates are closed; the registry or the erasure could not follow yet")
    assert words.endswith("`audiotune withdrawal finish` does it.")


def test_the_newest_stopped_release_is_trained_again(group: WithdrawalGroup, tmp_path: Path) -> None:
    runner = RetrainingRunner()
    context, number = open_context(group, tmp_path, runner), withdraw(group)
    assert withdrawals.start_retraining(context, "ana", number).version == "2"
    (_, values) = runner.started[0]
    assert values["training_like"] == group.releases["jam 2"].key
    status = context.training_runs.read_status()
    assert status is not None
    assert (status.begun.member, status.begun.name) == ("ana", "jam")


def test_an_older_pipeline_is_named_before_anything_starts(group: WithdrawalGroup, tmp_path: Path) -> None:
    runner = ScriptedRunner()
    context, number = open_context(group, tmp_path, runner), withdraw(group)
    with pytest.raises(PipelineError, match="cannot take the settings of a release"):
        withdrawals.start_retraining(context, "ana", number)
    assert runner.started == []


def test_what_may_not_be_kept_is_not_offered_to_listen_to(group: WithdrawalGroup) -> None:
    library = LibraryCache(group.store)
    assert len(library.current().segments) == 8
    withdraw(group, uses=["train"])
    assert len(library.current().segments) == 8
    withdraw(group, uses=["store"])
    kept = library.current()
    assert {segment.recording for segment in kept.segments.values()} == set(group.id_of("ana alone", "chi alone"))
    assert len(kept.recordings) == 4


def test_withdrawals_are_shown_with_what_was_done(group: WithdrawalGroup) -> None:
    number = withdraw(group, why="<b>goodbye</b>")
    page = withdrawals.render_withdrawals(open_ledger(group.store).read_state(), {"ben": "Ben & Co"})
    assert f"Withdrawal {number}, by Ben &amp; Co" in page
    assert "because: &lt;b&gt;goodbye&lt;/b&gt;" in page
