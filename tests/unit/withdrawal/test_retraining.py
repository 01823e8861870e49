"""A retraining takes the settings that a release was made with, and nothing of what was taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audiotune.cli import main
from audiotune.domain.dataset import LatentRow
from audiotune.domain.manifest import Manifest
from audiotune.errors import ConsentError, GovernanceError, PipelineError
from audiotune.governance.member_acts import append_member_event
from audiotune.runs.run_form import RunForm
from audiotune.withdrawal.retraining import (
    WithdrawnHashes,
    build_retraining,
    find_stopped_releases,
    find_withdrawn_hashes,
    require_disjoint,
    require_retraining_form,
)
from components.executor import _read_recorded_settings
from tests.fakes.layout_store import LayoutStore
from tests.fakes.withdrawal_group import WithdrawalGroup, make_withdrawal_group


@pytest.fixture
def group(tmp_path: Path) -> WithdrawalGroup:
    return make_withdrawal_group(LayoutStore(tmp_path / "store"))


def withdraw(group: WithdrawalGroup, who: str = "ben", **body: object) -> int:
    return append_member_event(group.store, who, "withdrawal_recorded", body)


def encode(group: WithdrawalGroup, *names: str) -> tuple[Any, Manifest[LatentRow]]:
    """A dataset of these takes, and its latents."""
    ids = group.id_of(*names)
    rows = [row for row in group.datasets["all"].rows if row.segment.recording in ids]
    latents = [
        LatentRow(
            segment=row.segment.id, recording=row.segment.recording, split="train", latents=group.latents[row.segment.id],
            latent_frames=2, seconds=1, captions=("x",),
        )
        for row in rows
    ]  # fmt: skip
    return Manifest("datasets", rows), Manifest("latents", latents)


def test_nothing_is_read_where_nobody_took_anything_back(group: WithdrawalGroup) -> None:
    assert find_withdrawn_hashes(group.store) == WithdrawnHashes()
    require_disjoint(group.store, *encode(group, "ben alone"))


def test_a_dataset_that_shares_a_hash_is_refused(group: WithdrawalGroup) -> None:
    withdraw(group)
    require_disjoint(group.store, *encode(group, "ana alone"))
    for take, words in (
        ("ben alone", "1 recordings"),
        ("both", "2 segments"),
        ("chi alone", "1 sounds"),
        ("chi alone", "1 latents"),
    ):
        with pytest.raises(ConsentError, match=words):
            require_disjoint(group.store, *encode(group, take))


def test_the_newest_stopped_release_is_trained_again(group: WithdrawalGroup) -> None:
    number = withdraw(group)
    stopped = find_stopped_releases(group.store, number)
    assert [f"{one.name} {one.version}" for one in stopped] == ["jam 2", "tape 1"]
    card = group.releases["jam 2"]
    segments = group.datasets["all"].meta["segments"]
    assert build_retraining(group.store, card) == {"training_like": card.key, "training_name": "jam", "segments": segments}


def test_nothing_is_left_to_train_on(group: WithdrawalGroup) -> None:
    for who in ("ana", "ben", "chi"):
        withdraw(group, who)
    with pytest.raises(GovernanceError, match="nothing of the dataset of jam version 2 may be trained on any more"):
        build_retraining(group.store, group.releases["jam 2"])


def test_a_release_whose_settings_nobody_knows(group: WithdrawalGroup) -> None:
    card = group.releases["jam 1"]
    unknown = card.model_copy(update={"weights": card.weights.model_copy(update={"recipe": {}})})
    with pytest.raises(GovernanceError, match="nobody wrote down how jam version 1 was trained"):
        build_retraining(group.store, unknown)


def test_every_step_reads_its_own_settings(group: WithdrawalGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOTUNE_STORE", group.store.url)
    assert _read_recorded_settings(group.releases["jam 2"].key, "components.evaluate") == {"of": "jam 2"}
    assert _read_recorded_settings(group.releases["jam 1"].key, "components.finetune") == {"steps": 30, "base": "tiny"}
    assert _read_recorded_settings(group.releases["jam 1"].key, "components.evaluate") == {}
    assert _read_recorded_settings("", "components.finetune") == {}


class OldRunner:
    """Of a pipeline that was uploaded with 0.2."""

    def read_form(self) -> RunForm:
        return RunForm(steps=(), boxes=())


def test_an_older_pipeline_is_named() -> None:
    with pytest.raises(PipelineError, match="cannot take the settings of a release"):
        require_retraining_form(OldRunner())  # type: ignore[arg-type]


def test_the_commands(group: WithdrawalGroup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    number = withdraw(group, why="I am leaving", erase="recordings")
    command = ["withdrawal", "--store", group.store.url]
    assert main([*command, "list"]) == 0
    assert f"{number}  " in (listed := capsys.readouterr().out)
    assert "ben: every use of all recordings, also later ones" in listed
    assert main([*command, "show", str(number)]) == 0
    shown = capsys.readouterr().out
    assert "because: I am leaving" in shown
    assert "to be erased: recordings; not done yet" in shown
    assert "releases that may not play: jam:2, tape:1" in shown
    assert main([*command, "show", "1"]) == 1
    assert f"event 1 is no withdrawal. The ledger's withdrawals: {number}" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "retrain", str(number), "--release", "jam:1"]) == 1
    assert f"withdrawal {number} stopped no release named jam:1" in capsys.readouterr().err
