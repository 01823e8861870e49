"""Mutations of tables, sidecars, label tracks and exports of annotations: read, or refused with a reason. No crash, no hang, and nobody is
recorded, or speaks, under another's name.

1,700 mutations in every run; more with `AUDIOTUNE_TEST_MUTATIONS=20000 python -m pytest tests/corpus/test_row_mutations.py`.
"""

import contextlib
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiotune.domain.label_tracks import TimeLabel, parse_label_track
from audiotune.domain.vocabulary import Vocabulary
from audiotune.errors import SourceError
from components.annotate_merge.annotation_imports import annotations_from_file
from components.annotate_merge.segment_index import SegmentIndex
from components.ingest.sidecars import SidecarReader
from components.ingest.sources import FolderSource
from components.segment.features import extract_features
from components.segment.label_cuts import find_label_cuts
from components.segment.settings import Settings
from tests.corpus.test_header_mutations import mutate
from tests.fakes.described_store import agreement, recording, segment

EXAMPLES = int(os.environ.get("AUDIOTUNE_TEST_MUTATIONS", "1700"))
LONGEST_S = 10
PLAYERS = {"attic.wav": {"ana"}, "night/roof 12.wav": {"ben", "chi"}, "Größe.wav": {"ben"}}
MEMBERS = frozenset(("ana", "ben", "chi"))
SAID = "a long and winding description of {}"  # so that a few lost bytes never bring one row's people into another
ROWS = [(file, SAID.format(file.replace(",", "")), sorted(people)) for file, people in PLAYERS.items()]


def write_csv(separator: str, encoding: str) -> Callable[[], bytes]:
    lines = [("file", "words", "contributors"), *((file, words, " ".join(people)) for file, words, people in ROWS)]
    return lambda: "".join(separator.join(cells) + "\r\n" for cells in lines).encode(encoding)


def write_json(*, lines: bool) -> Callable[[], bytes]:
    rows = [{"file_name": file, "text": words, "contributors": people} for file, words, people in ROWS]
    return lambda: ("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) if lines else json.dumps(rows)).encode()


def write_toml() -> bytes:
    return "".join(
        f'["{file}"]\nwords = "{words}"\ncontributors = {json.dumps(people)}\n' for file, words, people in ROWS
    ).encode()


TABLES: list[tuple[str, Callable[[], bytes]]] = [
    ("recordings.csv", write_csv(",", "utf-8")),
    ("recordings.csv", write_csv(";", "utf-8-sig")),
    ("recordings.tsv", write_csv("\t", "utf-8")),  # written as UTF-16 when it is mutated: half a letter lost would join rows
    ("metadata.csv", write_csv(",", "utf-8")),
    ("metadata.jsonl", write_json(lines=True)),
    ("recordings.json", write_json(lines=False)),
    ("recordings.toml", write_toml),
]
CELLS = st.sampled_from(
    [
        b",",
        b";",
        b"\t",
        b'"',
        b"\n",
        b"\r",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"'",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b"=",
        b"\xe2\x80\xa8",
    ]
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["write", "insert", "delete"]), st.floats(0, 1), st.one_of(CELLS, st.binary(min_size=1, max_size=8))
    ),
    min_size=1,
    max_size=6,
)


