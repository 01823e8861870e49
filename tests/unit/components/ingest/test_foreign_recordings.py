"""A recording from outside comes in by the group's decision, where the agreement asks for one; ingest asks the group itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.domain.manifest import Manifest, load_manifest
from audiotune.domain.recording import Recording
from audiotune.errors import SourceError
from audiotune.governance import publish_agreement
from audiotune.governance.agreement_record import DecisionRule
from audiotune.governance.decisions import cast_vote, read_proposals
from audiotune.store import FolderStore, compute_digest
from components.ingest.settings import Settings
from components.ingest.step import run_step
from tests.fakes.described_store import PEOPLE, agreement
from tests.fakes.layout_store import LayoutStore
from tests.unit.components.ingest.test_ingest import wave, write_wav


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = LayoutStore(tmp_path / "store")
    rules = {"foreign_recording": DecisionRule(quorum=0.1)}
    publish_agreement(store, agreement().model_copy(update={"decisions": rules, "accepted_licences": ("CC0-1.0",)}))
    return store


@pytest.fixture
def take(tmp_path: Path) -> Path:
    (tmp_path / "takes").mkdir()
    write_wav(tmp_path / "takes" / "kick.wav", wave(1.0, seed=1))
    return tmp_path / "takes" / "kick.wav"


def ingest(store: FolderStore, take: Path, licence: str) -> Manifest[Recording]:
    out = {name: take.parent.parent / name for name in ("recordings", "report", "metrics")}
    settings = Settings(source=str(take.parent), contributors="ana", licence=licence)
    run_step(settings, store, lambda share, words: None, **out)
    return load_manifest(out["recordings"], "recordings", Recording)


def test_ingest_asks_the_group_once_and_takes_in_what_it_accepted(store: FolderStore, take: Path) -> None:
    for _ in range(2):
        with pytest.raises(
            SourceError, match=r"kick.wav: it is from outside \(CC0-1.0\), and the group decides: proposal \d+ is open"
        ):
            ingest(store, take, "CC0-1.0")
    ((number, asked),) = read_proposals(store).items()
    assert (asked.by, asked.kind, asked.change) == ("", "foreign_recording", {"recording": compute_digest(take)})
    assert not list(store.list("blobs/"))
    for who in PEOPLE:
        if not read_proposals(store)[number].outcome:
            cast_vote(store, who, number, "yes")
    assert [row.licence for row in ingest(store, take, "CC0-1.0").rows] == ["CC0-1.0"]
    assert len(ingest(store, take, "CC0-1.0").rows) == 1
    assert list(read_proposals(store)) == [number]


def test_another_file_under_the_same_name_is_another_question(store: FolderStore, take: Path) -> None:
    with pytest.raises(SourceError):
        ingest(store, take, "CC0-1.0")
    (number,) = read_proposals(store)
    for who in PEOPLE:
        if not read_proposals(store)[number].outcome:
            cast_vote(store, who, number, "yes")
    write_wav(take, wave(1.0, seed=2))
    with pytest.raises(SourceError, match="the group decides"):
        ingest(store, take, "CC0-1.0")
    assert len(read_proposals(store)) == 2


def test_the_members_own_recordings_ask_for_none(store: FolderStore, take: Path) -> None:
    assert len(ingest(store, take, "").rows) == 1
    assert read_proposals(store) == {}


def test_a_licence_that_is_not_accepted_is_not_put_to_the_vote(store: FolderStore, take: Path) -> None:
    with pytest.raises(SourceError, match="is not accepted by the agreement"):
        ingest(store, take, "CC-BY-NC-4.0")
    assert read_proposals(store) == {}
