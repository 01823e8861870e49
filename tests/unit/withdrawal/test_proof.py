"""A proof of a withdrawal: what it says of a good and of a bad release, and that nobody can change it without being found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotune.cli import main
from audiotune.domain.dataset import LatentRow
from audiotune.domain.lineage import build_lineage
from audiotune.domain.manifest import Manifest, list_manifests
from audiotune.domain.release import Release
from audiotune.errors import GovernanceError
from audiotune.governance import Consent
from audiotune.governance.consent import record_consents
from audiotune.governance.ledger.verification import read_events
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.writer import StoreGovernanceWriter
from audiotune.withdrawal.finish import finish_withdrawals
from audiotune.withdrawal.membership import compute_auc, find_nearest, group_scores, judge_membership
from audiotune.withdrawal.proof import ProofOptions, prove_withdrawal
from audiotune.withdrawal.proof_page import render_proof
from audiotune.withdrawal.proof_record import ProofCheck, WithdrawalProof, verify_proof
from tests.fakes.described_store import digest
from tests.fakes.layout_store import LayoutStore
from tests.fakes.withdrawal_group import WithdrawalGroup, make_withdrawal_group
from tests.unit.components.evaluate.test_confidence import play_tone


@pytest.fixture
def group(tmp_path: Path) -> WithdrawalGroup:
    return make_withdrawal_group(LayoutStore(tmp_path / "store"))


def withdraw(group: WithdrawalGroup, **body: object) -> int:
    return append_member_event(group.store, "ben", "withdrawal_recorded", body)


def release_again(group: WithdrawalGroup, *takes: str) -> Release:
    """A release of some takes, made after the withdrawal."""
    rows = [row for row in group.datasets["all"].rows if row.segment.recording in group.id_of(*takes)]
    dataset, like = Manifest("datasets", rows), group.releases["jam 1"]
    dataset.save(group.store)
    latents = [
        LatentRow(
            segment=row.segment.id,
            recording=row.segment.recording,
            split="train",
            latents=group.latents[row.segment.id],
            latent_frames=2,
            seconds=1,
            captions=("x",),
        )
        for row in rows
    ]
    Manifest("latents", latents, {"dataset": dataset.digest, "base_digest": "b" * 64}).save(group.store)
    weights = like.weights.model_copy(update={"dataset": dataset.digest})
    lineage = build_lineage(dataset, weights, group.agreement.digest)
    card = like.model_copy(update={"version": "3", "weights": weights, "lineage": lineage, "made": datetime.now(UTC)})
    card.save(group.store)
    return card


def refuse_remake(release: Release, times: int) -> list[str]:
    raise AssertionError("nobody asked for it")


def refuse_losses(*_: Any) -> Any:
    raise AssertionError("there are too few segments")


def prove(group: WithdrawalGroup, number: int, **options: Any) -> WithdrawalProof:
    return prove_withdrawal(group.store, number, ProofOptions(**options), refuse_remake, refuse_losses)


def find_check(proof: WithdrawalProof, name: str) -> ProofCheck:
    return next(check for check in proof.checks if check.name == name)


def test_a_release_without_what_was_taken_back(group: WithdrawalGroup) -> None:
    number = withdraw(group)
    release_again(group, "ana alone")
    proof = prove(group, number)
    assert proof.has_passed
    assert proof.release is not None
    assert proof.release.version == "3"
    assert set(proof.withdrawn.recordings) == set(group.id_of("ben alone", "both"))
    assert len(proof.withdrawn.segments) == 4
    outcomes = {check.name: check.outcome for check in proof.checks}
    assert outcomes == {
        "ledger": "passed",
        "nothing left": "not asked",
        "disjoint manifests": "passed",
        "made again": "not asked",
        "nearest copies": "not known",
        "membership": "not known",
    }
    quick = prove_withdrawal(group.store, number, ProofOptions(), refuse_remake)
    assert "membership" not in {check.name for check in quick.checks}
    ledger = [data for _, data in read_events(group.store)]
    assert verify_proof(proof, ledger) == []
    page = render_proof(proof)
    assert "none failed" in page
    assert proof.ledger_head in page
    assert group.id_of("both")[0] in page


def test_bytes_that_somebody_else_has_too_are_no_clean_dataset(group: WithdrawalGroup) -> None:
    """`chi alone` shares the bytes of one segment with `ben alone`: a dataset of it is not disjoint."""
    number = withdraw(group)
    release_again(group, "ana alone", "chi alone")
    found = find_check(prove(group, number), "disjoint manifests")
    assert (found.outcome, found.figures) == ("failed", {"recordings": 0, "segments": 0, "sounds": 1, "latents": 1})


def test_a_release_that_holds_it_fails(group: WithdrawalGroup) -> None:
    number = withdraw(group)
    proof = prove(group, number, release="jam:2")
    assert not proof.has_passed
    found = find_check(proof, "disjoint manifests")
    assert (found.outcome, found.figures["recordings"], found.figures["segments"]) == ("failed", 2, 4)
    assert any("2 recordings that were taken back" in fault for fault in verify_proof(proof))


def test_no_release_yet(group: WithdrawalGroup) -> None:
    proof = prove(group, withdraw(group))
    assert proof.release is None
    assert "train again" in find_check(proof, "disjoint manifests").words


def test_an_erasure_is_looked_at_object_by_object(group: WithdrawalGroup) -> None:
    number = withdraw(group, erase="everything_derived")
    assert find_check(prove(group, number), "nothing left").outcome == "failed", "it is not done yet"
    finish_withdrawals(group.store, group.registry, StoreGovernanceWriter(group.store))
    done = find_check(prove(group, number), "nothing left")
    assert (done.outcome, done.figures["left"]) == ("passed", 0)
    assert done.figures["erased"] > 10
    group.store.put_blob(b"the sound of ben alone", ".wav")
    back = find_check(prove(group, number), "nothing left")
    assert (back.outcome, back.figures["left"]) == ("failed", 1)


def test_weights_that_differ_fail(group: WithdrawalGroup) -> None:
    number, card = withdraw(group), release_again(group, "ana alone")
    asked = []

    def remake(release: Release, times: int) -> list[str]:
        asked.append((release.version, times))
        return [card.weights.identity] * (times - 1) + ["other"]

    found = find_check(prove_withdrawal(group.store, number, ProofOptions(remakes=5), remake), "made again")
    assert asked == [("3", 5)]
    assert (found.outcome, found.figures) == ("failed", {"same": 4, "of": 5})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda proof: {"number": proof.number - 1}, "is not withdrawal"),
        (lambda proof: {"event": proof.event.replace('"ben"', '"ana"')}, "not signed by the service's key"),
        (lambda proof: {"service_key": "0" * 64}, "not signed by the service's key"),
        (lambda proof: {"ledger_head": "0" * 64}, "is not the one that the proof saw"),
        (lambda proof: {"ledger_number": proof.ledger_number + 1}, "ends before event"),
        (lambda proof: {"withdrawn": proof.withdrawn.model_copy(update={"recordings": ()})}, "not those that the ledger gives"),
        (lambda proof: {"dataset": proof.dataset.replace("a tone", "a drone")}, "cut or changed"),
        (lambda proof: {"dataset": "\n".join(proof.dataset.splitlines()[:-1])}, "cannot be read"),
    ],
)
def test_a_changed_proof_is_found(group: WithdrawalGroup, change: Any, words: str) -> None:
    number = withdraw(group)
    release_again(group, "ana alone")
    proof = prove(group, number)
    ledger = [data for _, data in read_events(group.store)]
    faults = verify_proof(proof.model_copy(update=change(proof)), ledger)
    assert any(words in fault for fault in faults), faults


def test_a_dataset_of_another_release_is_found(group: WithdrawalGroup) -> None:
    number = withdraw(group)
    release_again(group, "ana alone")
    proof = prove(group, number)
    other = group.datasets["all"].to_bytes().decode()
    faults = verify_proof(proof.model_copy(update={"dataset": other}))
    assert any("not the one that the release's card names" in fault for fault in faults)


def test_no_such_withdrawal_or_release(group: WithdrawalGroup) -> None:
    with pytest.raises(GovernanceError, match="99"):
        prove(group, 99)
    with pytest.raises(GovernanceError, match="no release jam:9"):
        prove(group, withdraw(group), release="jam:9")


def test_by_command(group: WithdrawalGroup, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = withdraw(group)
    release_again(group, "ana alone")
    out, page, ledger = tmp_path / "proof.json", tmp_path / "proof.html", tmp_path / "ledger.jsonl"
    command = ["prove", "withdrawal", str(number), "--store", group.store.url, "--out", str(out), "--page", str(page)]
    assert main(command) == 0
    assert "passed  disjoint manifests" in capsys.readouterr().out
    assert page.read_text().startswith("<!doctype html>")
    assert main(["ledger", "--store", group.store.url, "export", str(ledger)]) == 0
    assert main(["prove", "verify", str(out), "--ledger", str(ledger)]) == 0
    assert "agrees" in capsys.readouterr().out
    changed = json.loads(out.read_text())
    changed["withdrawn"]["recordings"] = []
    out.write_text(json.dumps(changed))
    assert main(["prove", "verify", str(out), "--ledger", str(ledger)]) == 2
    assert "FAULT: the recordings in the proof" in capsys.readouterr().out
    out.write_text("{}")
    assert main(["prove", "verify", str(out)]) == 1
    assert "this is no proof" in capsys.readouterr().err


def save_latents(group: WithdrawalGroup, splits: Sequence[str], segments: int) -> None:
    """Latents of one dataset of more takes of ben's, one a split, in place of all others. `segments`: of each take."""
    for entry in list(list_manifests(group.store, "latents")):
        group.store.delete(entry.key)
    key, takes, rows = next(iter(group.latents.values())), [digest(f"more {number}") for number in range(len(splits))], []
    said = {"contributor": "ben", "uses": ("store", "train"), "basis": "x", "agreement": group.agreement.digest}
    record_consents(group.store, [Consent.model_validate({"recording": take, **said}) for take in takes])
    for take, split in zip(takes, splits):
        where = {"recording": take, "split": split, "latents": key, "latent_frames": 2, "seconds": 1, "captions": ("x",)}
        rows += [LatentRow.model_validate({"segment": digest(f"{take} {number}"), **where}) for number in range(segments)]
    Manifest("latents", rows, {"dataset": "d" * 64, "base_digest": "b" * 64}).save(group.store)


