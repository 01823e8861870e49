from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audiotune.domain.annotation import Annotation
from audiotune.domain.dataset import Caption, DatasetRow
from audiotune.domain.vocabulary import Vocabulary
from audiotune.errors import SourceError
from audiotune.governance import Member
from components.annotate_merge.annotation_imports import annotations_from_file, read_import
from components.annotate_merge.label_exports import build_label_exports
from components.annotate_merge.segment_index import SegmentIndex
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


UPLOADED = "/data/upload/1/1a2b3c4d-"


@pytest.mark.parametrize(
    "export",
    [
        json.dumps([{"id": 1, "audio": f"{UPLOADED}one.wav", "mood": "dark", "annotator": 1}]),
        json.dumps([{"id": 1, "url": f"{UPLOADED}one.wav", "mood": {"choices": ["dark"]}, "annotator": 1}]),
        json.dumps([{"id": 1, "voice": f"{UPLOADED}one.wav", "Mood choices": ["dark"], "annotator": 1, "created_at": "2024"}]),
        json.dumps([{"id": 1, "audio": f"{UPLOADED}one.wav", "taxonomy": [["mood", "dark"]], "annotator": {"id": 1}}]),
        f"annotation_id,annotator,audio,id,mood\n9,1,{UPLOADED}one.wav,1,dark\n",
        f'annotation_id,annotator,url,id,mood\n9,1,{UPLOADED}one.wav,1,"{{""choices"": [""dark""]}}"\n',
        f'annotation_id;annotator;audio;id;label\n9;1;{UPLOADED}one.wav;1;"[{{""start"": 0, ""end"": 9, ""labels"": [""dark""]}}]"\n',
        task({"url": f"{UPLOADED}one.wav"}, {"completed_by": 1, "result": [chosen("mood", "dark")]}),
        task(
            {"audio": "one.wav"}, {"completed_by": 1, "result": [{"from_name": "t", "value": {"taxonomy": [["mood", "dark"]]}}]}
        ),
        task({"audio": "one.wav"}, {"completed_by": 1, "result": [{"from_name": "label", "value": {"labels": ["dark"]}}]}),
    ],
)
def test_label_studio_as_its_own_templates_write_it(made: DescribedStore, export: str) -> None:
    found = take_in(made, export, **{"1": "ana"})
    assert found.refused == []
    assert [(one.segment, one.member) for one in found.annotations] == [(s.id, "ana") for s in made.segments["jam/one.wav"]]
    assert {str(one.tags) for one in found.annotations} == {str({"mood": ("mood.dark",)})}
    assert {one.words for one in found.annotations} == {""}


def test_a_rating_alone_is_told_as_not_used(made: DescribedStore) -> None:
    answer = {"completed_by": "ana", "result": [{"from_name": "stars", "value": {"rating": 4}}]}
    assert "a rating, number or date is not used (stars)" in reason(take_in(made, task({"audio": "one.wav"}, answer)))


@pytest.mark.parametrize("name", ["take_3_roof.wav", f"{UPLOADED}take_3_roof.wav", "take 3 (roof)", "TAKE 3 (ROOF).wav"])
def test_a_name_that_an_upload_rewrote(tmp_path: Path, name: str) -> None:
    made = make_described_store(tmp_path / "s", [recording("take 3 (roof).wav"), recording("take 2 (roof).wav")], each=1)
    found = take_in(made, f"file,member,words\n{name},ana,hiss\n")
    assert [one.segment for one in found.annotations] == [made.segments["take 3 (roof).wav"][0].id]


def test_a_name_that_is_nearly_one_is_told(made: DescribedStore) -> None:
    assert "nearly 'jam/two.wav'" in reason(take_in(made, "file,member,words\njam/twoo.wav,ana,hiss\n"))


