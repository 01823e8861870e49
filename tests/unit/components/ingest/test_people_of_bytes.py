"""Nobody is lost when the same sound comes in again under another name: by its bytes, or by how it sounds."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from audiotune.access.__main__ import main as access
from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import MOST_CONTRIBUTORS, Recording
from audiotune.errors import ConsentError, SourceError
from audiotune.governance import Consent, read_consents, read_current_agreement, record_consent, require_permission
from audiotune.governance.agreement_record import FIRST_USES
from audiotune.governance.policy import REQUIRED_USES, Gate
from audiotune.store import FolderStore
from tests.fakes.foreign_sounds import RATE, wave, write_wav
from tests.fakes.layout_store import LayoutStore
from tests.unit.components.ingest.test_ingest import AGREEMENT, ingest

ALL = '["store", "train", "release", "generate"]'


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setattr("tests.unit.components.ingest.test_ingest.AGREEMENT", AGREEMENT.replace('["store", "train"]', ALL))
    return LayoutStore(tmp_path / "store")


def melody(seed: int = 1, seconds: float = 6.0) -> np.ndarray:
    """A sound that changes all the time, so that a part of it is found again."""
    frames = wave(seconds, seed=seed)
    gates = 1 + 0.9 * np.sign(np.sin(np.arange(len(frames)) / (2500.0 + 300 * seed)) ** 2 - 0.5)
    return np.asarray(frames * gates[:, None], np.float32)


def bring(store: FolderStore, folder: Path, who: str, **options: object) -> Manifest[Recording]:
    return ingest(store, folder, contributors=who, **options)[1]


def passes(store: FolderStore, gate: Gate, recording: str, *named: str) -> bool:
    try:
        require_permission(store, gate, {recording: named})
    except ConsentError:
        return False
    return True


def withdraw(store: FolderStore, who: str, recording: str) -> None:
    record_consent(store, Consent(recording=recording, contributor=who, uses=(), basis="x", agreement="0" * 64))


@pytest.fixture
def take(store: FolderStore, tmp_path: Path) -> Recording:
    """A take of ben's in the store."""
    write_wav(tmp_path / "bens" / "take.wav", melody())
    return bring(store, tmp_path / "bens", "ben").rows[0]


def test_withdrawn_bytes_do_not_come_in_under_another_name(store: FolderStore, take: Recording, tmp_path: Path) -> None:
    withdraw(store, "ben", take.id)
    write_wav(tmp_path / "anas" / "mine.wav", melody())
    with pytest.raises(SourceError, match=r"mine\.wav: ben has not agreed to store"):
        bring(store, tmp_path / "anas", "ana")
    assert not any(passes(store, gate, take.id, "ana") for gate in get_args(Gate))


def test_known_bytes_keep_their_people(store: FolderStore, take: Recording, tmp_path: Path) -> None:
    write_wav(tmp_path / "anas" / "mine.wav", melody())
    row = bring(store, tmp_path / "anas", "ana").rows[0]
    assert (row.id, row.contributors) == (take.id, ("ana", "ben"))
    withdraw(store, "ben", take.id)
    assert not passes(store, "generate", take.id, "ana")


def test_two_files_of_the_same_bytes_name_everybody(store: FolderStore, tmp_path: Path) -> None:
    folder = tmp_path / "takes"
    for name, who in (("1.wav", "ana"), ("2.wav", "ben"), ("3.wav", "ana")):
        write_wav(folder / name, melody())
        (folder / name).with_suffix(".json").write_text(f'{{"contributors": ["{who}"]}}')
    assert [row.contributors for row in bring(store, folder, "").rows] == [("ana", "ben")]
    (folder / "2.json").write_text('{"contributors": ["chi"]}')  # who has not agreed to anything
    write_wav(folder / "4.wav", melody(2))
    other = LayoutStore(tmp_path / "other")
    assert [row.name for row in bring(other, folder, "ana").rows] == ["4.wav"]


def change(sound: np.ndarray, how: str, path: Path) -> None:
    if how == "mp3":
        write_wav(path.with_suffix(".mp3"), sound, subtype="MPEG_LAYER_III", format="MP3")
    elif how == "louder":
        write_wav(path.with_suffix(".wav"), np.clip(sound * 1.4, -1, 1))
    elif how == "shifted":
        write_wav(path.with_suffix(".wav"), np.concatenate([wave(2.5, seed=7), sound, wave(1.0, seed=8)]))
    else:
        write_wav(path.with_suffix(".flac"), sound[RATE : 4 * RATE], subtype="PCM_16", format="FLAC")


