from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audiotune.domain.annotation import Annotation
from audiotune.domain.vocabulary import Vocabulary
from audiotune.errors import SourceError
from audiotune.governance import Member
from components.annotate_merge.annotation_imports import SegmentIndex, annotations_from_file, read_import
from components.annotate_merge.sources import GatheredAnnotations
from tests.fakes.described_store import DescribedStore, agreement, make_described_store, recording


@pytest.fixture
def made(tmp_path: Path) -> DescribedStore:
    takes = [recording("jam/one.wav"), recording("jam/two.wav"), recording("a/same.wav"), recording("b/same.wav")]
    return make_described_store(tmp_path / "store", takes, each=3)


def take_in(made: DescribedStore, data: str | bytes, **members: str) -> GatheredAnnotations:
    recordings = {take.id: take for take in made.takes.values()}
    places = SegmentIndex([segment for all in made.segments.values() for segment in all], recordings)
    group = agreement(Member(id="zoe", name="Zoe", left=True))
    body = data.encode() if isinstance(data, str) else data
    return annotations_from_file("import", body, places, group, Vocabulary.load(), members)


def only(found: GatheredAnnotations) -> Annotation:
    (one,) = found.annotations
    assert found.refused == []
    return one


def reason(found: GatheredAnnotations) -> str:
    ((_, why),) = found.refused
    assert found.annotations == []
    return why


def test_a_table(made: DescribedStore) -> None:
    one = made.segments["jam/one.wav"][1].id
    found = only(take_in(made, f'Segment,member,mood,type,words\n{one},ana,"dark; Spooky",drones,"like ""rain"""\n'))
    assert found.segment == one
    assert found.tags == {"mood": ("mood.dark", "mood.eerie"), "type": ("type.drone",)}
    assert found.words == 'like "rain"'
    assert (found.member, found.source) == ("ana", "csv")


def test_words_that_are_no_terms_are_kept(made: DescribedStore) -> None:
    found = only(take_in(made, f"segment,member,mood\n{made.segments['jam/one.wav'][0].id},ana,dark|krautig\n"))
    assert found.tags == {"mood": ("mood.dark",)}
    assert found.words == "krautig"


def test_term_ids_may_stand_in_a_table(made: DescribedStore) -> None:
    found = only(take_in(made, f"segment,member,synthesis\n{made.segments['jam/one.wav'][0].id},ana,synthesis.fm\n"))
    assert found.tags == {"synthesis": ("synthesis.fm",)}


@pytest.mark.parametrize("place", ["jam/one.wav", "one.wav"])
def test_a_file_means_all_its_segments(made: DescribedStore, place: str) -> None:
    found = take_in(made, f"file,member,words\n{place},ana,hiss\n")
    assert [one.segment for one in found.annotations] == [segment.id for segment in made.segments["jam/one.wav"]]


def test_a_part_of_a_file(made: DescribedStore) -> None:
    found = take_in(made, "file,member,start_s,end_s,words\none.wav,ana,0.9,2.2,hiss\n")
    assert [one.segment for one in found.annotations] == [made.segments["jam/one.wav"][1].id]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("one.wav,eve,x", "'eve' is no member"),
        ("one.wav,zoe,x", "has left the group"),
        ("one.wav,,x", "no member"),
        ("none.wav,ana,x", "no segment or recording 'none.wav'"),
        ("same.wav,ana,x", "2 recordings are called"),
        (f"{'0' * 64},ana,x", "no segment or recording"),
        ("one.wav,ana,", "it says nothing"),
        ("one.wav,ana," + "x" * 2001, "2001 letters"),
        ("one.wav,ana", "more or fewer cells"),
        ("one.wav,ana,x,y", "more or fewer cells"),
        ("../../etc/passwd,ana,x", "no segment or recording"),
    ],
)
def test_a_row_is_refused_with_its_reason(made: DescribedStore, row: str, why: str) -> None:
    assert why in reason(take_in(made, f"file,member,words\n{row}\n"))