def bounded(share: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A share of all examples, the same ones in each run."""
    return settings(
        max_examples=max(1, round(share * EXAMPLES)),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )


@bounded(0.5)
@given(table=st.integers(0, len(TABLES) - 1), edits=EDITS)
def test_a_table_speaks_for_nobody_elses_files(table: int, edits: list[tuple[str, float, bytes]]) -> None:
    name, write = TABLES[table]
    text = write()
    with tempfile.TemporaryDirectory() as folder:
        for file in PLAYERS:
            (Path(folder) / file).parent.mkdir(exist_ok=True)
            (Path(folder) / file).write_bytes(b"sound")
        changed = mutate(text, edits, len(text), 1.0)
        (Path(folder) / name).write_bytes(
            changed.decode("utf-8", "replace").encode("utf-16") if name.endswith(".tsv") else changed
        )
        check_people(SidecarReader(FolderSource(Path(folder)), MEMBERS))


def check_people(read: SidecarReader) -> None:
    """Whoever is named plays there; who is not named any more was told of, or nobody comes in."""
    began, missing = time.process_time(), list[str]()
    for file, people in PLAYERS.items():
        try:
            named = set(read.facts_about(file).contributors)
        except SourceError:
            continue
        assert named <= people or named - MEMBERS, f"{file} is recorded under {named}"
        if named != people:
            missing.append(file)
    assert not missing or read.list_unused() or any_stranger(read), f"without a word: {missing}"
    assert time.process_time() - began < LONGEST_S


def any_stranger(read: SidecarReader) -> bool:
    """Whether a file names somebody who is no member, and is refused for it."""
    named = set[str]()
    for file in PLAYERS:
        with contextlib.suppress(SourceError):
            named |= set(read.facts_about(file).contributors)
    return bool(named - MEMBERS)


TAKES = {name: recording(name) for name in ("one.wav", "two.wav")}
CUTS = [segment(take, place) for take in TAKES.values() for place in range(3)]


def write_answers() -> list[bytes]:
    """A table, a Label Studio export and its short form: each answer tells who said it."""
    people = sorted(MEMBERS)
    rows = [(take, place, people[place], f"said by {people[place]} about {take}") for take in TAKES for place in range(3)]
    table = "file,start_s,end_s,member,words\n" + "".join(
        f"{take},{at},{at + 1},{who},{words}\n" for take, at, who, words in rows
    )
    tasks = [
        {
            "data": {"audio": take},
            "annotations": [
                {
                    "completed_by": {"email": who},
                    "result": [
                        {"from_name": "words", "type": "textarea", "value": {"start": at, "end": at + 1, "text": [words]}},
                        {"from_name": "mood", "type": "choices", "value": {"start": at, "end": at + 1, "choices": ["dark"]}},
                    ],
                }
            ],
        }
        for take, at, who, words in rows
    ]
    short = [{"audio": take, "annotator": who, "words": words, "id": at} for take, at, who, words in rows]
    return [table.encode(), json.dumps(tasks).encode(), json.dumps(short).encode()]


ANSWERS = write_answers()


@bounded(0.3)
@given(kind=st.integers(0, len(ANSWERS) - 1), edits=EDITS)
def test_an_answer_is_nobody_elses(kind: int, edits: list[tuple[str, float, bytes]]) -> None:
    places = SegmentIndex(CUTS, {take.id: take for take in TAKES.values()})
    began = time.process_time()
    try:
        data = mutate(ANSWERS[kind], edits, len(ANSWERS[kind]), 1.0)
        found = annotations_from_file("answers", data, places, agreement(), Vocabulary.load(), {})
    except SourceError:
        return
    for one in found.annotations:
        said_by = [who for who in MEMBERS if f"said by {who} about" in one.words]
        assert said_by in ([], [one.member])
    assert time.process_time() - began < LONGEST_S


TRACK = b"0.5\t1.5\ta horn\n\\\t100.0\t2000.0\n2.0\t2.0\ta door\n3.0\t9.25\tgravel\n10,5\t11,5\tthe end\n"


@bounded(0.1)
@given(edits=EDITS)
def test_lines_of_a_label_track_are_labels_or_named(edits: list[tuple[str, float, bytes]]) -> None:
    text = mutate(TRACK, edits, len(TRACK), 1.0).decode("utf-8", "replace")
    track = parse_label_track(text)
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("\\")]
    assert len(track.labels) + len(track.faults) == len(lines)
    assert all(0 <= label.start_s <= label.end_s < float("inf") for label in track.labels)


RATE = 8_000
HEARD = extract_features([(0.3 * np.sin(np.arange(12 * RATE) / 9))[:, None].astype(np.float32)], RATE, 30.0)
TIMES = st.tuples(st.floats(0, 15), st.floats(0, 15))


@bounded(0.1)
@given(times=st.lists(TIMES, max_size=14), longest_s=st.sampled_from([1.0, 4.0, 30.0]))
def test_every_region_is_cut_or_named(times: list[tuple[float, float]], longest_s: float) -> None:
    labels = sorted((TimeLabel(start_s=min(pair), end_s=max(pair)) for pair in times), key=lambda label: label.start_s)
    found = find_label_cuts(labels, HEARD, Settings(max_s=longest_s))
    for layer in found.layers:
        assert all(0 <= cut.start_frame < cut.end_frame <= HEARD.frames for cut in layer)
        assert all(before.end_frame <= after.start_frame for before, after in itertools.pairwise(layer))
    cut = {cut.start_frame for layer in found.layers for cut in layer}
    for label in labels:
        exact = round(label.start_s * RATE) in cut
        assert exact or not label.is_region or any(label.shown in note for note in found.notes)