@pytest.mark.parametrize(("start", "end", "place"), [(0.1, 0.4, 0), (1.3, 1.5, 1), (0.8, 1.3, 1), (2.9, 2.95, 2)])
def test_a_region_shorter_than_half_a_segment_goes_to_the_one_that_holds_most(
    made: DescribedStore, start: float, end: float, place: int
) -> None:
    found = take_in(made, f"file;member;start;end;words\none.wav;ana;{start};{str(end).replace('.', ',')};hiss\n")
    assert [one.segment for one in found.annotations] == [made.segments["jam/one.wav"][place].id]


LABELS = "0.100000\t0.900000\tdark; drone\n\\\t120.0\t900.0\n1,2\t1,2\tlike rain\n2.000000\t2.900000\t\n"


@pytest.mark.parametrize("name", ["one.txt", "one labels.txt", "imports/one_label.txt"])
def test_a_label_track(made: DescribedStore, name: str) -> None:
    """Frequency lines and empty labels say nothing; a label without length is about the segment that sounds there."""
    recordings = {take.id: take for take in made.takes.values()}
    places = SegmentIndex([segment for all in made.segments.values() for segment in all], recordings)
    for members in ({"*": "ana"}, {name.rpartition("/")[2]: "ana"}):
        found = annotations_from_file(name, LABELS.encode(), places, agreement(), Vocabulary.load(), members)
        assert found.refused == []
        first, second = found.annotations
        assert (first.segment, first.member, first.source) == (made.segments["jam/one.wav"][0].id, "ana", "audacity")
        assert first.tags == {"mood": ("mood.dark",), "type": ("type.drone",)}
        assert (second.segment, second.words) == (made.segments["jam/one.wav"][1].id, "like rain")
    nobody = annotations_from_file(name, LABELS.encode(), places, agreement(), Vocabulary.load(), {})
    assert "import_members" in nobody.refused[0][1]


def test_what_goes_out_comes_back_equal(made: DescribedStore) -> None:
    segments = [segment for all in made.segments.values() for segment in all]
    rows = [
        DatasetRow(
            segment=segment,
            caption=Caption(text=f'dark "drone", {i}'),
            split="train",
            contributors=("ana",),
            licence="CC0-1.0",
            recording_name=name,
        )
        for name, of_take in made.segments.items()
        for i, segment in enumerate(of_take)
    ]
    said = [
        Annotation(
            segment=segment.id, member=member, tags={"mood": ("mood.dark",), "texture": ("texture.metallic",)}, words=words
        )
        for segment in segments
        for member, words in (("ana", 'like "rain"; on, tin'), ("ben", ""))
    ]
    files = build_label_exports(rows, said)
    keys = {(one.segment, one.member, json.dumps(one.tags), one.words) for one in said}
    for name in ("annotations.csv", "label_studio.json"):
        found = take_in(made, files[name])
        assert found.refused == []
        assert {(one.segment, one.member, json.dumps(one.tags), one.words) for one in found.annotations} == keys
    assert sorted(name for name in files if name.startswith("labels/")) == [
        "labels/one.txt",
        *sorted(f"labels/same {made.takes[name].id[:8]}.txt" for name in ("a/same.wav", "b/same.wav")),
        "labels/two.txt",
    ]
    recordings = {take.id: take for take in made.takes.values()}
    places = SegmentIndex(segments, recordings)
    track = annotations_from_file(
        "two.txt", files["labels/two.txt"].encode(), places, agreement(), Vocabulary.load(), {"*": "ben"}
    )
    assert [one.segment for one in track.annotations] == [segment.id for segment in made.segments["jam/two.wav"]]


def test_imports_come_from_paths_and_from_the_store(made: DescribedStore, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1")
    made.store.put("imports/b.csv", b"2")
    assert read_import(made.store, str(tmp_path / "a.csv")) == b"1"
    assert read_import(made.store, "imports/b.csv") == b"2"


def test_what_comes_from_a_file_is_marked_with_it(made: DescribedStore) -> None:
    found = only(take_in(made, f"segment,member,words\n{made.segments['jam/one.wav'][0].id},ana,dark\n"))
    assert found.imported_from == "import"
