"""Parts of a recording that a player leaves out: segments that touch one leave, and a dataset that has one passes no gate."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from audiotune.domain.dataset import Caption, DatasetRow, contributors_by_recording
from audiotune.domain.lineage import build_lineage
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, Release, WeightsPointer
from audiotune.errors import ConsentError, GovernanceError, SettingsError
from audiotune.governance import Consent, publish_agreement, read_consents, record_consent
from audiotune.governance.agreement_record import ALL_USES
from audiotune.governance.consent import record_consents, record_decision, record_standing_consents
from audiotune.governance.excepted import collect_excepted, find_excepted, parse_part, split_excepted
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.policy import Gate, require_permission
from audiotune.governance.release_standing import list_objections, require_release_permission
from tests.fakes.described_store import agreement, digest, recording, segment
from tests.fakes.memory_store import MemoryStore

TAKE = digest("take")
OF_DATASETS: tuple[Gate, ...] = ("annotate_merge", "encode", "finetune", "evaluate", "register")


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    publish_agreement(made, agreement())
    record_standing_consents(made, agreement(), TAKE, ["ana", "ben"])
    return made


def leave_out(store: MemoryStore, who: str, *parts: tuple[float, float], **more: bool) -> None:
    said = [{"start_s": start, "end_s": end} for start, end in parts]
    append_member_event(store, who, "parts_excepted", {"recording": TAKE, "parts": said, **more})


def parts(store: MemoryStore, who: str) -> list[tuple[float, float]]:
    return [(part.start_s, part.end_s) for part in read_consents(store, [TAKE])[TAKE, who].excepted]


def dataset(*seconds: int) -> Manifest[DatasetRow]:
    """A dataset with the seconds of the take that begin at these."""
    rows = [
        DatasetRow(
            segment=segment(recording("take"), at), caption=Caption(text="x"), split="train", contributors=("ana",), licence="x"
        )
        for at in seconds
    ]
    return Manifest("datasets", rows)


def passes(store: MemoryStore, gate: Gate, *seconds: int) -> bool:
    try:
        require_permission(store, gate, contributors_by_recording(dataset(*seconds)))
    except ConsentError:
        return False
    return True


def test_segments_that_touch_it_leave(store: MemoryStore) -> None:
    why = f"ben leaves 2.5 to 4 s of it out, since {datetime.now(UTC):%Y-%m-%d}"
    leave_out(store, "ben", (2.5, 4.0))
    kept, left = split_excepted(read_consents(store, [TAKE]), [segment(recording("take"), at) for at in range(6)])
    assert [one.start_s for one in kept] == [0, 1, 4, 5]
    assert [(one.start_s, said) for one, said in left] == [(2, why), (3, why)]


@pytest.mark.parametrize(("at", "touches"), [(1.0, False), (1.001, True), (3.999, True), (4.0, False)])
def test_bounds_are_half_open(store: MemoryStore, at: float, touches: bool) -> None:
    leave_out(store, "ben", (2.0, 4.0))
    assert bool(find_excepted(collect_excepted(read_consents(store, [TAKE])), TAKE, at, at + 1.0)) == touches


@pytest.mark.parametrize("gate", OF_DATASETS)
def test_a_dataset_with_such_a_segment_is_refused(store: MemoryStore, gate: Gate) -> None:
    assert passes(store, gate, 0, 3)
    leave_out(store, "ben", (2.5, 4.0))
    assert not passes(store, gate, 0, 3)
    assert passes(store, gate, 0, 1)
    leave_out(store, "ben", clear=True)
    assert passes(store, gate, 0, 3)


def test_the_refusal_names_player_part_and_cure(store: MemoryStore) -> None:
    leave_out(store, "ben", (2.5, 4.0))
    with pytest.raises(
        ConsentError, match=r"ben leaves 2\.5 to 4 s of it out, since [0-9-]{10} \(recording [0-9a-f]{12}\).*make a new one"
    ):
        require_permission(store, "finetune", contributors_by_recording(dataset(3)))


def test_what_a_dataset_uses_survives_the_way_to_another_process() -> None:
    used = pickle.loads(pickle.dumps(contributors_by_recording(dataset(0, 3))))
    assert used == {TAKE: ("ana",)}
    assert used[TAKE].parts == ((0.0, 1.0), (3.0, 4.0))


def test_parts_add_up_and_those_that_touch_are_joined(store: MemoryStore) -> None:
    leave_out(store, "ben", (10, 12))
    leave_out(store, "ben", (1, 2), (2, 3))
    leave_out(store, "ben", (2.5, 10))
    assert parts(store, "ben") == [(1, 12)]
    leave_out(store, "ben", (20, 21), clear=True)
    assert parts(store, "ben") == [(20, 21)]
    assert parts(store, "ana") == []


def test_they_stay_out_whatever_else_is_said(store: MemoryStore) -> None:
    leave_out(store, "ben", (2, 4))
    append_member_event(store, "ben", "consent_given", {"recordings": [TAKE], "uses": ["publish"]})
    append_member_event(store, "ben", "withdrawal_recorded", {"recordings": [TAKE], "uses": ["release"]})
    fresh = Consent(recording=TAKE, contributor="ben", uses=("store", "train"), basis="studio", agreement="0" * 64)
    record_consents(store, [fresh], by="ben")
    record_consent(store, fresh)
    assert parts(store, "ben") == [(2, 4)]


def test_only_a_player_leaves_parts_out_and_only_after_an_answer(store: MemoryStore) -> None:
    with pytest.raises(ConsentError, match="chi is not named as a player"):
        leave_out(store, "chi", (1, 2))
    with pytest.raises(GovernanceError, match="no member"):
        leave_out(store, "zoe", (1, 2))
    with pytest.raises(GovernanceError, match="it names no part"):
        leave_out(store, "ben")
    with pytest.raises(GovernanceError, match="before it begins"):
        leave_out(store, "ben", (3, 2))
    asked = Consent(recording=TAKE, contributor="chi", uses=(), basis="asked, no answer yet", agreement="0" * 64)
    record_consent(store, asked)
    with pytest.raises(ConsentError, match="has not answered yet"):
        leave_out(store, "chi", (1, 2))
    assert not open_ledger(store).read_state().rejected


def test_too_many_parts_are_refused(store: MemoryStore) -> None:
    leave_out(store, "ben", *((3 * at, 3 * at + 1) for at in range(60)))
    with pytest.raises(ConsentError, match="120 parts are too many, 100 are the most"):
        leave_out(store, "ben", *((1000 + 3 * at, 1001 + 3 * at) for at in range(60)))


@pytest.mark.parametrize(
    ("start", "end", "part"), [("65.5", "80", (65.5, 80)), ("1:05.5", " 1:20 ", (65.5, 80)), ("0", "0.5", (0, 0.5))]
)
def test_times_as_people_write_them(start: str, end: str, part: tuple[float, float]) -> None:
    parsed = parse_part(start, end)
    assert (parsed.start_s, parsed.end_s) == part


@pytest.mark.parametrize(
    ("start", "end"), [("", ""), ("a", "b"), ("2", "1"), ("-1", "1"), ("nan", "2"), ("1", "inf"), ("1:2:3", "4")]
)
def test_what_is_no_time_is_told(start: str, end: str) -> None:
    with pytest.raises(SettingsError, match=r"is no part of a recording.*1:05\.5"):
        parse_part(start, end)


class TestReleases:
    """A release that was made with a part that is left out later may not play any more."""

    GATES: tuple[Gate, ...] = ("register", "champion", "generate", "export", "publish", "earn")

    @pytest.fixture
    def allowing(self) -> MemoryStore:
        """Everything is allowed, so that only the part can be in the way."""
        made, uses = MemoryStore(), ALL_USES
        everything = agreement().model_copy(update={"allowed_uses": uses, **self.GRACE})
        publish_agreement(made, everything)
        said = {"recording": TAKE, "uses": uses, "basis": "studio", "agreement": "0" * 64}
        record_consents(made, [Consent.model_validate({**said, "contributor": who}) for who in ("ana", "ben")])
        return made

    GRACE: ClassVar[dict[str, int]] = {}

    def release(self, store: MemoryStore, *seconds: int) -> Release:
        """Of these seconds, as register makes it and a registry gives it back: without anything of parts."""
        made = dataset(*seconds)
        made.save(store)
        pointer = WeightsPointer(
            weights="w", weights_digest="1" * 64, config="c", base="tiny", base_digest="b" * 64, dataset=made.digest
        )
        lineage, judged = build_lineage(made, pointer, "0" * 64), Evaluation(metrics={}, passed=True)
        card = Release(name="jam", version="1", weights=pointer, lineage=lineage, licence="x", notice="", evaluation=judged)
        return Release.model_validate_json(card.model_dump_json())

    def objections(self, store: MemoryStore, release: Release, gate: Gate, days: float = 0) -> tuple[str, ...]:
        moment = datetime.now(UTC) + timedelta(days=days)
        return list_objections(store, open_ledger(store).read_state(), release, gate, now=moment)

    @pytest.mark.parametrize("gate", GATES)
    def test_it_is_stopped_at_once(self, allowing: MemoryStore, gate: Gate) -> None:
        holding, other = self.release(allowing, 0, 3), self.release(allowing, 0, 1)
        assert self.objections(allowing, holding, gate) == ()
        leave_out(allowing, "ben", (2.5, 4.0))
        (why,) = self.objections(allowing, holding, gate)
        assert f"ben leaves 2.5 to 4 s of it out, since {datetime.now(UTC):%Y-%m-%d} (recording {TAKE[:12]}), and the " in why
        with pytest.raises(ConsentError, match=r"ben leaves 2\.5 to 4 s"):
            require_release_permission(allowing, gate, holding)
        assert self.objections(allowing, other, gate) == ()
        require_release_permission(allowing, gate, other)
        leave_out(allowing, "ben", clear=True)
        assert self.objections(allowing, holding, gate) == ()

    def test_a_dataset_that_is_gone_is_taken_as_the_whole_recording(self, allowing: MemoryStore) -> None:
        other = self.release(allowing, 0, 1)
        for entry in list(allowing.list("manifests/datasets/")):
            allowing.delete(entry.key)
        assert self.objections(allowing, other, "generate") == ()  # nobody asks for it while nothing is left out
        leave_out(allowing, "ben", (2.5, 4.0))
        assert len(self.objections(allowing, other, "generate")) == 1

    def test_who_is_not_heard_any_more_leaves_nothing_out(self, allowing: MemoryStore) -> None:
        holding = self.release(allowing, 3)
        leave_out(allowing, "ben", (2.5, 4.0))
        record_decision(allowing, agreement(), TAKE, ["ana"], by="ana", why="a mistake")
        assert self.objections(allowing, holding, "generate") == ()


class TestReleasesWithGrace(TestReleases):
    GRACE: ClassVar[dict[str, int]] = {"withdrawal_grace_days": 30}

    @pytest.mark.parametrize("gate", TestReleases.GATES)
    def test_it_is_stopped_at_once(self, allowing: MemoryStore, gate: Gate) -> None:
        """Not at once, but after the days of the agreement; a new part has days of its own, and makes nothing wait longer."""
        holding = self.release(allowing, 3)
        leave_out(allowing, "ben", (2.5, 4.0))
        is_made = gate != "register"
        assert bool(self.objections(allowing, holding, gate, days=29.9)) != is_made
        assert self.objections(allowing, holding, gate, days=30.1)
        leave_out(allowing, "ben", (3.5, 6.0))
        assert parts(allowing, "ben") == [(2.5, 4), (3.5, 6)]
        assert self.objections(allowing, holding, gate, days=30.1)

    def test_a_dataset_is_refused_at_once(self, allowing: MemoryStore) -> None:
        leave_out(allowing, "ben", (2.5, 4.0))
        assert not passes(allowing, "finetune", 3)

    def test_a_dataset_that_is_gone_is_taken_as_the_whole_recording(self, allowing: MemoryStore) -> None:
        leave_out(allowing, "ben", (2.5, 4.0))
        assert len(self.objections(allowing, self.release(allowing, 3), "generate", days=31)) == 1

    def test_who_is_not_heard_any_more_leaves_nothing_out(self, allowing: MemoryStore) -> None:
        """As without grace."""


def test_nobody_says_themselves_since_when(store: MemoryStore) -> None:
    said = {"start_s": 1, "end_s": 2, "ends": "2099-01-01T00:00:00Z"}
    with pytest.raises(GovernanceError, match="ends"):
        append_member_event(store, "ben", "parts_excepted", {"recording": TAKE, "parts": [said]})
