"""Every figure of a preview equals what then happened: both are counted, on a store with joint takes, datasets, releases, an adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.domain.dataset import DatasetRow
from audiotune.domain.manifest import load_manifest
from audiotune.errors import ConsentError
from audiotune.governance.agreement_record import ALL_USES
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.release_standing import list_objections
from audiotune.governance.writer import StoreGovernanceWriter
from audiotune.withdrawal.erasure_plan import ErasureCounts
from audiotune.withdrawal.finish import finish_withdrawals
from audiotune.withdrawal.preview import WithdrawalPreview, preview_withdrawal
from audiotune.withdrawal.retraining import find_stopped_releases, list_left
from audiotune.withdrawal.store_traces import StoreTraces
from audiotune.withdrawal.words import describe_preview
from components.annotate_merge.settings import Settings
from components.annotate_merge.step import run_step
from tests.fakes.layout_store import LayoutStore
from tests.fakes.withdrawal_group import WithdrawalGroup, make_withdrawal_group


@pytest.fixture
def group(tmp_path: Path) -> WithdrawalGroup:
    return make_withdrawal_group(LayoutStore(tmp_path / "store"))


def withdraw(group: WithdrawalGroup, who: str = "ben", **body: object) -> int:
    return append_member_event(group.store, who, "withdrawal_recorded", body)


def count_keys(group: WithdrawalGroup) -> set[str]:
    return {entry.key for entry in group.store.list("") if not entry.key.startswith(("governance/", "erasures/"))}


def stopped_of(preview: WithdrawalPreview) -> set[tuple[str, str]]:
    return {(one.name, one.version) for one in preview.releases if one.stops}


@pytest.mark.parametrize(("who", "takes"), [("ben", ()), ("ben", ("both",)), ("chi", ()), ("ana", ("ana alone",))])
def test_the_figures_are_what_then_happened(group: WithdrawalGroup, who: str, takes: tuple[str, ...]) -> None:
    ids = group.id_of(*takes)
    foretold = preview_withdrawal(group.store, group.registry, who, ids)
    before = open_ledger(group.store).read_state()
    assert preview_withdrawal(group.store, group.registry, who, ids).model_copy(update={"ends": foretold.ends}) == foretold
    assert open_ledger(group.store).read_state() == before  # a preview changes nothing

    number = withdraw(group, who, recordings=ids)
    state = open_ledger(group.store).read_state()
    made = state.withdrawals[number]
    assert (made.recordings, made.uses, made.is_all) == (foretold.recordings, foretold.uses, foretold.is_all)
    closed = [
        release for release in group.releases.values() if list_objections(group.store, state, release, "champion", "generate")
    ]
    assert {(one.name, one.version) for one in closed} == stopped_of(foretold)
    assert {(one.name, one.version) for one in find_stopped_releases(group.store, number)} == stopped_of(foretold)
    segments = {segment.id for segment in group.segments if segment.recording in made.recordings}
    assert set(foretold.segments) == segments
    holding = [one for one in group.datasets.values() if any(row.segment.id in segments for row in one.rows)]
    assert {one.digest for one in foretold.datasets} == {one.digest for one in holding}

    finish_withdrawals(group.store, group.registry, StoreGovernanceWriter(group.store))
    for forecast in foretold.champions:
        assert group.registry.list_aliases(forecast.name).get("champion", "") == forecast.then
    traces = StoreTraces(group.store)
    for retraining in foretold.retrainings:
        card = group.releases[f"{retraining.name} {retraining.version}"]
        left = list_left(traces, state, card)
        assert {row.segment.recording for row in left}.isdisjoint(made.recordings)
        assert (retraining.segments, retraining.recordings) == (len(left), len({row.segment.recording for row in left}))


@pytest.mark.parametrize("choice", ["recordings", "everything_derived"])
def test_what_would_be_erased_is_what_is_gone(group: WithdrawalGroup, choice: str) -> None:
    foretold = preview_withdrawal(group.store, group.registry, "ben").erasures[choice]
    before, versions = count_keys(group), sum(map(len, group.registry.versions.values()))
    withdraw(group, erase=choice)
    work = finish_withdrawals(group.store, group.registry, StoreGovernanceWriter(group.store))
    assert len(before - count_keys(group)) == sum(foretold.objects.values())
    assert versions - sum(map(len, group.registry.versions.values())) == foretold.versions
    (done,) = work.erased
    counted = {kind: number for kind, number in done.counts.items() if kind != "releases in the registry"}
    assert counted == foretold.objects


def test_the_figures_themselves(group: WithdrawalGroup) -> None:
    """Written down by hand, so that a fault in what both sides share is seen, too."""
    seen = preview_withdrawal(group.store, group.registry, "ben")
    assert set(seen.recordings) == set(group.id_of("ben alone", "both"))
    assert seen.joint == {group.id_of("both")[0]: ("ana",)}
    assert (seen.uses, len(seen.segments), len(seen.datasets), seen.sounds) == (ALL_USES, 4, 1, 2)
    assert stopped_of(seen) == {("jam", "2"), ("tape", "1")}
    assert [(one.name, one.now, one.then) for one in seen.champions] == [("jam", "2", "1"), ("tape", "1", "")]
    assert [(r.name, r.recordings, r.segments, r.took_s) for r in seen.retrainings] == [("jam", 2, 3, 5400), ("tape", 2, 3, None)]
    assert seen.retrainings[1].unknown == ("annotate_merge", "evaluate", "register")
    assert seen.erasures["recordings"] == ErasureCounts(objects={"recordings": 1, "uploads": 1}, joint=1)
    everything = {
        "recordings": 1, "uploads": 1, "fingerprints": 1, "descriptions": 1,
        "segments": 3, "latents": 3, "lists of segments": 2, "lists of latents": 3,
        "weights": 3, "checkpoints": 6, "reports": 4, "evaluations": 4, "sounds of evaluations": 2,
    }  # fmt: skip
    assert seen.erasures["everything_derived"] == ErasureCounts(objects=everything, versions=2, joint=1, shared=2)


def test_a_part_of_the_uses_erases_nothing(group: WithdrawalGroup) -> None:
    seen = preview_withdrawal(group.store, group.registry, "ben", uses=["publish"])
    assert (seen.erasures, stopped_of(seen)) == ({}, set())


def test_parts_that_are_left_out_are_not_counted_and_not_trained_on(group: WithdrawalGroup, tmp_path: Path) -> None:
    """The dataset of the new training, as annotate_merge makes it, has what was counted. Releases with the part are stopped already."""
    part = {"recording": group.id_of("ana alone")[0], "parts": [{"start_s": 1.2, "end_s": 1.5}]}
    append_member_event(group.store, "ana", "parts_excepted", part)
    seen = preview_withdrawal(group.store, group.registry, "ben")
    assert (stopped_of(seen), seen.retrainings) == (set(), ())
    number = withdraw(group)
    assert {(one.name, one.version) for one in find_stopped_releases(group.store, number)} == {("jam", "2"), ("tape", "1")}
    foretold = list_left(StoreTraces(group.store), open_ledger(group.store).read_state(), group.releases["jam 2"])
    paths = {name: tmp_path / name for name in ("dataset", "report", "metrics")}
    settings = Settings(segments=group.datasets["all"].meta["segments"], caption_fallback="a sound")
    run_step(settings, group.store, lambda share, words: None, **paths)
    rows = load_manifest(paths["dataset"], "datasets", DatasetRow).rows
    assert {row.segment.id for row in rows} == {row.segment.id for row in foretold}
    assert (len(rows), len({row.segment.recording for row in rows})) == (2, 2)
    held = {row.segment.id for row in rows}
    assert held <= set(group.releases["jam 2"].lineage.segments)
    assert held.isdisjoint(seen.segments)


def test_everybody_withdraws(group: WithdrawalGroup) -> None:
    for who in ("ana", "ben"):
        withdraw(group, who)
    seen = preview_withdrawal(group.store, group.registry, "chi")
    assert [(one.name, one.then) for one in seen.champions] == [("jam", ""), ("tape", "")]
    withdraw(group, "chi", erase="everything_derived")
    finish_withdrawals(group.store, group.registry, StoreGovernanceWriter(group.store))
    assert group.registry.list_aliases("jam") == {}


def test_what_may_not_be_taken_back_is_said_in_the_preview(group: WithdrawalGroup) -> None:
    with pytest.raises(ConsentError, match="ben has no consent for recording"):
        preview_withdrawal(group.store, group.registry, "ben", group.id_of("chi alone"))


def test_the_words(group: WithdrawalGroup) -> None:
    words = "\n".join(describe_preview(preview_withdrawal(group.store, group.registry, "ben")))
    for sentence in (
        "All your recordings, also later ones; now 2 recordings. What you take back: every use.",
        "1 of them is played together with ana: closed for all.",
        "They are in 4 segments, and in 1 dataset (2).",
        "Of these will be stopped: jam 2, tape 1.",
        "jam: version 2 plays now; then version 1 plays.",
        "tape: version 1 plays now; then nothing plays, because no other version may (ben has not agreed to release",
        "2 sounds made with them stay with their records, marked.",
        "jam 2 can be trained again with 3 segments of 2 recordings: its training took 1.5 h.",
        "If you let your recordings be erased: 1 recording, 1 upload would go; kept: 1 recording in which others are heard",
        "Out of reach: Exports, packed data",
    ):
        assert sentence in words
