"""The whole journey through the same compiled pipeline that Kubeflow runs: takes in, a registered release out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audiotune.domain import manifest
from audiotune.domain.annotation import Annotation, save_annotation
from audiotune.domain.dataset import DatasetRow
from audiotune.domain.release import Release
from audiotune.domain.segment import Segment
from audiotune.errors import PipelineError
from audiotune.store import open_store
from pipelines.compile import compile_pipeline
from pipelines.demo_takes import make_takes
from pipelines.local import run_pipeline
from pipelines.recipe import load_recipe

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
AGREEMENT = Path(__file__).resolve().parents[2] / "agreement.example.toml"
RECIPE = """
name = "short"
[segment]
min_s = 0.3
max_s = 4.0
[encode]
base = "tiny"
[finetune]
base = "tiny"
steps = 6
batch_size = 4
checkpoint_every = 3
candidates = 2
seed = 1
[register]
name = "short"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journey")


@pytest.fixture(scope="module")
def takes(folder: Path) -> Path:
    every = sorted(make_takes(folder / "all").glob("*.wav"))
    few = folder / "takes"
    few.mkdir()
    for take in every[::5]:
        take.rename(few / take.name)
    return few


@pytest.fixture(scope="module")
def journey(folder: Path, takes: Path) -> dict[str, Any]:
    (folder / "short.toml").write_text(RECIPE)
    documents = compile_pipeline("full", load_recipe(folder / "short.toml"))
    arguments = {"source": str(takes), "agreement": str(AGREEMENT), "contributors": "ana,ben"}
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        return run_pipeline(documents, arguments, folder / "runs", str(folder / "store"))


def test_a_release_names_everybody_it_comes_from(journey: dict[str, Any], folder: Path, takes: Path) -> None:
    release = Release.model_validate_json(Path(journey["register"]["release"]).read_bytes())
    assert release.lineage.contributors == ("ana", "ben")
    assert len(release.lineage.recordings) == len(list(takes.iterdir()))
    store = open_store(str(folder / "store"))
    assert store.fetch(release.weights.weights).stat().st_size > 1_000_000
    rows = manifest.fetch_manifest(store, f"manifests/datasets/{release.lineage.dataset}.jsonl", "datasets", DatasetRow).rows
    assert {row.segment.id for row in rows} == set(release.lineage.segments)
    assert {row.split for row in rows} == {"train", "held_out"}
    assert {row.segment.recording for row in rows if row.split == "train"}.isdisjoint(
        row.segment.recording for row in rows if row.split == "held_out"
    )


def test_every_step_reports(journey: dict[str, Any]) -> None:
    for step in ("ingest", "segment", "annotate_merge", "finetune", "evaluate", "register"):
        page = Path(journey[step]["report"]).read_bytes()
        assert page.lower().startswith(b"<!doctype html>"), step
        assert 500 < len(page) < 3_000_000, step


def test_a_second_run_does_no_work_twice(journey: dict[str, Any], folder: Path, takes: Path) -> None:
    store = folder / "store"
    before = {path: path.stat().st_mtime_ns for path in (store / "blobs").rglob("*") if path.is_file()}
    documents = compile_pipeline("prepare", load_recipe(folder / "short.toml"))
    again = run_pipeline(documents, {"source": str(takes), "contributors": "ana,ben"}, folder / "again", str(store))
    after = {path: path.stat().st_mtime_ns for path in (store / "blobs").rglob("*") if path.is_file()}
    assert after == before
    assert again["segment"]["segments_key"] == journey["segment"]["segments_key"]


def test_members_words_reach_the_next_dataset(journey: dict[str, Any], folder: Path) -> None:
    from components.annotate_merge import step
    from components.annotate_merge.settings import Settings

    store = open_store(str(folder / "store"))
    segment = manifest.fetch_manifest(store, journey["segment"]["segments_key"], "segments", Segment).rows[0]
    save_annotation(store, Annotation(segment=segment.id, member="ana", words="like a whale in a tin can"))
    result = step.run_step(
        Settings(segments=journey["segment"]["segments_key"]),
        store,
        lambda share, words: None,
        dataset=folder / "d.jsonl",
        report=folder / "d.html",
        metrics=folder / "d.json",
    )
    rows = manifest.fetch_manifest(store, result.parameters["dataset_key"], "datasets", DatasetRow).rows
    texts = next(row.caption.all_texts for row in rows if row.segment.id == segment.id)
    assert any("whale in a tin can" in text for text in texts)


def test_a_failing_step_says_why_in_one_line(folder: Path) -> None:
    documents = compile_pipeline("prepare", load_recipe("demo"))
    arguments = {"source": str(folder / "nowhere"), "agreement": str(AGREEMENT), "contributors": "ana"}
    with pytest.raises(PipelineError, match="nowhere") as caught:
        run_pipeline(documents, arguments, folder / "failed", str(folder / "store2"))
    assert str(caught.value).startswith("ingest: ")
    assert "step.log" in caught.value.cure
    assert not list((folder / "store2").rglob("*.jsonl"))


def test_a_stranger_on_the_take_is_refused(folder: Path, takes: Path) -> None:
    documents = compile_pipeline("prepare", load_recipe("demo"))
    arguments = {"source": str(takes), "agreement": str(AGREEMENT), "contributors": "zoe"}
    with pytest.raises(PipelineError, match="zoe"):
        run_pipeline(documents, arguments, folder / "stranger", str(folder / "store3"))
    assert not list((folder / "store3" / "blobs").rglob("*.wav"))


def test_outputs_are_json(journey: dict[str, Any]) -> None:
    assert json.loads(json.dumps(journey["evaluate"]["metrics"]))