TRAIN, HELD = "train", "held_out"


@pytest.mark.parametrize(
    ("splits", "segments", "words"),
    [
        ([TRAIN] * 20 + [HELD] * 20, 2, "40 withdrawn against 40 unseen segments (of the same players"),
        ([TRAIN] * 4 + [HELD] * 3, 4, "16 segments of 4 withdrawn recordings and 0 of 0 unseen ones"),  # on three nobody can rely
        ([TRAIN] * 4 + [HELD] * 4, 1, "4 segments of 4 withdrawn recordings and 0 of 0 unseen ones"),
        ([TRAIN] * 8, 4, "32 segments of 8 withdrawn recordings and 0 of 0 unseen ones"),
    ],
)
def test_withdrawn_segments_that_no_training_has_seen_are_the_others_of_a_membership_test(
    group: WithdrawalGroup, splits: list[str], segments: int, words: str
) -> None:
    save_latents(group, splits, segments)
    number, card, rng = withdraw(group), release_again(group, "ana alone"), np.random.default_rng(0)

    def measure_losses(weights: Any, base: str, rows: Any) -> Any:
        """Only the earlier release knows what it was trained on."""
        knows = weights is not None and weights.dataset != card.weights.dataset
        fell = [0.5 if knows and row.split == TRAIN else 0.0 for row in rows]
        return 1 - np.array(fell) + 0.01 * rng.standard_normal(len(rows))

    proof = prove_withdrawal(group.store, number, ProofOptions(before="jam:1"), refuse_remake, measure_losses)
    found = find_check(proof, "membership")
    assert words in found.words
    assert (found.outcome == "passed") == (len(splits) == 40)
    if found.outcome == "passed":
        assert find_check(proof, "membership before").figures["auc"] > 0.95


