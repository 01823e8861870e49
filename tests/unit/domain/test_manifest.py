from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from audiotune.domain import annotation, manifest
from audiotune.domain.annotation import Annotation
from audiotune.domain.manifest import Manifest, fetch_manifest, find_newest_manifest, load_manifest
from audiotune.errors import AlreadyInStoreError, ManifestError, NotInStoreError
from audiotune.store import FolderStore
from tests.fakes.described_store import digest

ONE = digest("segment")


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    level: float = 0.0


ROWS = Manifest("takes", [Row(name="größe\u2028\n", level=-3.5), Row(name="two")], {"source": "füll", "deep": {"a": [1, None]}})


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


class TestManifest:
    def test_comes_back_as_it_was(self, tmp_path: Path) -> None:
        found = load_manifest(ROWS.write(tmp_path / "deep" / "m"), "takes", Row)
        assert found == ROWS
        assert found.digest == ROWS.digest

    @given(st.lists(st.builds(Row, name=st.text(), level=st.floats(allow_nan=False, allow_infinity=False)), max_size=5))
    def test_any_rows_come_back(self, rows: list[Row]) -> None:
        made = Manifest("takes", rows)
        assert load_manifest(made.to_bytes(), "takes", Row).rows == rows

    def test_the_digest_is_of_the_rows_alone(self) -> None:
        assert Manifest("takes", ROWS.rows).digest == ROWS.digest
        assert Manifest("takes", ROWS.rows[:1]).digest != ROWS.digest
        assert Manifest("takes", ROWS.rows[::-1]).digest != ROWS.digest

    def test_cut_anywhere_it_does_not_load(self) -> None:
        data = ROWS.to_bytes()
        for length in range(len(data)):
            with pytest.raises(ManifestError):
                load_manifest(data[:length], "takes", Row)

    def test_changed_anywhere_in_its_rows_it_does_not_load(self) -> None:
        data = ROWS.to_bytes()
        for at in range(data.index(b"\n") + 1, len(data)):
            with pytest.raises(ManifestError):
                load_manifest(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "takes", Row)

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"", "no manifest header"),
            (b"[]\n", "no manifest header"),
            (b"\xff\xfe\n", "no manifest header"),
            (b'{"kind": "others"}\n', "'others' where 'takes'"),
            (b'{"kind": "takes", "version": 99}\n', "version 99"),
            (b'{"kind": "takes", "version": 1}\n', "cut or changed"),
        ],
    )
    def test_damaged_manifests_are_refused(self, data: bytes, says: str) -> None:
        with pytest.raises(ManifestError, match=says):
            load_manifest(data, "takes", Row)

    def test_rows_of_another_shape(self) -> None:
        class Other(BaseModel):
            pitch_hz: float

        with pytest.raises(ManifestError, match="a row does not fit"):
            load_manifest(ROWS.to_bytes(), "takes", Other)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="none") as caught:
            load_manifest(tmp_path / "none", "takes", Row)
        assert "none" in caught.value.where

    def test_a_failed_write_leaves_the_old_file(self, tmp_path: Path) -> None:
        ROWS.write(tmp_path / "m")
        with pytest.raises(TypeError):
            Manifest("takes", ROWS.rows, {"not json": object()}).write(tmp_path / "m")
        assert load_manifest(tmp_path / "m", "takes", Row) == ROWS
        assert [path.name for path in tmp_path.iterdir()] == ["m"]

    def test_in_a_store(self, store: FolderStore) -> None:
        assert find_newest_manifest(store, "takes") is None
        key = ROWS.save(store)
        assert key == f"manifests/takes/{ROWS.digest}.jsonl"
        assert fetch_manifest(store, key, "takes", Row) == ROWS
        with pytest.raises(NotInStoreError):
            fetch_manifest(store, key.replace("a", "b", 1) + "x", "takes", Row)

    def test_the_newest_is_never_what_lies_beside_a_manifest(self, store: FolderStore) -> None:
        key = ROWS.save(store)
        store.put(f"manifests/takes/{ROWS.digest}/croissant.json", b"{}")
        store.put(f"manifests/takes/{ROWS.digest}/captions.jsonl", b"{}")
        store.put("manifests/takes/notes.txt", b"")
        assert find_newest_manifest(store, "takes") == key
        later = Manifest("takes", ROWS.rows[:1]).save(store)
        assert find_newest_manifest(store, "takes") == later


def said(member: str, at_s: int = 0, words: str = "", source: str = "studio") -> Annotation:
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at_s)
    return Annotation(segment=ONE, member=member, time=time, words=words, source=source)


class TestAnnotation:
    def test_each_members_newest_counts(self, store: FolderStore) -> None:
        for one in (said("ben", 3, "late"), said("ana", 2, "second"), said("ana", 1, "first")):
            annotation.save_annotation(store, one)
        assert [one.words for one in annotation.read_segment_annotations(store, ONE)] == ["second", "late"]
        assert len(list(store.list("annotations/"))) == 3  # the older one stays
        assert annotation.read_segment_annotations(store, digest("other")) == []

    def test_sources_are_kept_apart(self) -> None:
        assert len(annotation.keep_newest_annotations([said("ana", 1), said("ana", 2, source="csv")])) == 2

    def test_nothing_is_overwritten(self, store: FolderStore) -> None:
        annotation.save_annotation(store, said("ana", words="mine"))
        with pytest.raises(AlreadyInStoreError):
            annotation.save_annotation(store, said("ana", words="other"))
        assert annotation.read_segment_annotations(store, ONE)[0].words == "mine"

    def test_keys_follow_time_in_every_zone(self) -> None:
        from datetime import timezone

        here = said("ana", 60)
        elsewhere = here.model_copy(update={"time": here.time.astimezone(timezone(timedelta(hours=-7)))})
        assert elsewhere.key == here.key
        assert here.key == f"annotations/{ONE}/ana/20260101T000100000000.json"

    @pytest.mark.parametrize("member", ["", "Ana", "../ana", "a/b", "a" * 65, "ana\n"])
    def test_member_ids_are_safe_in_keys(self, member: str) -> None:
        with pytest.raises(ValidationError):
            said(member)

    def test_words_have_an_end(self) -> None:
        with pytest.raises(ValidationError):
            said("ana", words="x" * 2001)

    def test_other_files_are_not_read(self, store: FolderStore) -> None:
        store.put(f"annotations/{ONE}/ana/readme.txt", b"hello")
        assert annotation.read_segment_annotations(store, ONE) == []

    def test_round_trip(self) -> None:
        one = Annotation(segment=ONE, member="ana", tags={"mood": ("mood.dark",)}, words="ü")
        assert Annotation.model_validate(json.loads(one.model_dump_json())) == one


def test_newest_reads_the_clock_of_the_store(store: FolderStore) -> None:
    first = Manifest("takes", ROWS.rows).save(store)
    Manifest("takes", ROWS.rows[:1]).save(store)
    assert manifest.find_newest_manifest(store, "takes") != first
