"""What a player sees before they leave a part out is what then happens: segments, datasets, releases, and what plays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from audiotune.cli import main
from audiotune.errors import ConsentError
from audiotune.governance.agreement import read_current_agreement
from audiotune.governance.consent_record import RecordingPart
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.release_standing import list_objections
from audiotune.governance.writer import StoreGovernanceWriter
from audiotune.withdrawal.excepted_preview import ExceptedPreview, describe_excepted_preview, preview_excepted
from audiotune.withdrawal.finish import finish_withdrawals
from tests.fakes import described_store
from tests.fakes.layout_store import LayoutStore
from tests.fakes.withdrawal_group import WithdrawalGroup, make_withdrawal_group

PART = RecordingPart(start_s=1.2, end_s=1.5)  # in the second segment of each take


def make_group(folder: Path, grace_days: int = 0) -> WithdrawalGroup:
    agreement = described_store.agreement().model_copy(update={"withdrawal_grace_days": grace_days})
    return make_withdrawal_group(LayoutStore(folder / "store"), agreement)


def foresee(group: WithdrawalGroup, who: str, take: str) -> ExceptedPreview:
    return preview_excepted(group.store, group.registry, who, group.id_of(take)[0], [PART])


def leave_out(group: WithdrawalGroup, who: str, take: str) -> None:
    body = {"recording": group.id_of(take)[0], "parts": [PART.model_dump()]}
    append_member_event(group.store, who, "parts_excepted", body)


@pytest.mark.parametrize(
    ("who", "take", "stopped", "plays"),
    [
        ("ben", "both", {("jam", "2"), ("tape", "1")}, {"jam": "1", "tape": ""}),
        ("ana", "ana alone", {("jam", "1"), ("jam", "2"), ("tape", "1")}, {"jam": "", "tape": ""}),
    ],
)
def test_the_figures_are_what_then_happened(
    tmp_path: Path, who: str, take: str, stopped: set[tuple[str, str]], plays: dict[str, str]
) -> None:
    group = make_group(tmp_path)
    before = open_ledger(group.store).read_state()
    foretold = foresee(group, who, take)
    assert open_ledger(group.store).read_state() == before  # a preview changes nothing
    assert {(one.name, one.version) for one in foretold.releases if one.stops} == stopped
    assert (len(foretold.segments), {one.name: one.then for one in foretold.champions}) == (1, plays)
    holding = {one.digest for one in group.datasets.values() if set(foretold.segments) & {row.segment.id for row in one.rows}}
    assert set(foretold.datasets) == holding

    leave_out(group, who, take)
    state = open_ledger(group.store).read_state()
    closed = [one for one in group.releases.values() if list_objections(group.store, state, one, "champion", "generate")]
    assert {(one.name, one.version) for one in closed} == stopped
    finish_withdrawals(group.store, group.registry, StoreGovernanceWriter(group.store))
    assert {name: group.registry.list_aliases(name).get("champion", "") for name in plays} == plays


def test_with_days_of_grace_it_says_from_when_on(tmp_path: Path) -> None:
    group = make_group(tmp_path, grace_days=30)
    foretold = foresee(group, "ben", "both")
    assert 29.9 < (foretold.ends - datetime.now(UTC)).total_seconds() / 86_400 < 30.1
    words = " ".join(describe_excepted_preview(foretold))
    assert f"From {foretold.ends:%Y-%m-%d %H:%M} UTC on these may not play any more: jam 2, tape 1." in words
    assert "jam: version 2 plays now; then version 1 plays." in words
    leave_out(group, "ben", "both")
    assert finish_withdrawals(group.store, group.registry, StoreGovernanceWriter(group.store)).changes == ()  # it plays on


def test_a_part_that_nothing_touches_stops_nothing(tmp_path: Path) -> None:
    group = make_group(tmp_path)
    recording = group.id_of("both")[0]
    foretold = preview_excepted(group.store, group.registry, "ben", recording, [RecordingPart(start_s=50, end_s=60)])
    assert (foretold.segments, foretold.datasets, foretold.releases, foretold.champions) == ((), (), (), ())
    assert " ".join(describe_excepted_preview(foretold)).startswith("0 segments touch it, in 0 datasets")


def test_what_may_not_be_left_out_is_said_in_the_preview(tmp_path: Path) -> None:
    group = make_group(tmp_path)
    with pytest.raises(ConsentError, match="chi is not named as a player"):
        foresee(group, "chi", "both")


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = make_group(tmp_path)
    number = open_ledger(group.store).read_state().number
    command = ["consent", "--store", group.store.url, "except", group.id_of("both")[0], "1.2", "1.5", "--as", "ben"]
    assert main([*command, "--dry-run"]) == 0
    assert "1 segment touches it, in 1 dataset" in capsys.readouterr().out
    assert open_ledger(group.store).read_state().number == number
    assert main(command) == 0
    assert "these may not play any more: jam 2, tape 1" in capsys.readouterr().out
    assert open_ledger(group.store).read_state().number == number + 1
    assert read_current_agreement(group.store) == group.agreement
