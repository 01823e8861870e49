"""Recordings of people who ask for each one: ingest lets them wait, takes them in when all have agreed, and forgets nobody it heard of."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Recording
from audiotune.domain.upload import Upload, UploadedFile
from audiotune.domain.waiting_sound import WaitingFacts, store_waiting_sound
from audiotune.errors import SourceError, StoreError
from audiotune.governance import read_consents
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.policy import require_permission
from audiotune.governance.waiting import hold_recording, list_waiting
from audiotune.governance.waiting_upkeep import end_due_waiting
from audiotune.store import FolderStore, compute_digest
from tests.fakes.failing_store import FailingStore
from tests.fakes.foreign_sounds import wave, write_wav
from tests.fakes.layout_store import LayoutStore
from tests.unit.components.ingest.test_ingest import ingest


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    """One take of ana's and one of ana and chi; chi asks for each recording."""
    write_wav(tmp_path / "takes" / "solo.wav", wave(1.5, seed=1))
    write_wav(tmp_path / "takes" / "duo.wav", wave(1.5, seed=2))
    (tmp_path / "takes" / "duo.json").write_text('{"contributors": ["ana", "chi"], "session": "attic", "words": "slow rain"}')
    return tmp_path / "takes"


def state_of(store: FolderStore) -> GovernanceState:
    return open_ledger(store).read_state()


def answer(store: FolderStore, who: str, recording: str, *uses: str) -> None:
    append_member_event(store, who, "recording_answered", {"recording": recording, "uses": list(uses)})


def keys_below(store: FolderStore, prefix: str) -> list[str]:
    return [entry.key for entry in store.list(prefix)]


def knows(store: FolderStore, recording: str) -> bool:
    """Whether anything of a recording lies outside the place for those that wait."""
    return any(recording in entry.key for entry in store.list("") if not entry.key.startswith("waiting/"))


def bring(store: FolderStore, takes: Path, **changes: object) -> Manifest[Recording]:
    return ingest(store, takes, **changes)[1]


def test_a_recording_waits_for_who_asks_for_each_one(store: FolderStore, takes: Path) -> None:
    result, manifest, report = ingest(store, takes)
    duo = compute_digest(takes / "duo.wav")
    assert [row.name for row in manifest.rows] == ["solo.wav"]
    assert (result.metrics["waiting"], result.metrics["refused"]) == (1, 0)
    assert "Waiting for somebody&#39;s word (1)" in report
    assert "waits for Chi" in report
    assert [one.recording for one in list_waiting(state_of(store), "chi")] == [duo]
    assert not knows(store, duo)  # no blob, no description, no fingerprint, no manifest
    assert sorted(key.rpartition("/")[2] for key in keys_below(store, "waiting/")) == ["facts.json", "sound.wav"]
    number = state_of(store).number
    bring(store, takes)  # once more: nobody is asked twice, nothing is stored twice
    assert state_of(store).number == number
    assert len(keys_below(store, "waiting/")) == 2


def test_when_all_have_agreed_any_next_run_takes_it_in(store: FolderStore, takes: Path, tmp_path: Path) -> None:
    bring(store, takes)
    duo = compute_digest(takes / "duo.wav")
    answer(store, "chi", duo, "store", "train")
    write_wav(tmp_path / "others" / "later.wav", wave(1.5, seed=3))
    result, manifest, _ = ingest(store, tmp_path / "others")
    row = next(row for row in manifest.rows if row.id == duo)
    assert (row.name, row.contributors, row.session, row.words) == ("duo.wav", ("ana", "chi"), "attic", "slow rain")
    assert row.source == str(takes)
    assert store.fetch(row.blob).read_bytes() == (takes / "duo.wav").read_bytes()
    assert result.metrics["recordings"] == 2
    require_permission(store, "annotate_merge", {duo: row.contributors})
    assert state_of(store).waiting[duo].outcome == "taken_in"
    assert keys_below(store, "waiting/") == []
    assert [row.name for row in bring(store, takes).rows] == ["duo.wav", "solo.wav"]


def test_a_source_where_everything_waits_says_for_whom(store: FolderStore, takes: Path) -> None:
    (takes / "solo.wav").unlink()
    with pytest.raises(SourceError, match=r"nothing was accepted \(duo\.wav: waits for Chi\. They hear it in the studio"):
        bring(store, takes)


def test_a_no_deletes_it_and_the_bytes_do_not_come_in_again(store: FolderStore, takes: Path) -> None:
    bring(store, takes)
    duo = compute_digest(takes / "duo.wav")
    answer(store, "chi", duo)
    _, _, report = ingest(store, takes)
    assert "chi has not agreed to store" in report
    assert keys_below(store, "waiting/") == []
    assert not knows(store, duo)
    (takes / "duo.json").write_text('{"contributors": ["ana"]}')  # named or not
    assert [row.name for row in bring(store, takes).rows] == ["solo.wav"]


def test_somebody_named_for_a_refused_file_is_not_forgotten(store: FolderStore, takes: Path) -> None:
    said = takes / "duo.json"
    said.write_text('{"contributors": ["ana", "ben", "chi"], "licence": "Proprietary"}')
    _, _, report = ingest(store, takes)
    assert "the licence &#39;Proprietary&#39; is not accepted" in report
    duo = compute_digest(takes / "duo.wav")
    assert not keys_below(store, "waiting/")
    said.write_text('{"contributors": ["ana"]}')
    assert [row.name for row in bring(store, takes).rows] == ["solo.wav"]
    assert [one.recording for one in list_waiting(state_of(store), "chi")] == [duo]
    answer(store, "chi", duo, "store")
    row = next(row for row in bring(store, takes).rows if row.id == duo)
    assert set(row.contributors) == {"ana", "ben", "chi"}


