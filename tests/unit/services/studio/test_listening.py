"""Annotating: the order of segments, what is hidden until a member has answered, what may be saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from audiotune.errors import AudioTuneError, GovernanceError, NotInStoreError
from audiotune.governance.member_acts import append_member_event
from services.studio.library import LibraryCache
from services.studio.listening import AnnotationQueue
from services.studio.vocabulary import StoredVocabulary
from tests.fakes.seeded_store import Seeded, answer, seed


class TwoWords(StoredVocabulary):
    """A vocabulary of two moods."""

    def check_tags(self, tags: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        for facet, terms in tags.items():
            if facet != "mood" or not set(terms) <= {"dark", "bright"}:
                raise AudioTuneError(f"no such word of {facet}")
        return {facet: tuple(terms) for facet, terms in tags.items() if terms}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return seed(tmp_path_factory.mktemp("seeded") / "store", segments_each=2, segment_s=0.2)


@pytest.fixture
def listening(group: Seeded) -> AnnotationQueue:
    return AnnotationQueue(group.store, LibraryCache(group.store), TwoWords(group.store))


def test_the_least_heard_segment_comes_first(group: Seeded, listening: AnnotationQueue) -> None:
    *heard, alone = group.segments
    for segment in heard:
        answer(group.store, segment, "ben", "x")
    assert listening.choose_next_segment("ana") == alone.id
    answer(group.store, alone, "ana", "mine")
    answer(group.store, alone, "ben", "x")
    answer(group.store, alone, "chi", "x")
    assert listening.choose_next_segment("ana") in {s.id for s in heard}
    assert listening.choose_next_segment("ben") is None


def test_what_is_left_for_later_comes_last_and_in_turn(group: Seeded, listening: AnnotationQueue) -> None:
    left: list[str] = []
    for _ in group.segments:
        left.append(str(listening.choose_next_segment("ana", left)))
    assert sorted(left) == sorted(s.id for s in group.segments)
    assert listening.choose_next_segment("ana", left) == left[0]


def test_members_begin_at_different_ends(group: Seeded, listening: AnnotationQueue) -> None:
    assert len({listening.choose_next_segment(member) for member in ("ana", "ben", "chi")}) > 1


def test_others_are_hidden_until_ones_own_answer_is_given(group: Seeded, listening: AnnotationQueue) -> None:
    segment = group.segments[0]
    answer(group.store, segment, "ben", "a secret horn", mood=("dark",))
    before = listening.view_segment("ana", segment.id)
    assert (before["others"], before["others_count"], before["mine"]) == (None, 1, None)
    assert "secret" not in str(before)
    listening.save_answer("ana", segment.id, {"mood": ["bright"]}, "")
    after = listening.view_segment("ana", segment.id)
    assert after["mine"]["tags"] == {"mood": ["bright"]}
    assert [(o["name"], o["words"]) for o in after["others"]] == [("Ben", "a secret horn")]


def test_imports_and_those_who_left_are_not_shown_as_ears(group: Seeded, listening: AnnotationQueue) -> None:
    segment = group.segments[0]
    answer(group.store, segment, "file-name", "from the file's name")
    answer(group.store, segment, "zoe", "gone")
    assert listening.view_segment("ana", segment.id)["others_count"] == 0
    assert listening.count_progress("ana").by_anyone == 0


def test_a_changed_answer_counts_once_and_the_old_one_stays(group: Seeded, listening: AnnotationQueue) -> None:
    segment = group.segments[0].id
    for words in ("first", "second"):
        listening.save_answer("ana", segment, {}, words)
    assert listening.view_segment("ana", segment)["mine"]["words"] == "second"
    assert len(list(group.store.list(f"annotations/{segment}/ana/"))) == 2
    assert [h["id"] for h in listening.list_answered_by("ana")] == [segment]
    progress = listening.count_progress("ana")
    assert (progress.segments, progress.by_me, progress.by_anyone, progress.by_all, progress.members) == (6, 1, 1, 0, 3)


def test_progress_counts_segments_answered_by_all(group: Seeded, listening: AnnotationQueue) -> None:
    for member in ("ana", "ben", "chi"):
        answer(group.store, group.segments[0], member, "x")
    assert listening.count_progress("ana").by_all == 1


@pytest.mark.parametrize(
    ("member", "tags", "words", "error"),
    [
        ("mallory", {}, "x", GovernanceError),
        ("", {}, "x", GovernanceError),
        ("zoe", {}, "x", GovernanceError),
        ("../ana", {}, "x", GovernanceError),
        ("ana", {}, "   ", AudioTuneError),
        ("ana", {"mood": []}, "", AudioTuneError),
        ("ana", {"mood": ["green"]}, "", AudioTuneError),
        ("ana", {"../x": ["dark"]}, "", AudioTuneError),
        ("ana", {}, "w" * 2001, AudioTuneError),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_stored(
    group: Seeded, listening: AnnotationQueue, member: str, tags: dict[str, list[str]], words: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        listening.save_answer(member, group.segments[0].id, tags, words)
    assert list(group.store.list("annotations/")) == []


@pytest.mark.parametrize("segment", ["", "f" * 64, "../../governance", "0" * 63])
def test_a_segment_that_is_not_there_is_reported(group: Seeded, listening: AnnotationQueue, segment: str) -> None:
    with pytest.raises(NotInStoreError):
        listening.view_segment("ana", segment)
    with pytest.raises(NotInStoreError):
        listening.save_answer("ana", segment, {}, "x")


def test_words_in_any_script_and_markup_are_kept_as_written(group: Seeded, listening: AnnotationQueue) -> None:
    words = '<script>alert(1)</script> "ʃ" 音 🎛 {{value}} ${x}'
    listening.save_answer("ana", group.segments[0].id, {}, words)
    assert listening.view_segment("ana", group.segments[0].id)["mine"]["words"] == words


def test_an_empty_store_is_no_error(tmp_path: Path) -> None:
    from audiotune.store import FolderStore

    store = FolderStore(tmp_path / "new")
    listening = AnnotationQueue(store, LibraryCache(store), TwoWords(store))
    assert listening.choose_next_segment("ana") is None
    assert listening.count_progress("ana").segments == 0
    assert listening.list_answered_by("ana") == []


def test_the_vocabulary_as_the_page_sees_it(group: Seeded) -> None:
    words = StoredVocabulary(group.store)
    facets = {facet["id"]: facet for facet in words.list_facets()}
    assert list(facets) == ["mood", "type", "texture", "synthesis", "motion"]
    term = facets["mood"]["terms"][0]["id"]
    assert words.check_tags({"mood": [term, term], "type": []}) == {"mood": (term,)}
    with pytest.raises(AudioTuneError, match="no word of type"):
        words.check_tags({"type": [term]})


def test_an_own_word_is_the_groups_from_then_on(group: Seeded) -> None:
    id, label = StoredVocabulary(group.store).add_term("texture", "  Velcro   rip ", "ana")
    assert label == "velcro rip"
    assert StoredVocabulary(group.store).check_tags({"texture": [id]}) == {"texture": (id,)}
    assert StoredVocabulary(group.store).add_term("texture", "velcro rip", "ben")[0] == id


@pytest.mark.parametrize(
    ("facet", "word"), [("mood", " "), ("mood", "w" * 61), ("mood", "<>"), ("../mood", "fine"), ("", "fine")]
)
def test_words_that_are_none_are_refused(group: Seeded, facet: str, word: str) -> None:
    with pytest.raises(AudioTuneError):
        StoredVocabulary(group.store).add_term(facet, word, "ana")
    assert list(group.store.list("manifests/vocabulary/")) == []


def test_what_somebody_leaves_out_is_not_offered(group: Seeded, listening: AnnotationQueue) -> None:
    recording = group.recordings[0]
    part = {"recording": recording.id, "parts": [{"start_s": 0.3, "end_s": 0.35}]}
    append_member_event(group.store, recording.contributors[0], "parts_excepted", part)
    offered = set()
    while (id := listening.choose_next_segment("chi")) is not None:
        offered.add(id)
        listening.save_answer("chi", id, {"mood": ["dark"]}, "")
    missing = [s for s in group.segments if s.id not in offered]
    assert [(s.recording, s.start_s) for s in missing] == [(recording.id, pytest.approx(0.2))]
