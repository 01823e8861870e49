from __future__ import annotations

import numpy as np
import pytest

from audiotune.domain.recording import Likeness, Recording
from benchmarks.captions import scores
from components.annotate_merge.krippendorff import measure_agreement
from components.annotate_merge.merge import Ballot, collect_votes, merge_dawid_skene
from components.annotate_merge.split import split_recordings
from tests.fakes.described_store import recording


def ballot(segment: str, who: str, *terms: str, only_positive: bool = False) -> Ballot:
    return Ballot(segment, who, frozenset(terms), only_positive)


def test_two_bad_annotators_of_five_do_not_spoil_captions() -> None:
    found = scores(segments=120, seed=11)
    assert found["Dawid-Skene"] >= 0.88
    assert found["Dawid-Skene"] > found["majority"] + 0.02
    assert found["Dawid-Skene"] > max(found[name] for name in ("careless", "habit"))


def test_a_lone_annotator_is_believed() -> None:
    found = merge_dawid_skene([ballot(str(i), "ana", f"mood.{i}") for i in range(6)])
    assert min(found.posterior.values()) > 0.5
    assert len(found.posterior) == 6


def test_one_answer_alone_is_believed() -> None:
    assert merge_dawid_skene([ballot("s", "ana", "mood.eerie")]).posterior["s", "mood.eerie"] > 0.5


def test_nothing_in_nothing_out() -> None:
    assert merge_dawid_skene([]).posterior == {}
    assert merge_dawid_skene([ballot("s", "ana")]).posterior == {}


def test_who_contradicts_everybody_counts_less() -> None:
    terms = ["a", "b", "c"]
    ballots = [ballot(str(i), who, terms[i % 3]) for i in range(30) for who in ("ana", "ben", "chi")]
    ballots += [ballot(str(i), "eve", terms[(i + 1) % 3]) for i in range(30)]
    found = merge_dawid_skene(ballots)
    assert found.competence["eve"].sensitivity < 0.3 < 0.9 < found.competence["ana"].sensitivity
    assert found.competence["eve"].false_alarms > 25
    assert all(p > 0.9 for (s, t), p in found.posterior.items() if t == terms[int(s) % 3])
    assert all(p < 0.1 for (s, t), p in found.posterior.items() if t != terms[int(s) % 3])


def test_order_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    ballots = [ballot(str(i), who, *rng.choice(list("abcdef"), 2)) for i in range(20) for who in ("ana", "ben", "chi")]
    first, second = merge_dawid_skene(ballots), merge_dawid_skene(ballots[::-1])
    assert first.posterior.keys() == second.posterior.keys()
    assert all(first.posterior[cell] == pytest.approx(second.posterior[cell], abs=1e-9) for cell in first.posterior)


def test_silence_of_a_file_name_is_no_vote() -> None:
    votes = collect_votes([ballot("s", "file-name", "type.drone", only_positive=True), ballot("s", "ana", "type.bass")])
    assert len(votes.said) == 3  # ana votes on both terms, the file name on its own


def test_a_file_name_alone_is_believed() -> None:
    found = merge_dawid_skene([ballot(str(i), "file-name", f"type.{i // 2}", only_positive=True) for i in range(6)])
    assert min(found.posterior.values()) > 0.5


def test_what_nobody_said_has_no_weight() -> None:
    found = merge_dawid_skene([ballot("1", "ana", "a"), ballot("2", "ana", "b")])
    assert set(found.posterior) == {("1", "a"), ("2", "b")}