def test_a_file_that_is_no_sound_waits_for_nobody(store: FolderStore, takes: Path) -> None:
    (takes / "duo.wav").write_bytes(b"RIFF nothing")
    _, _, report = ingest(store, takes)
    assert "Waiting for" not in report
    assert "duo.wav" in report
    assert keys_below(store, "waiting/") == []


def test_the_same_bytes_twice_in_a_source_wait_once(store: FolderStore, takes: Path) -> None:
    """The first file names who agreed beforehand, the second one who did not."""
    write_wav(takes / "zoom.wav", wave(1.5, seed=1))  # the bytes of solo.wav
    (takes / "zoom.json").write_text('{"contributors": ["chi"]}')
    write_wav(takes / "third.wav", wave(1.5, seed=4))
    assert [row.name for row in bring(store, takes).rows] == ["third.wav"]
    assert len(state_of(store).waiting) == 2
    assert len(keys_below(store, "waiting/")) == 4


def test_who_is_named_later_is_asked_and_the_recording_stays(store: FolderStore, takes: Path) -> None:
    (takes / "duo.json").write_text('{"contributors": ["ana"]}')
    row = next(row for row in bring(store, takes).rows if row.name == "duo.wav")
    (takes / "duo.json").write_text('{"contributors": ["chi"]}')
    _, manifest, report = ingest(store, takes)
    assert [one.name for one in manifest.rows] == ["solo.wav"]
    assert "Chi is named only now, and asked" in report
    assert [one.why for one in list_waiting(state_of(store), "chi")] == ["named_later"]
    with pytest.raises(Exception, match="chi has not agreed to train"):
        require_permission(store, "annotate_merge", {row.id: ["ana"]})
    assert store.exists(row.blob)
    answer(store, "chi", row.id, "store", "train")
    assert {one.name for one in bring(store, takes).rows} == {"solo.wav", "duo.wav"}


def make_upload(store: FolderStore, path: Path) -> Upload:
    key = store_waiting_sound(store, path, compute_digest(path), WaitingFacts(name="duo.wav"))
    file = UploadedFile(name="duo.wav", blob=key, size=path.stat().st_size)
    upload = Upload(id="20260101T000000-aa", uploaded_by="ben", contributors=("ana", "chi"), files=(file,))
    store.put(upload.key, upload.model_dump_json().encode())
    return upload


def test_an_upload_waits_and_comes_in_from_where_it_waits(store: FolderStore, takes: Path) -> None:
    bring(store, takes / "solo.wav")
    upload, duo = make_upload(store, takes / "duo.wav"), compute_digest(takes / "duo.wav")
    with pytest.raises(SourceError, match="waits for Chi"):
        bring(store, upload.source, contributors="ana,chi")  # type: ignore[arg-type]
    assert state_of(store).waiting[duo].uploaded_by == ("ben",)
    answer(store, "chi", duo, "store")
    (row,) = bring(store, upload.source, contributors="ana,chi").rows  # type: ignore[arg-type]
    assert (row.id, row.contributors) == (duo, ("ana", "chi"))
    end_due_waiting(store)
    assert keys_below(store, "waiting/") == []
    (again,) = bring(store, upload.source, contributors="ana,chi").rows  # type: ignore[arg-type]
    assert again.blob == row.blob  # the run is repeated after the copy that waited is gone


def test_a_deleted_upload_says_so(store: FolderStore, takes: Path) -> None:
    bring(store, takes / "solo.wav")
    upload, duo = make_upload(store, takes / "duo.wav"), compute_digest(takes / "duo.wav")
    hold_recording(store, state_of(store).agreement, duo, ["chi"], upload.files[0].blob)  # type: ignore[arg-type]
    answer(store, "chi", duo)
    end_due_waiting(store)
    with pytest.raises(SourceError, match="its bytes are no longer in the store"):
        bring(store, upload.source, contributors="chi")  # type: ignore[arg-type]


def test_a_store_that_fails_in_the_middle_leaves_nothing_half_asked(takes: Path, tmp_path: Path) -> None:
    (takes / "solo.wav").unlink()
    asked: list[str] = []
    for writes in range(12):
        store = FailingStore(tmp_path / f"store{writes}", writes)
        with pytest.raises((StoreError, SourceError)):
            bring(store, takes)
        whole = FolderStore(store.root)
        for recording, waits in state_of(whole).waiting.items():
            asked.append(recording)
            assert whole.get(waits.sound) == (takes / "duo.wav").read_bytes()  # who is asked can hear it
    assert asked


def test_bytes_that_were_changed_while_they_waited_are_not_taken_in(store: FolderStore, takes: Path) -> None:
    bring(store, takes)
    duo = compute_digest(takes / "duo.wav")
    store.put(state_of(store).waiting[duo].sound, (takes / "solo.wav").read_bytes())
    answer(store, "chi", duo, "store")
    write_wav(takes.parent / "others" / "later.wav", wave(1.5, seed=3))
    assert [row.name for row in bring(store, takes.parent / "others").rows] == ["later.wav"]
    assert set(state_of(store).waiting) == {duo}
    assert set(state_of(store).consents[compute_digest(takes / "solo.wav")]) == {
        "ana"
    }  # nobody is named in what it was changed to


def test_consent_of_everybody_stands_in_the_ledger(store: FolderStore, takes: Path) -> None:
    bring(store, takes)
    duo = compute_digest(takes / "duo.wav")
    records = read_consents(store, [duo])
    assert records[duo, "ana"].uses == ("store", "train")
    assert records[duo, "chi"].uses == ()
    assert records[duo, "chi"].basis == "asked, no answer yet"