def test_a_wide_interval_proves_nothing(group: WithdrawalGroup) -> None:
    save_latents(group, [TRAIN] * 4 + [HELD] * 4, 2)
    number, rng = withdraw(group), np.random.default_rng(1)
    release_again(group, "ana alone")

    def measure_losses(weights: Any, base: str, rows: Any) -> Any:
        return rng.standard_normal(len(rows))

    found = find_check(prove_withdrawal(group.store, number, ProofOptions(), refuse_remake, measure_losses), "membership")
    assert found.outcome == "not known"
    assert "too few recordings" in found.words


def alone(scores: Any) -> list[Any]:
    """Each score is of a recording of its own."""
    return [np.array([score]) for score in scores]


class TestMembership:
    def test_scores_of_one_kind_allow_chance(self) -> None:
        rng = np.random.default_rng(0)
        found = judge_membership(alone(rng.standard_normal(200)), alone(rng.standard_normal(200)))
        assert found.allows_chance(0.0)
        assert found.low < found.auc < found.high
        assert found.high - found.low < 0.15

    def test_a_model_that_remembers_is_found(self) -> None:
        rng = np.random.default_rng(0)
        found = judge_membership(alone(rng.standard_normal(60) + 1), alone(rng.standard_normal(60)))
        assert not found.allows_chance(0.05)
        assert found.auc > 0.7

    def test_segments_of_one_recording_count_as_one_look(self) -> None:
        rng = np.random.default_rng(0)
        loose, tied = ([np.repeat(rng.standard_normal(n), 40 // n) for _ in range(20)] for n in (40, 1))
        widths = [judge_membership(one[:10], one[10:]).half_width for one in (loose, tied)]
        assert widths[1] > 3 * widths[0]
        assert [len(one) for one in group_scores(np.array([1.0, np.nan, 2.0, 3.0]), ["a", "b", "b", "a"])] == [2, 1]

    def test_ties_are_chance(self) -> None:
        assert compute_auc(np.zeros(5), np.zeros(5)) == 0.5
        assert compute_auc(np.array([1.0]), np.array([0.0])) == 1.0

    def test_copies_are_counted(self) -> None:
        ours, foreign = [play_tone(200, 1, 1.5), play_tone(700, 2, 1.5)], [play_tone(3000, 3, 1.5)]
        like, copies = find_nearest(ours, [ours[0].apply_gain(-6), *foreign])
        assert copies == 1
        assert find_nearest(ours, foreign)[1] == 0
        assert like > find_nearest(ours, foreign)[0]
