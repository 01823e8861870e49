"""Every upload makes a manifest of its own; a dataset is made of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotune.domain.manifest import Manifest
from audiotune.domain.segment import Segment
from audiotune.errors import ManifestError
from audiotune.store import FolderStore
from components.annotate_merge.segment_selection import load_recordings, load_segments, select_newest_segments
from tests.fakes.described_store import make_described_store, recording, segment

TAKES = [recording(f"take_{number}.wav") for number in range(5)]


def test_a_second_upload_does_not_forget_the_first(tmp_path: Path) -> None:
    first = make_described_store(tmp_path, [recording("monday.wav")])
    assert load_segments(first.store, "newest").key == first.key
    second = make_described_store(tmp_path, [recording("friday.wav")])
    whole = load_segments(first.store, "newest")
    assert {s.recording for s in whole.rows} == {recording("monday.wav").id, recording("friday.wav").id}
    assert {r.name for r in load_recordings(first.store, whole).values()} == {"monday.wav", "friday.wav"}
    assert load_segments(first.store, "newest").key == whole.key, "asking again makes nothing new"
    assert load_segments(first.store, second.key).key == second.key, "a named manifest is taken alone"


def test_the_newest_cut_of_a_recording_counts(tmp_path: Path) -> None:
    take = recording("monday.wav")
    made = make_described_store(tmp_path, [take, recording("friday.wav")])
    old = Manifest("segments", made.segments["monday.wav"], {})
    again = Manifest("segments", [segment(take, 7)], {"recordings": _recordings(made.store)})
    again.save(made.store)
    rows = load_segments(made.store, "newest").rows
    assert segment(take, 7) in rows
    assert not set(old.rows) & set(rows)
    assert len(rows) == 3


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="Run prepare first"):
        load_segments(FolderStore(tmp_path), "newest")


class Counted(list[Segment]):
    """Segments that know how often somebody went through them."""

    rounds = 0

    def __iter__(self) -> Iterator[Segment]:
        self.rounds += 1
        return super().__iter__()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=12), max_size=5))
def test_the_newest_of_many_cuts_as_plain_words_say_it(drawn: list[list[tuple[int, int]]]) -> None:
    cuts = [Counted(segment(TAKES[take], number) for take, number in cut) for cut in drawn]
    expected = []
    for take in sorted({s.recording for cut in cuts for s in cut}):
        last = [cut for cut in cuts if any(s.recording == take for s in cut)][-1]
        expected += [s for s in last if s.recording == take]
    for cut in cuts:
        cut.rounds = 0
    assert select_newest_segments(cuts) == expected
    assert [cut.rounds for cut in cuts] == [1] * len(cuts), "once, however many recordings there are"


def _recordings(store: FolderStore) -> str:
    return next(entry.key for entry in store.list("manifests/recordings/"))
