"""What the pods of a training are told: also who is heard in what, so that they notice who takes it back."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from audiotune.domain.dataset import UsedRecording
from audiotune.domain.manifest import Manifest
from audiotune.errors import ConsentError
from audiotune.governance import Consent, publish_agreement, record_consent
from audiotune.governance.consent_record import ExceptedPart
from audiotune.reporting.progress import ignore_progress
from audiotune.stable_audio.base_models import resolve_base
from audiotune.store import FolderStore
from components.finetune.nodes.task_spec import load_task, store_task
from components.finetune.permission_watch import PermissionWatch
from components.finetune.settings import Settings
from components.finetune.training_task import TrainingTask
from tests.fakes.described_store import agreement

TAKE = "7" * 64


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    publish_agreement(made, agreement())
    say(made)
    return made


def say(store: FolderStore, *excepted: ExceptedPart) -> None:
    said = Consent(recording=TAKE, contributor="ana", uses=("store", "train"), basis="x", agreement="0" * 64, excepted=excepted)
    record_consent(store, said)


def test_the_pods_know_who_is_heard_and_what_is_used(store: FolderStore) -> None:
    used = UsedRecording(("ana",))
    used.parts = ((2.0, 5.0),)
    base = resolve_base(store, "tiny")
    task = TrainingTask(
        Settings(), store.url, ignore_progress, base, Manifest("latents", [], {}), "1" * 64, "2" * 64, {TAKE: used}
    )
    told = load_task(store, store_task(store, task), ignore_progress)
    again = pickle.loads(pickle.dumps(told.recordings))  # as the processes of one pod get it
    watch = PermissionWatch(store, again, every_s=0)
    assert not watch.ask()
    say(store, ExceptedPart(start_s=6.0, end_s=7.0))
    assert not watch.ask()
    say(store, ExceptedPart(start_s=4.0, end_s=7.0))
    assert watch.ask()
    with pytest.raises(ConsentError, match="the training was stopped: .* ana leaves 4 to 7 s of it out"):
        watch.require()
