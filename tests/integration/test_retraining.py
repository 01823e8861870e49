"""A release is trained again without a member, by one command: with its own settings, and only what changed is computed anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from audiotune.cli import main
from audiotune.domain.lineage import read_dataset
from audiotune.domain.release import Release
from audiotune.governance.member_acts import append_member_event
from audiotune.store import Store, open_store
from audiotune.withdrawal.proof_record import WithdrawalProof
from audiotune.withdrawal.retraining import find_withdrawn_hashes
from audiotune.withdrawal.store_traces import StoreTraces
from pipelines.compile import compile_pipeline
from pipelines.demo_takes import make_takes
from pipelines.local import run_pipeline
from pipelines.recipe import load_recipe
from tests.integration.test_journey import AGREEMENT, RECIPE

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


@dataclass(frozen=True)
class Trained:
    """A release of ana's and ben's takes, made with a recipe that no file has any more."""

    folder: Path
    store: Store


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("retraining")
    recipe = folder / "short.toml"
    recipe.write_text(f"{RECIPE}[evaluate]\nsounds = 4\n")
    takes = sorted(make_takes(folder / "all").glob("*.wav"))[::5]
    url = str(folder / "store")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        for who, own in (("ana", takes[::2]), ("ben", takes[1::2])):
            (folder / who).mkdir()
            for take in own:
                take.rename(folder / who / take.name)
            source = {"source": str(folder / who), "agreement": str(AGREEMENT), "contributors": who}
            run_pipeline(compile_pipeline("prepare", load_recipe(recipe)), source, folder / f"prepare {who}", url)
        run_pipeline(compile_pipeline("tune", load_recipe(recipe)), {}, folder / "tune", url)
    recipe.unlink()
    return Trained(folder, open_store(url))


def read_cards(store: Store) -> list[Release]:
    return sorted(StoreTraces(store).cards, key=lambda card: card.made)


def test_a_release_is_trained_again_without_a_member(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = trained.store
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("AUDIOTUNE_STORE", store.url)
    (first,) = read_cards(store)
    assert first.training is not None
    assert set(first.training.settings) == {"annotate_merge", "encode", "finetune", "unwrap", "evaluate", "register"}
    assert (first.training.took_s or 0) > 0
    number = append_member_event(store, "ben", "withdrawal_recorded", {})
    encoded = {entry.key: entry.modified for entry in store.list("latents/")}

    code = main(
        ["withdrawal", "--store", store.url, "retrain", str(number), "--recipe", "demo", "--out", str(trained.folder / "out")]
    )
    assert code == 0, capsys.readouterr().err

    old, new = read_cards(store)
    assert old == first
    assert (new.name, new.lineage.contributors) == (old.name, ("ana",))
    assert new.training is not None
    assert {**new.training.settings} == {**first.training.settings}  # six steps of training, not the demo's 240
    assert {entry.key: entry.modified for entry in store.list("latents/")} == encoded  # nothing was encoded anew
    gone, dataset = find_withdrawn_hashes(store), read_dataset(store, new.lineage.dataset)
    assert gone.recordings.isdisjoint(row.segment.recording for row in dataset.rows)
    assert gone.segments.isdisjoint(row.segment.id for row in dataset.rows)
    assert gone.sounds.isdisjoint(row.segment.blob for row in dataset.rows)
    latents = {row.latents for row in StoreTraces(store).latents if row.segment in set(new.lineage.segments)}
    assert latents
    assert gone.latents.isdisjoint(latents)

    prove_it(trained, number, capsys)


def prove_it(trained: Trained, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The proof of that withdrawal, with two trainings of the same dataset and recipe, each in an empty store."""
    out, ledger, url = trained.folder / "proof.json", trained.folder / "ledger.jsonl", trained.store.url
    capsys.readouterr()
    assert main(["prove", "withdrawal", str(number), "--store", url, "--remakes", "2", "--out", str(out)]) == 0
    print(said := capsys.readouterr().out)
    proof = WithdrawalProof.model_validate_json(out.read_bytes())
    outcomes = {check.name: check.outcome for check in proof.checks}
    assert outcomes["disjoint manifests"] == "passed"
    assert outcomes["made again"] == "passed", said
    assert outcomes["nearest copies"] == "passed", said
    assert "2 of 2 trainings" in said
    assert main(["ledger", "--store", url, "export", str(ledger)]) == 0
    assert main(["prove", "verify", str(out), "--ledger", str(ledger)]) == 0
