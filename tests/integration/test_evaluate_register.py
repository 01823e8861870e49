"""register against a real MLflow, and evaluate with a real (small, random) model."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from audiotune.domain.release import Evaluation, Release, WeightsPointer
from audiotune.errors import ConsentError, DecisionError, RegistryError
from audiotune.governance import publish_agreement
from audiotune.governance.agreement_record import DecisionRule
from audiotune.governance.decisions import cast_vote, open_proposal
from audiotune.registry import connection, releases
from audiotune.reporting.progress import ignore_progress
from audiotune.store.port import digest_from_key
from components.executor import StepResult
from components.register.settings import Settings as RegisterSettings
from components.register.step import run_step as register
from tests.fakes.group_release import Group, group

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


def test_a_champion_waits_for_the_groups_decision(ours: Group, name: str) -> None:
    rules = {"champion": DecisionRule(needs="majority", quorum=0.1)}
    publish_agreement(ours.store, ours.agreement.model_copy(update={"version": 2, "decisions": rules}))
    result = registered(ours, name)
    assert result.metrics["champion"] == 0
    assert releases.list_aliases(name) == {"candidate": "1"}
    assert f"release {name}, version 1" in ours.paths["report"].read_text()
    other = open_proposal(ours.store, "ana", "champion", "Another one", change={"release": name, "version": "2"})
    asked = open_proposal(ours.store, "ana", "champion", "Let it play", change={"release": name, "version": "1"})
    for who in [member.id for member in ours.agreement.members if not member.left]:
        for proposal in (other, asked):
            with contextlib.suppress(DecisionError):  # decided before everybody voted
                cast_vote(ours.store, who, proposal.id, "no" if proposal is asked else "yes")
    registered(ours, name)
    assert releases.list_aliases(name) == {"candidate": "1"}, "the group said no, and yes to another version"
    again = open_proposal(ours.store, "ben", "champion", "Do let it play", change={"release": name, "version": "1"})
    for who in [member.id for member in ours.agreement.members if not member.left]:
        with contextlib.suppress(DecisionError):
            cast_vote(ours.store, who, again.id, "yes")
    assert registered(ours, name).metrics["champion"] == 1
    assert releases.list_aliases(name) == {"candidate": "1", "champion": "1"}


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


def judged(world: tuple[object, Path], folder: Path, weights: Path) -> tuple[StepResult, dict[str, Path]]:
    """Evaluates the random model in `weights` as if it had been tuned."""
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
    assert evaluation.weights == json.loads(paths["weights"].read_text())["weights_digest"]
    page = paths["report"].read_bytes()
    assert page.startswith(b"<!doctype html>")
    assert len(page) < 3_000_000
    assert page.count(b"<audio") == 12


def test_another_model_has_other_numbers_and_nothing_is_done_twice(world: tuple[object, Path], tmp_path: Path) -> None:
    from tests.fakes.small_training import base_folder

    made, _ = world
    weights = base_folder(tmp_path / "tuned", seed=3)
    first, paths = judged(world, tmp_path, weights)
    assert first.metrics["kad_before"] != first.metrics["kad_after"]
    assert first.metrics["loss_held_out_before"] != first.metrics["loss_held_out_after"]
    root = Path(made.store.url)  # type: ignore[attr-defined]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    page = paths["report"].read_bytes()
    again, paths = judged(world, tmp_path, weights)
    assert again == first
    assert paths["report"].read_bytes() == page
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before
