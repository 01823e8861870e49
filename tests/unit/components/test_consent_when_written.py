"""Time of check is time of use: who withdraws while a step works is not in its result, and the step says why it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.errors import ConsentError
from audiotune.governance.member_acts import append_member_event
from audiotune.store import FolderStore
from components.annotate_merge.settings import Settings as MergeSettings
from components.annotate_merge.step import run_step as annotate_merge
from components.register.settings import Settings as RegisterSettings
from components.register.step import run_step as register
from tests.fakes import group_release
from tests.fakes.described_store import make_described_store, recording
from tests.fakes.withdrawing_progress import WithdrawingProgress


def test_annotate_merge_writes_no_dataset(tmp_path: Path) -> None:
    made = make_described_store(tmp_path / "store", [recording("dark drone.wav"), recording("bright bell.wav")])
    settings = MergeSettings(segments=made.key, bootstrap=20, players=0)
    outputs = {name: tmp_path / name for name in ("dataset", "report", "metrics")}
    withdraw = WithdrawingProgress(made.store, "ana", at=0.7)
    with pytest.raises(ConsentError, match="ana has not agreed to train"):
        annotate_merge(settings, made.store, withdraw, **outputs)
    assert withdraw.done
    assert list(made.store.list("manifests/datasets/")) == []
    assert not outputs["dataset"].exists()


def test_register_registers_nothing(tmp_path: Path) -> None:
    """MLflow is not even asked: none runs here."""
    ours = group_release.group(tmp_path)
    withdraw = WithdrawingProgress(ours.store, "ben", at=0.3)
    before = ours.releases()
    with pytest.raises(ConsentError, match="ben has not agreed to release"):
        register(RegisterSettings(name="ours"), ours.store, withdraw, **ours.paths)
    assert withdraw.done
    assert ours.releases() == before
    assert not ours.paths["release"].exists()


def test_a_date_that_passes_meanwhile_counts_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_described_store(tmp_path / "store", [recording("dark drone.wav")])
    assert isinstance(made.store, FolderStore)

    def end_soon(share: float, words: str) -> None:
        from datetime import UTC, datetime, timedelta
        from time import sleep

        if share == 0.7:
            until = datetime.now(UTC) + timedelta(seconds=0.3)
            append_member_event(made.store, "ana", "consent_narrowed", {"until": until.isoformat()})
            sleep(0.35)

    outputs = {name: tmp_path / name for name in ("dataset", "report", "metrics")}
    settings = MergeSettings(segments=made.key, bootstrap=20, players=0)
    with pytest.raises(ConsentError, match="ana's consent to train ended on"):
        annotate_merge(settings, made.store, end_soon, **outputs)
    assert list(made.store.list("manifests/datasets/")) == []
