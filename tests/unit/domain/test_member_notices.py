"""Who is named by others is told: annotations taken in from files in a member's name, and uploads that name a player."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.domain.annotation import Annotation, read_segment_annotations, save_annotation
from audiotune.domain.manifest import Manifest
from audiotune.domain.member_notices import META, MemberNoticeReader, count_imported
from audiotune.domain.upload import Upload, UploadedFile
from audiotune.store import FolderStore

SEGMENT = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def upload(store: FolderStore, id: str, by: str, *players: str) -> Upload:
    files = tuple(UploadedFile(name=f"{id} take {number}.wav", blob="blobs/x", size=1) for number in (1, 2))
    made = Upload(id=id, uploaded_by=by, contributors=players, files=files)
    store.put(made.key, made.model_dump_json().encode())
    return made


def said(member: str, file: str = "") -> Annotation:
    return Annotation(segment=SEGMENT, member=member, words="dark", source="csv" if file else "studio", imported_from=file)


def test_whoever_is_named_as_a_player_by_another_is_told_and_nobody_else(store: FolderStore) -> None:
    upload(store, "1", "ana", "ana", "ben")
    reader = MemberNoticeReader(store)
    (told,) = reader.list_notices("ben")
    assert (told.by, told.files, told.annotations) == ("ana", ("1 take 1.wav", "1 take 2.wav"), 0)
    assert reader.list_notices("ana") == reader.list_notices("chi") == []
    upload(store, "2", "ben", "ana", "ben")
    assert [one.by for one in reader.list_notices("ana")] == ["ben"]


def test_whoever_an_import_speaks_for_is_told_how_much_and_from_which_file(store: FolderStore) -> None:
    imported = count_imported([said("ana", "notes.csv"), said("ana", "notes.csv"), said("ben", "jam.json"), said("chi")])
    assert imported == {"ana": {"notes.csv": 2}, "ben": {"jam.json": 1}}
    Manifest("datasets", [said("ana")], {META: imported}).save(store)
    Manifest("datasets", [], {}).save(store)  # one of before, or without imports
    reader = MemberNoticeReader(store)
    assert [(one.by, one.files, one.annotations) for one in reader.list_notices("ana")] == [("", ("notes.csv",), 2)]
    assert reader.list_notices("chi") == []


def test_what_is_damaged_hides_no_other_notice(store: FolderStore) -> None:
    upload(store, "1", "ana", "ben")
    store.put("inbox/0/upload.json", b"{")
    store.put("manifests/datasets/0.jsonl", b"not a manifest")
    store.put("manifests/datasets/1.jsonl", b'{"meta": {"imported": 7}}')
    assert len(MemberNoticeReader(store).list_notices("ben")) == 1


def test_the_mark_is_kept_and_answers_of_before_have_none(store: FolderStore) -> None:
    assert b"imported_from" not in said("ana").to_bytes()  # programs of 0.2 refuse a field that they do not know
    save_annotation(store, said("ana"))
    save_annotation(store, said("ben", "notes.csv"))
    assert [one.imported_from for one in read_segment_annotations(store, SEGMENT)] == ["", "notes.csv"]