class TestAlpha:
    def test_full_agreement_is_one(self) -> None:
        ballots = [ballot(str(i), who, "ab"[i % 2]) for i in range(10) for who in ("ana", "ben")]
        found = measure_agreement("mood", ballots, rounds=50)
        assert found.alpha == 1.0
        assert found.interval == (1.0, 1.0)
        assert found.segments == 10

    def test_against_the_worked_example_of_krippendorff(self) -> None:
        """Two coders, ten binary units, no missing data: alpha 0.095 (Krippendorff 2011, section A)."""
        first, second = "0100000000", "1110010010"
        ballots = [ballot("anchor", "x", "t", only_positive=True)]
        for i, (x, y) in enumerate(zip(first, second, strict=True)):
            ballots += [ballot(str(i), who, *(["t"] if said == "1" else [])) for who, said in (("ana", x), ("ben", y))]
        assert measure_agreement("mood", ballots, rounds=0).alpha == pytest.approx(0.095, abs=5e-4)

    def test_chance_is_about_zero(self) -> None:
        rng = np.random.default_rng(1)
        ballots = [ballot(str(i), who, str(rng.integers(4))) for i in range(300) for who in ("ana", "ben", "chi")]
        found = measure_agreement("mood", ballots, rounds=200)
        assert found.alpha == pytest.approx(0, abs=0.06)
        assert found.interval is not None
        assert found.interval[0] < found.alpha < found.interval[1]

    def test_missing_answers_count_for_nothing(self) -> None:
        shared = [ballot(str(i), who, "ab"[i % 2]) for i in range(10) for who in ("ana", "ben")]
        alone = [ballot(f"alone {i}", "ana", "a") for i in range(50)]
        assert measure_agreement("mood", [*shared, *alone], rounds=0).alpha == measure_agreement("mood", shared, rounds=0).alpha

    def test_nobody_heard_what_another_heard(self) -> None:
        found = measure_agreement("mood", [ballot("1", "ana", "a"), ballot("2", "ben", "a")], rounds=50)
        assert (found.alpha, found.interval, found.segments) == (None, None, 0)

    def test_nothing(self) -> None:
        assert measure_agreement("mood", [], rounds=50).alpha is None


class TestSplit:
    def recordings(self, count: int, **more: object) -> dict[str, Recording]:
        return {r.id: r for r in (recording(f"take {i}", **more) for i in range(count))}

    @pytest.mark.parametrize("count", [2, 3, 10, 40])
    def test_both_sides_get_something(self, count: int) -> None:
        takes = self.recordings(count)
        sides = list(split_recordings(takes, takes, 0.15, "recording").values())
        assert sides.count("held_out") == max(1, round(0.15 * count))
        assert "train" in sides

    def test_one_recording_is_for_learning(self) -> None:
        takes = self.recordings(1)
        assert set(split_recordings(takes, takes, 0.5, "recording").values()) == {"train"}

    def test_no_share_holds_nothing_out(self) -> None:
        takes = self.recordings(5)
        assert set(split_recordings(takes, takes, 0.0, "recording").values()) == {"train"}

    def test_the_same_on_every_machine(self) -> None:
        takes = self.recordings(20)
        backwards = dict(reversed(takes.items()))
        assert split_recordings(takes, takes, 0.3, "recording") == split_recordings(backwards, list(backwards), 0.3, "recording")

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_likenesses_stay_together(self, share: float) -> None:
        takes = self.recordings(12)
        ids = list(takes)
        for i in range(0, 12, 3):  # groups of three, tied in a chain; every other link is only told by one side
            for a, b in ((i, i + 1), (i + 2, i + 1)):
                like = Likeness(recording=ids[b], kind="overlap", bit_error_rate=0.1, start_s=0, other_start_s=0, duration_s=1)
                takes[ids[a]] = replace_likenesses(takes[ids[a]], like)
        sides = split_recordings(takes, takes, share, "recording")
        for i in range(0, 12, 3):
            assert len({sides[ids[j]] for j in range(i, i + 3)}) == 1
        assert set(sides.values()) == {"train", "held_out"}

    def test_a_recording_that_is_left_out_still_ties(self) -> None:
        takes = self.recordings(3)
        ids = list(takes)
        for i in (0, 2):
            like = Likeness(recording=ids[1], kind="same_sound", bit_error_rate=0, start_s=0, other_start_s=0, duration_s=1)
            takes[ids[i]] = replace_likenesses(takes[ids[i]], like)
        assert set(split_recordings(takes, [ids[0], ids[2]], 0.5, "recording").values()) == {"train"}

    def test_sessions_stay_together(self) -> None:
        takes = {**self.recordings(4, session="monday"), **{r.id: r for r in (recording("x", session="friday"),)}}
        sides = split_recordings(takes, takes, 0.5, "session")
        assert len({sides[id] for id, r in takes.items() if r.session == "monday"}) == 1
        assert set(sides.values()) == {"train", "held_out"}


def replace_likenesses(take: Recording, like: Likeness) -> Recording:
    return take.model_copy(update={"likenesses": (*take.likenesses, like)})
