"""Whoever reaches MLflow may write there what they like: the service asks the store whom the weights were trained on."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from audiotune.domain.lineage import find_bound_dataset
from audiotune.domain.release import Release
from audiotune.errors import ConsentError, LineageError
from audiotune.registry import connection, releases
from audiotune.reporting.progress import ignore_progress
from components.register.settings import Settings as RegisterSettings
from components.register.step import run_step
from services.generation.engine.release_loader import ReleaseLoader
from services.generation.settings import GenerationSettings
from tests.fakes.group_release import Group, group

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture
def ours(tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Group:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return group(tmp_path)


@pytest.fixture
def name() -> str:
    return f"release-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def loader(ours: Group, name: str) -> ReleaseLoader:
    return ReleaseLoader(GenerationSettings(release=name, device="cpu"), ours.store)


def register(ours: Group, name: str) -> str:
    version = run_step(RegisterSettings(name=name), ours.store, ignore_progress, **ours.paths).parameters["version"]
    return str(version)


def write_version(truth: Release, folder: Path, **changes: object) -> str:
    """A version of our own making, with plain calls of MLflow, under the alias `champion`."""
    client = connection.get_mlflow_client()
    told = {**json.loads(truth.model_dump_json()), **changes, "version": ""}
    digest = told["weights"]["weights_digest"]
    (folder / "release.json").write_text(json.dumps(told))
    run, place = client.create_run("0"), f"release/{digest[:16]}"
    client.log_artifact(run.info.run_id, str(folder / "release.json"), place)
    source, tags = f"{run.info.artifact_uri}/{place}", {"digest": digest}
    made = client.create_model_version(truth.name, source, run_id=run.info.run_id, tags=tags, await_creation_for=0)
    client.set_registered_model_alias(truth.name, "champion", made.version)
    return str(made.version)


def test_a_lie_is_refused_and_the_next_registration_mends_it(
    ours: Group, name: str, loader: ReleaseLoader, tmp_path: Path
) -> None:
    version = register(ours, name)
    assert find_bound_dataset(ours.store, ours.pointer) == ours.dataset.digest
    assert ours.store.exists(ours.dataset.key), "the service reads the people there"
    truth = releases.read_release(name, version)
    loader.require_consent(truth)
    lineage = {**json.loads(truth.lineage.model_dump_json()), "recordings": {}}
    lie = write_version(truth, tmp_path, lineage=lineage, name="another")
    assert releases.read_release(name, lie).name == name, "a version does not say itself whose place it takes"
    assert loader.wanted_versions() == {name: lie}
    with pytest.raises(LineageError, match="another lineage"):
        loader.load(name, lie)

    assert register(ours, name) == lie, "the newest version of these weights"
    mended = releases.read_release(name, lie)
    assert mended.lineage == truth.lineage
    loader.require_consent(mended)
    assert Release.model_validate_json(ours.store.get(mended.key)).lineage == truth.lineage


def test_a_lie_does_not_get_into_the_stores_card(ours: Group, name: str, tmp_path: Path) -> None:
    truth = releases.read_release(name, register(ours, name))
    write_version(truth, tmp_path, lineage={**json.loads(truth.lineage.model_dump_json()), "recordings": {}}, notice="")
    register(ours, name)
    cards = [Release.model_validate_json(ours.store.get(key)) for key in ours.releases()]
    assert {card.lineage.contributors for card in cards} == {("ana", "ben", "chi")}


def test_withdrawn_weights_do_not_come_back_by_alias_name_or_copy(
    ours: Group, name: str, loader: ReleaseLoader, tmp_path: Path
) -> None:
    first = register(ours, name)
    truth = releases.read_release(name, first)
    ours.trained(b"second weights", passed=True)
    register(ours, name)
    ours.withdraw("ana")
    releases.set_alias(name, "champion", first)
    with pytest.raises(ConsentError, match="ana"):
        loader.load(name, first)
    copied = ours.store.put_blob(b"first weights, saved again", ".safetensors")
    weights = json.loads(truth.weights.model_dump_json())
    weights = {**weights, "weights": copied, "weights_digest": Path(copied).stem}
    clean = {recording: people for recording, people in truth.lineage.recordings.items() if "ana" not in people}
    lineage = {**json.loads(truth.lineage.model_dump_json()), "recordings": clean}
    with pytest.raises(LineageError, match="does not know what these weights were trained on"):
        loader.load(name, write_version(truth, tmp_path, weights=weights, lineage=lineage))
