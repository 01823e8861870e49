"""register against a real MLflow, and evaluate with a real (small, random) model."""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from audiotune.domain.release import Evaluation, Release, WeightsPointer
from audiotune.errors import ConsentError, ModelError, RegistryError
from audiotune.governance import publish_agreement
from audiotune.governance.agreement_record import DecisionRule
from audiotune.governance.decisions import cast_vote, read_proposals
from audiotune.governance.ledger.ledger import Ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.registry import connection, releases
from audiotune.reporting.progress import ignore_progress
from audiotune.store.port import digest_from_key
from audiotune.withdrawal.housekeeping import follow_consent
from components.executor import StepResult
from components.register.settings import Settings as RegisterSettings
from components.register.step import run_step as register
from services.generation.engine.release_loader import ReleaseLoader
from services.generation.settings import GenerationSettings
from tests.fakes.group_release import Group, group
from tests.fakes.reverse_proxy import proxying

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture
def ours(tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Group:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return group(tmp_path)


@pytest.fixture
def name() -> str:
    return f"release-{uuid.uuid4().hex[:8]}"


def registered(ours: Group, name: str) -> StepResult:
    return register(RegisterSettings(name=name), ours.store, ignore_progress, **ours.paths)


def test_champions_come_and_stay(ours: Group, name: str) -> None:
    assert registered(ours, name).parameters["version"] == "1"
    assert releases.list_aliases(name) == {"candidate": "1", "champion": "1"}
    first = releases.read_release(name, "1")
    assert first == Release.model_validate_json(ours.paths["release"].read_bytes())
    assert ours.store.exists(first.key)
    assert first.lineage.contributors == ("ana", "ben", "chi")
    assert first.lineage.annotators == ("ana",)

    assert registered(ours, name).parameters["version"] == "1", "the same weights again"
    assert len(releases.list_releases(name)) == 1

    ours.trained(b"second weights", passed=False, reasons=("40% of its sounds copy a training segment",))
    result = registered(ours, name)
    assert result.parameters["version"] == "2"
    assert result.metrics["champion"] == 0
    assert releases.list_aliases(name) == {"candidate": "2", "champion": "1"}, "the champion stays when the gate fails"
    assert "Not champion: the gate did not pass: 40% of its sounds copy" in ours.paths["report"].read_text()

    ours.trained(b"third weights", passed=True)
    registered(ours, name)
    assert releases.list_aliases(name) == {"candidate": "3", "champion": "3"}

    ours.trained(b"second weights", passed=True)  # judged anew with other knobs
    assert registered(ours, name).parameters["version"] == "2"
    assert releases.read_release(name, "2").evaluation.passed
    assert connection.get_mlflow_client().get_model_version(name, "2").tags["gate"] == "passed"
    assert releases.list_aliases(name)["champion"] == "3", "an old version does not push a newer champion off"


def vote_yes(ours: Group, proposal: int) -> None:
    for who in ("ana", "ben", "chi"):
        if not read_proposals(ours.store)[proposal].outcome:
            cast_vote(ours.store, who, proposal, "yes")


def test_register_asks_the_group_and_its_yes_is_carried_out_once(ours: Group, name: str) -> None:
    """Without a rule version 1 plays at once; then register proposes, and the group's yes needs no second run of it."""
    registered(ours, name)
    rules = {"champion": DecisionRule(needs="majority", quorum=0.1)}
    publish_agreement(ours.store, ours.agreement.model_copy(update={"version": 2, "decisions": rules}))
    loader = ReleaseLoader(GenerationSettings(release=name), ours.store)
    ours.trained(b"second weights", passed=True)
    result = registered(ours, name)
    assert result.metrics["champion"] == 0
    ((number, asked),) = read_proposals(ours.store).items()
    assert (asked.by, asked.change) == ("", {"release": name, "version": "2"})
    assert f"the group decides: proposal {number} is open until" in ours.paths["report"].read_text()
    registered(ours, name)  # once more asks no second time
    assert list(read_proposals(ours.store)) == [number]
    releases.set_alias(name, "champion", "1")
    assert follow_consent(ours.store, releases) == []
    assert loader.wanted_versions() == {name: "1"}

    vote_yes(ours, number)
    assert read_proposals(ours.store)[number].executed
    assert loader.wanted_versions() == {name: "2"}, "what plays is the ledger's, whatever the registry's alias says"
    assert releases.list_aliases(name)["champion"] == "1"
    with ThreadPoolExecutor(2) as pool:  # two executors at once
        done = list(pool.map(lambda _: follow_consent(ours.store, releases), range(2)))
    assert {str(change) for changes in done for change in changes} == {f"{name} version 2: the champion, as the group decided"}
    assert releases.list_aliases(name) == {"candidate": "2", "champion": "2"}
    assert follow_consent(ours.store, releases) == []
    releases.set_alias(name, "champion", "1")  # by somebody who may only write into the registry
    assert loader.wanted_versions() == {name: "2"}
    assert registered(ours, name).metrics["champion"] == 1
    assert releases.list_aliases(name)["champion"] == "2"
    executed = [one.executed for one in read_proposals(ours.store).values()]
    assert executed == [one.executed for one in Ledger(ours.store).read_state().proposals.values()]


def test_a_version_holds_all_that_tells_its_story(ours: Group, name: str) -> None:
    registered(ours, name)
    client = connection.get_mlflow_client()
    version = client.get_model_version(name, "1")
    assert version.tags["contributors"] == "ana, ben, chi"
    assert version.tags["digest"] == ours.pointer.weights_digest
    place = f"release/{ours.pointer.weights_digest[:16]}"
    files = {Path(f.path).name for f in client.list_artifacts(version.run_id, place)}
    story = {"card.md", "card.html", "NOTICE", "recipe.json", "evaluation.json", "model_config.json", "release.json"}
    assert files == story, "and no weights: they stay in the store"
    assert client.get_run(version.run_id).data.metrics["kad_after"] == 3.0


def test_a_version_deleted_by_hand_does_not_stop_the_next(ours: Group, name: str) -> None:
    registered(ours, name)
    connection.get_mlflow_client().delete_model_version(name, "1")
    ours.trained(b"second weights", passed=True)
    version = registered(ours, name).parameters["version"]
    assert releases.read_release(name, version).version == version


def test_who_withdraws_stops_the_release(ours: Group, name: str) -> None:
    ours.withdraw("ana")
    with pytest.raises(ConsentError, match="ana has not agreed to release"):
        registered(ours, name)
    assert releases.list_releases(name) == []
    assert not ours.releases()


@pytest.mark.parametrize(
    ("call", "versions"),
    [
        ("POST /api/2.0/mlflow/model-versions/create", []),  # MLflow takes it in
        ("POST /api/2.0/mlflow/registered-models/alias 1", ["1"]),  # its card is written, the group was asked
        ("POST /api/2.0/mlflow/registered-models/alias 2", ["1"]),  # it is to be the champion
    ],
)
def test_who_withdraws_while_it_is_registered_is_heard(
    ours: Group, name: str, mlflow_server: str, monkeypatch: pytest.MonkeyPatch, call: str, versions: list[str]
) -> None:
    """The withdrawal falls between the last question and what MLflow then writes."""
    seen: list[str] = []
    wanted, _, times = call.partition(" /")[2].partition(" ")

    def withdraw(method: str, path: str) -> None:
        if (method, path) == ("POST", f"/{wanted}"):
            seen.append(path)
            if len(seen) == int(times or 1):
                append_member_event(ours.store, "ana", "withdrawal_recorded", {"why": "I changed my mind"})

    with proxying(urlsplit(mlflow_server).port or 0, "", strips=False, before=withdraw) as (url, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.raises(ConsentError, match="ana has not agreed to release"):
            registered(ours, name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    assert len(seen) >= int(times or 1)
    assert releases.list_aliases(name) == {}
    assert [one.version for one in releases.list_releases(name)] == versions
    assert len(ours.releases()) == len(versions)
    assert not ours.paths["release"].exists()
    for version in versions:  # it says in MLflow and in the studio why it may not play
        tags = connection.get_mlflow_client().get_model_version(name, version).tags
        assert "ana has not agreed to release" in tags["withdrawn"]


def test_a_version_that_was_there_before_stays_where_its_next_registration_is_refused(
    ours: Group, name: str, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(ours, name)
    ours.write(Evaluation(metrics={"kad_after": 2.0}, passed=True, weights=ours.pointer.weights_digest))  # evaluated anew

    def withdraw(method: str, path: str) -> None:
        if path.endswith("model-versions/set-tag"):
            append_member_event(ours.store, "ana", "withdrawal_recorded", {"why": "I changed my mind"})

    with proxying(urlsplit(mlflow_server).port or 0, "", strips=False, before=withdraw) as (url, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.raises(ConsentError, match="ana has not agreed to release"):
            registered(ours, name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    assert [one.version for one in releases.list_releases(name)] == ["1"]
    assert len(ours.releases()) == 1


def test_a_dead_mlflow_leaves_nothing_behind(ours: Group, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_URI"):
        registered(ours, name)
    assert time.monotonic() - began < 60
    assert not ours.paths["release"].exists()
    assert not ours.releases()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Path]:
    from tests.fakes import small_training

    made = small_training.make_small_training(tmp_path_factory.mktemp("world"))
    return made, made.encoded()


def judged(
    world: tuple[object, Path], folder: Path, weights: Path, adapter: dict[str, object] | None = None
) -> tuple[StepResult, dict[str, Path]]:
    """Evaluates the random model in `weights`, with an adapter beside it, as if it had been tuned."""
    from audiotune.store import tensor_files
    from components.evaluate.settings import Settings
    from components.evaluate.step import run_step
    from tests.fakes.small_training import SmallTraining

    made, latents = world
    assert isinstance(made, SmallTraining)
    key = made.store.put_blob(weights / "model.safetensors", ".safetensors")
    about = made.latents().meta
    pointer = WeightsPointer(
        weights=key,
        weights_digest=digest_from_key(key) or "",
        config=made.store.put_blob(weights / "model_config.json", ".json"),
        files={f"tokenizer/{p.name}": made.store.put_blob(p, p.suffix) for p in sorted((weights / "tokenizer").iterdir())},
        adapter=tensor_files.store_tensors(made.store, adapter, {"scale": "1.0"}) if adapter else "",
        base=str(made.base),
        base_digest=about["base_digest"],
        dataset=about["dataset"],
    )
    (folder / "weights").write_text(pointer.model_dump_json())
    paths = {"weights": folder / "weights", "latents": latents, "dataset": made.dataset}
    paths |= {name: folder / name for name in ("evaluation", "report", "metrics")}
    return run_step(Settings(sounds=3, train_sounds=1, steps=3, loss_rows=3), made.store, ignore_progress, **paths), paths


def test_a_model_evaluated_against_itself_is_not_nearer(world: tuple[object, Path], tmp_path: Path) -> None:
    made, _ = world
    result, paths = judged(world, tmp_path, made.base)  # type: ignore[attr-defined]
    values = result.metrics
    for pair in ("kad", "log_mel_distance", "log_mel_distance_train", "loss_held_out", "loss_train"):
        assert values[f"{pair}_before"] == pytest.approx(values[f"{pair}_after"]), pair
    assert all(np.isfinite(value) for value in values.values())
    assert result.parameters["passed"] is False
    evaluation = Evaluation.model_validate_json(paths["evaluation"].read_bytes())
    assert any("KAD" in reason for reason in evaluation.reasons)
    assert evaluation.metrics["effect_db"] == 0
    assert any("it has no effect: with and without the training" in reason for reason in evaluation.reasons)
    assert evaluation.weights == json.loads(paths["weights"].read_text())["weights_digest"]
    page = paths["report"].read_bytes()
    assert page.startswith(b"<!doctype html>")
    assert len(page) < 3_000_000
    assert page.count(b"<audio") == 12


def test_an_adapter_of_zeros_is_refused_and_the_cure_is_named(world: tuple[object, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from audiotune.store.tensor_files import wrap_tensor

    made, _ = world
    whole = load_file(made.base / "model.safetensors")  # type: ignore[attr-defined]
    layer = next(name.removesuffix(".weight") for name in whole if ".layers." in name and name.endswith("to_out.weight"))
    rows, columns = whole[f"{layer}.weight"].shape
    a, b = wrap_tensor(torch.randn(2, columns)), wrap_tensor(torch.zeros(rows, 2))
    result, paths = judged(world, tmp_path, made.base, {f"{layer}.lora_A": a, f"{layer}.lora_B": b})  # type: ignore[attr-defined]
    assert result.parameters["passed"] is False
    reason = next(r for r in Evaluation.model_validate_json(paths["evaluation"].read_bytes()).reasons if "no effect" in r)
    assert "an adapter of zeros" in reason


def test_another_model_has_other_numbers_and_nothing_is_done_twice(world: tuple[object, Path], tmp_path: Path) -> None:
    from tests.fakes.small_training import base_folder

    made, _ = world
    weights = base_folder(tmp_path / "tuned", seed=3)
    first, paths = judged(world, tmp_path, weights)
    assert first.metrics["kad_before"] != first.metrics["kad_after"]
    assert first.metrics["effect_db"] > 0
    assert first.metrics["loss_held_out_before"] != first.metrics["loss_held_out_after"]
    root = Path(made.store.url)  # type: ignore[attr-defined]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    page = paths["report"].read_bytes()
    again, paths = judged(world, tmp_path, weights)
    assert again == first
    assert paths["report"].read_bytes() == page
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before


def test_several_checkpoints_are_judged_and_register_takes_the_chosen_one(
    world: tuple[object, Path], tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A run that goes astray: its first checkpoint is the base nearly, its last is far off."""
    from audiotune.domain.release import CheckpointPointer
    from components.evaluate.settings import Settings
    from components.evaluate.step import run_step as evaluate
    from components.finetune.settings import Settings as FinetuneSettings
    from components.finetune.step import run_step as finetune
    from components.unwrap.settings import Settings as UnwrapSettings
    from components.unwrap.step import run_step as unwrap

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    made, latents = world
    store, dataset = made.store, made.dataset  # type: ignore[attr-defined]
    at = {key: tmp_path / key for key in ("checkpoint", "weights", "evaluation", "release", "report", "metrics")}
    quiet = {"validate_rows": 0, "demos": 0, "experiment": "", "threads": 1, "checkpoint_every": 1000, "keep_last": 1}
    tune = FinetuneSettings.model_validate({"base": str(made.base), "steps": 3, "candidates": 3, "batch_size": 4, **quiet})  # type: ignore[attr-defined]
    known = {"checkpoint": at["checkpoint"], "report": at["report"], "metrics": at["metrics"]}
    finetune(tune, store, ignore_progress, latents=latents, dataset=dataset, **known)
    unwrap(UnwrapSettings(), store, ignore_progress, checkpoint=at["checkpoint"], weights=at["weights"], metrics=at["metrics"])
    pointer = WeightsPointer.model_validate_json(at["weights"].read_bytes())
    assert [Path(key).stem for key in pointer.earlier] == ["000000001", "000000002"]

    settings = Settings(sounds=3, train_sounds=0, steps=3, loss_rows=0, screening_sounds=2, gate_held_out=0)
    paths = {"weights": at["weights"], "latents": latents, "dataset": dataset}
    outputs = {key: at[key] for key in ("evaluation", "report", "metrics")}
    evaluate(settings, store, ignore_progress, **paths, **outputs)
    result = Evaluation.model_validate_json(at["evaluation"].read_bytes())
    assert [one.step for one in result.checkpoints] == [1, 2, 3]
    assert sum(one.chosen for one in result.checkpoints) == 1
    assert any(one.on_frontier for one in result.checkpoints)
    chosen = result.chosen or pointer
    assert next(one.step for one in result.checkpoints if one.chosen) == chosen.step
    assert result.choice.startswith(f"step {chosen.step} was chosen of the checkpoints 1, 2, 3: ")
    assert result.choice in at["report"].read_text()
    assert (result.weights, result.adapter) == (chosen.weights_digest, chosen.adapter_digest)

    # whichever it was: the other way round register must take the other weights, too
    from components.evaluate.checkpoint_choice import store_candidate

    earlier = store_candidate(store, pointer, pointer.earlier[0])
    facts = {"chosen": earlier, "weights": earlier.weights_digest}
    at["evaluation"].write_text(result.model_copy(update=facts).model_dump_json())
    inputs = {key: at[key] for key in ("weights", "evaluation", "release", "report", "metrics")}
    register(RegisterSettings(name=name), store, ignore_progress, dataset=dataset, **inputs)
    release = Release.model_validate_json(at["release"].read_bytes())
    assert (release.weights, release.evaluation.chosen) == (earlier, None)
    assert release.weights.step == 1
    assert result.choice in at["report"].read_text(), "the card says why"
    assert connection.get_mlflow_client().get_model_version(name, "1").tags["choice"] == result.choice

    foreign = earlier.model_copy(update={"base_digest": "9" * 64})
    at["evaluation"].write_text(result.model_copy(update={"chosen": foreign}).model_dump_json())
    with pytest.raises(ModelError, match="chose weights of another training"):
        register(RegisterSettings(name=name), store, ignore_progress, dataset=dataset, **inputs)
    assert CheckpointPointer.model_validate_json(at["checkpoint"].read_bytes()).step == 3