def test_a_refused_row_does_not_stop_the_next(made: DescribedStore) -> None:
    found = take_in(made, "file,member,words\nnone.wav,ana,x\none.wav,ana,y\n")
    assert len(found.annotations) == 3
    assert found.refused[0][0] == "import, answer 1"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"file,words\none.wav,x\n", b'file,member,words\none.wav,ana,"cut', b"\xff\xfe\x00",
        b"[{", b"{}", b'[{"data":', b"\x00\x01\x02",
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_an_error(made: DescribedStore, data: bytes) -> None:
    with pytest.raises(SourceError, match="import"):
        take_in(made, data)


def task(place: dict[str, Any], *answers: dict[str, Any]) -> str:
    return json.dumps([{"id": 1, "data": place, "annotations": list(answers)}])


def chosen(name: str, *words: str, **value: Any) -> dict[str, Any]:
    return {"from_name": name, "to_name": "audio", "type": "choices", "value": {"choices": list(words), **value}}


def written(*words: str) -> dict[str, Any]:
    return {"from_name": "words", "to_name": "audio", "type": "textarea", "value": {"text": list(words)}}


def test_label_studio(made: DescribedStore) -> None:
    one = made.segments["jam/one.wav"][2].id
    answer = {"completed_by": {"id": 7, "email": "ana"}, "result": [chosen("mood", "Dark", "krautig"), written("a", "b")]}
    found = only(take_in(made, task({"segment": one}, answer)))
    assert (found.segment, found.member, found.source) == (one, "ana", "label_studio")
    assert found.tags == {"mood": ("mood.dark",)}
    assert found.words == "a b krautig"


@pytest.mark.parametrize(
    "path",
    ["/data/upload/1/1a2b3c4d-one.wav", "/data/local-files/?d=jam/one.wav", "https://host/files/one.wav?x=1", "jam%2Fone.wav"],
)
def test_label_studio_paths(made: DescribedStore, path: str) -> None:
    found = take_in(made, task({"audio": path}, {"completed_by": 7, "result": [chosen("type", "drone")]}), **{"7": "ben"})
    assert {one.member for one in found.annotations} == {"ben"}
    assert len(found.annotations) == 3


def test_label_studio_regions(made: DescribedStore) -> None:
    regions = [
        chosen("type", "drone", start=0.0, end=1.0),
        chosen("mood", "calm", start=0.0, end=1.0),
        chosen("type", "bass", start=2, end=3),
    ]
    found = take_in(made, task({"audio": "one.wav"}, {"completed_by": "ana", "result": regions}))
    tags = {one.segment: one.tags for one in found.annotations}
    first, _, last = (segment.id for segment in made.segments["jam/one.wav"])
    assert tags == {first: {"type": ("type.drone",), "mood": ("mood.calm",)}, last: {"type": ("type.bass",)}}


def test_cancelled_answers_are_none(made: DescribedStore) -> None:
    found = take_in(made, task({"audio": "one.wav"}, {"completed_by": "ana", "was_cancelled": True, "result": [written("x")]}))
    assert (found.annotations, found.refused) == ([], [])


@pytest.mark.parametrize(
    "tasks",
    [
        [1], [None], [{}], [{"data": [], "annotations": []}], [{"data": {}, "annotations": {}}],
        [{"data": {"audio": "one.wav"}, "annotations": [{"completed_by": "ana", "result": [None]}]}],
        [{"data": {"audio": "one.wav"}, "annotations": [{"completed_by": "ana", "result": 7}]}],
        [{"data": {"audio": "one.wav"}, "annotations": [{"completed_by": None, "result": [written("x")]}]}],
        [{"data": {"audio": 5}, "annotations": [{"completed_by": "ana", "result": [written("x")]}]}],
        [{"data": {"audio": "one.wav"}, "annotations": [{"completed_by": "ana", "result": [{"value": {"text": 5}}]}]}],
    ],
)  # fmt: skip
def test_odd_tasks_are_refused_one_by_one(made: DescribedStore, tasks: list[Any]) -> None:
    good = {"data": {"audio": "one.wav"}, "annotations": [{"completed_by": "ana", "result": [written("hiss")]}]}
    found = take_in(made, json.dumps([*tasks, good]))
    assert len(found.refused) == 1
    assert len(found.annotations) == 3


def test_imports_come_from_paths_and_from_the_store(made: DescribedStore, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1")
    made.store.put("imports/b.csv", b"2")
    assert read_import(made.store, str(tmp_path / "a.csv")) == b"1"
    assert read_import(made.store, "imports/b.csv") == b"2"
