"""Each service does its work with its own user of a real MinIO: in a store that 0.1.0 wrote, and in what it writes today."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotune.access import tokens
from audiotune.audio.sound import Sound
from audiotune.domain.annotation import Annotation, read_segment_annotations, save_annotation
from audiotune.domain.checkpoint import prune_checkpoints
from audiotune.domain.generation import GenerationRecord
from audiotune.domain.vocabulary import Vocabulary
from audiotune.errors import StoreError
from audiotune.governance import read_current_agreement
from audiotune.stable_audio.release_weights import open_weights
from audiotune.store import FolderStore
from audiotune.store.layout import User
from audiotune.store.s3 import S3Store
from components.annotate_merge import step as annotate_merge
from components.annotate_merge.settings import Settings
from services.generation.engine.release_loader import ReleaseLoader
from services.generation.engine.sound_records import read_sound_record, write_sound_record
from services.generation.jobs.job_store import JobStore
from services.generation.settings import GenerationSettings
from services.studio import uploads
from services.studio.library import LibraryCache
from services.studio.releases import list_releases
from tests.fakes.old_release import unpack
from tests.integration.minio import server_or_skip
from tests.integration.store_users import BUCKET, StoreUsers, set_up_users
from tests.unit.store import test_old_store as old_store

pytestmark = pytest.mark.integration
NOW = datetime(2026, 12, 1, tzinfo=UTC)
OpenStore = Callable[[User], S3Store]


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreUsers]:
    """The users, and the old store in their bucket."""
    with server_or_skip(tmp_path_factory.mktemp("minio")) as running:
        made = set_up_users(running, tmp_path_factory.mktemp("users"))
        old = FolderStore(unpack("store", tmp_path_factory.mktemp("old")))
        for entry in old.list(""):
            made.put(entry.key, old.get(entry.key))
        yield made


@pytest.fixture
def open_store(users: StoreUsers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OpenStore:
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "cache"))

    def open_as(user: User) -> S3Store:
        for name, value in users.environment(user).items():
            monkeypatch.setenv(name, value)
        return S3Store(f"s3://{BUCKET}")

    return open_as


@pytest.mark.parametrize(
    ("user", "read"),
    [
        ("studio", old_store.test_the_agreement_its_members_and_their_consents),
        ("studio", old_store.test_accounts_passwords_and_identities),
        ("studio", old_store.test_tokens),
        ("studio", old_store.test_recordings_and_segments_as_the_studio_shows_them),
        ("studio", old_store.test_the_newest_annotations_and_a_members_word),
        ("studio", old_store.test_the_history),
        ("studio", old_store.test_the_release_cards_and_their_reports),
        ("generation", old_store.test_the_agreement_its_members_and_their_consents),
        ("generation", old_store.test_tokens),
        ("generation", old_store.test_the_queues_of_jobs),
        ("generation", old_store.test_every_sound_and_its_record),
        ("pipelines", old_store.test_the_agreement_its_members_and_their_consents),
        ("pipelines", old_store.test_the_newest_annotations_and_a_members_word),
        ("pipelines", old_store.test_the_dataset_and_its_latents),
        ("pipelines", old_store.test_checkpoints_and_the_base_model),
        ("governance", old_store.test_the_agreement_its_members_and_their_consents),
        ("governance", old_store.test_accounts_passwords_and_identities),
        ("governance", old_store.test_tokens),
    ],
)
def test_a_user_reads_what_0_1_wrote(user: User, read: Callable[[Any], None], open_store: OpenStore) -> None:
    read(open_store(user))


def test_the_backup_job_reads_the_old_dump(open_store: OpenStore, tmp_path: Path) -> None:
    old_store.test_the_backup(open_store("backup"), tmp_path)  # type: ignore[arg-type]


def test_the_studio_takes_recordings_annotations_and_words(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store("studio")
    agreement = read_current_agreement(store)
    assert agreement is not None
    take = Sound(np.zeros((1, 22_050), np.float32) + 0.1, 22_050).write(tmp_path / "take.wav")
    said = {"uploaded_by": "ana", "contributors": ("ana",), "session": "", "instrument": "", "licence": ""}
    upload, refused = uploads.store_upload(store, [(take, "take.wav")], said, agreement, 10)
    assert upload is not None
    assert not refused
    assert open_store("pipelines").fetch(upload.files[0].blob).read_bytes() == take.read_bytes()
    store = open_store("studio")
    segment = next(iter(LibraryCache(store).current().segments))
    save_annotation(store, Annotation(segment=segment, member="ana", words="a new word"))
    assert [a.words for a in read_segment_annotations(open_store("pipelines"), segment) if a.member == "ana"] == ["a new word"]
    assert Vocabulary.load(store).add_word(open_store("studio"), "texture", "rain pipe", "ana").label == "rain pipe"


def test_generation_opens_a_release_and_cannot_open_a_recording(open_store: OpenStore) -> None:
    cards = list_releases(open_store("studio"))
    recordings = [recording.blob for recording in LibraryCache(open_store("studio")).current().recordings.values()]
    store = open_store("generation")
    loader = ReleaseLoader(GenerationSettings(), store)
    for card in cards:
        loader.require_consent(card)
        open_weights(store, card.weights)
    for recording in recordings:
        with pytest.raises(StoreError, match="refuses"):
            store.get(recording)


def test_generation_keeps_jobs_and_records_and_removes_old_ones(open_store: OpenStore) -> None:
    store = open_store("generation")
    jobs = JobStore(store)
    asked = jobs.read("ana", "old-job-done")
    assert asked is not None
    jobs.create("ana", "a-new-job", asked.request.model_copy(update={"seed": 7}))
    assert "a-new-job" in {id for _, _, id in jobs.list_open()}
    jobs.write_heartbeat("worker", NOW)
    jobs.delete_heartbeat("worker")
    facts = {"format": "wav", "prompt": "x", "seconds": 1, "steps": 3, "guidance": 4, "seed": 7, "sampler": "euler"}
    release = {"release": "patch-bay", "version": "1", "digest": "1" * 64}
    write_sound_record(
        store, GenerationRecord(sound="5" * 64, blob=f"sounds/{'5' * 64}.wav", member="ana", **{**facts, **release})
    )
    assert read_sound_record(store, "5" * 64, "ana").prompt == "x"
    jobs.delete_expired(NOW + timedelta(days=400), timedelta(days=1))
    assert jobs.read("ana", "old-job-done") is None


def test_the_pipelines_merge_annotations_and_remove_old_checkpoints(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store("pipelines")
    outputs = {name: tmp_path / name for name in ("dataset", "report", "metrics")}
    annotate_merge.run_step(Settings(bootstrap=5, players=1), store, lambda share, words: None, **outputs)
    assert outputs["dataset"].is_file()
    assert prune_checkpoints(store, old_store.EXPECTED["checkpoints"]["run_key"], 1)


def test_governance_makes_tokens_that_generation_checks(open_store: OpenStore) -> None:
    text = tokens.issue_token(open_store("governance"), "ana", ["generate"], 1)
    assert tokens.check_token(open_store("generation"), text, "generate").member == "ana"
    with pytest.raises(StoreError, match="refuses"):
        tokens.issue_token(open_store("studio"), "ana", ["generate"], 1)