@pytest.mark.parametrize("how", ["mp3", "louder", "shifted", "a part of it"])
@pytest.mark.parametrize("likenesses", [True, False])  # whether the report shows them changes nothing
def test_what_sounds_like_anothers_take_waits(
    store: FolderStore, take: Recording, tmp_path: Path, how: str, likenesses: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    change(melody(), how, tmp_path / "anas" / "mine")
    _, manifest, report = ingest(store, tmp_path / "anas", contributors="ana", likenesses=likenesses)
    copy = manifest.rows[0]
    assert "Waiting for somebody&#39;s word (1)" in report
    assert f"recording decide {copy.id}" in report
    behind: list[Gate] = [gate for gate, use in REQUIRED_USES.items() if gate != "ingest" and use in FIRST_USES]
    assert not any(passes(store, gate, copy.id, "ana") for gate in behind)
    command = ["--store", str(store.root), "recording", "decide", copy.id, "--heard", "ana", "--because", "a sample pack"]
    assert access([*command, "--by", "eve"]) == 1
    assert "'eve' may not decide this" in capsys.readouterr().err
    assert access([*command, "--by", "chi"]) == 0
    assert all(passes(store, gate, copy.id, "ana") for gate in behind)
    assert "decided by chi: a sample pack" in {one.basis for one in read_consents(store, [copy.id]).values()}


@pytest.mark.parametrize("how", ["mp3", "louder", "shifted", "a part of it"])
@pytest.mark.parametrize("who", ["ana", "ben", "ana,ben"])
def test_what_sounds_like_a_withdrawn_take_is_refused(
    store: FolderStore, take: Recording, tmp_path: Path, how: str, who: str
) -> None:
    withdraw(store, "ben", take.id)
    change(melody(), how, tmp_path / "anas" / "mine")
    with pytest.raises(SourceError, match=r"ben has not agreed to store.*recording decide [0-9a-f]{64}"):
        bring(store, tmp_path / "anas", who)


def test_the_first_one_does_not_wait_for_its_copies(store: FolderStore, take: Recording, tmp_path: Path) -> None:
    change(melody(), "mp3", tmp_path / "anas" / "mine")
    bring(store, tmp_path / "anas", "ana")
    bring(store, tmp_path / "bens", "ben")  # once more
    assert passes(store, "generate", take.id, "ben")


def test_a_stranger_waits_for_nobody(store: FolderStore, take: Recording, tmp_path: Path) -> None:
    write_wav(tmp_path / "anas" / "mine.wav", melody(5))
    _, manifest, report = ingest(store, tmp_path / "anas", contributors="ana")
    assert passes(store, "generate", manifest.rows[0].id, "ana")
    assert "Waiting for" not in report


def test_a_stray_object_beside_the_manifests_stops_nothing(store: FolderStore, take: Recording, tmp_path: Path) -> None:
    store.put("manifests/recordings/notes.txt", b"x")
    assert bring(store, tmp_path / "bens", "ben").rows[0].id == take.id


def test_a_damaged_earlier_record_refuses_its_file_with_the_cure(store: FolderStore, take: Recording, tmp_path: Path) -> None:
    current = read_current_agreement(store)
    assert current is not None
    for entry in list(store.list("governance/")):  # as with 0.2: no ledger yet
        store.delete(entry.key)
    store = LayoutStore(store.root)
    FolderStore(store.root).put("governance/agreements/000001.json", current.model_dump_json().encode())
    key = f"governance/consents/{take.id}/ben/00000001.json"
    FolderStore(store.root).put(key, b"{")
    write_wav(tmp_path / "bens" / "another.wav", melody(4))
    _, manifest, report = ingest(store, tmp_path / "bens", contributors="ben")
    assert [row.name for row in manifest.rows] == ["another.wav"]
    assert key in report
    assert "recording consent" in report


@pytest.mark.parametrize("sidecar", ["take.json", "recordings.csv", "settings"])
def test_made_up_names_by_the_thousand_are_refused_at_once(store: FolderStore, tmp_path: Path, sidecar: str) -> None:
    names = [f"m{number}" for number in range(15_000 if sidecar == "recordings.csv" else 300_000)]
    write_wav(tmp_path / "takes" / "take.wav", melody())
    given = ""
    if sidecar == "take.json":
        (tmp_path / "takes" / sidecar).write_text(f'{{"contributors": "{" ".join(names)}"}}')
    elif sidecar == "recordings.csv":
        (tmp_path / "takes" / sidecar).write_text(f"file,contributors\ntake.wav,{' '.join(names)}\n")
    else:
        given = " ".join(names)
    with pytest.raises(SourceError, match=f"it names {len(names)} contributors, {MOST_CONTRIBUTORS} are the most") as caught:
        bring(store, tmp_path / "takes", given)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("played", ["upside down", "in another order"])
def test_a_take_that_is_played_otherwise_keeps_its_people(
    store: FolderStore, tmp_path: Path, take: Recording, played: str
) -> None:
    withdraw(store, "ben", take.id)
    sound = melody()
    if played == "upside down":
        sound = -sound
    else:
        sound = np.concatenate([sound[len(sound) // 2 :], sound[: len(sound) // 2]])
    write_wav(tmp_path / "anas" / "mine.wav", sound)
    with pytest.raises(SourceError, match="ben has not agreed to store"):
        bring(store, tmp_path / "anas", "ana")
