"""GPU presets: what each resolves to, for the service and for the steps of a run; every field can be overridden."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from deploy.chart.service_values import Preset
from pipelines.recipe import RECIPES, Cluster
from tests.rendered_chart import CHART, merged, objects, one

PRESETS = yaml.safe_load((CHART / "files" / "presets.yaml").read_text())
NAMES = tuple(PRESETS)


def generation(values: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects(values), "Deployment", "generation")["spec"]["template"]["spec"]
    return spec


def cluster(values: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(one(objects(values), "ConfigMap", "cluster")["data"]["cluster.json"])
    return made


def test_presets_are_those_of_the_values() -> None:
    assert Preset.__args__ == NAMES  # type: ignore[attr-defined]


def test_every_preset_names_a_recipe_that_ships() -> None:
    shipped = {path.stem for path in RECIPES.glob("*.toml")}
    assert {preset["pipelines"]["recipe"] for preset in PRESETS.values()} <= shipped


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_places_the_service(name: str) -> None:
    preset, spec = PRESETS[name], generation({"generation": {"gpu": {"preset": name}}})
    container = spec["containers"][0]
    assert spec.get("nodeSelector", {}) == preset["nodeSelector"]
    assert spec.get("tolerations", []) == preset["tolerations"]
    assert spec.get("runtimeClassName", "") == preset["runtimeClassName"]
    gpus = {key: value for key, value in container["resources"]["limits"].items() if "/" in key}
    assert gpus == ({preset["resource"]: preset["count"]} if preset["count"] else {})
    assert {v["name"]: v for v in spec["volumes"]}["shared-memory"]["emptyDir"]["sizeLimit"] == preset["generation"][
        "sharedMemory"
    ]
    environment = {e["name"]: e.get("value") for e in container["env"]}
    assert environment["AUDIOTUNE_GENERATION_BATCH"] == str(preset["generation"]["batchSize"])
    assert environment["AUDIOTUNE_GENERATION_DEVICE"] == ("cuda" if preset["count"] else "cpu")


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_tells_the_steps(name: str) -> None:
    preset, facts = PRESETS[name], cluster({"pipelines": {"gpu": {"preset": name}}})
    fields = Cluster.model_validate({key: value for key, value in facts["cluster"].items() if key in Cluster.model_fields})
    assert fields.gpus == preset["count"]
    assert fields.gpu_node_selector == preset["nodeSelector"]
    assert fields.shared_memory == preset["pipelines"]["sharedMemory"]
    assert fields.store == "s3://audio-tune"
    assert (facts["recipe"], facts["batch_size"]) == (preset["pipelines"]["recipe"], preset["pipelines"]["batchSize"])


def test_own_labels_and_taints_are_added_to_the_presets() -> None:
    own = {"nodeSelector": {"room": "cellar"}, "tolerations": [{"key": "loud", "operator": "Exists"}]}
    spec = generation({"generation": merged({"gpu": {"preset": "l4-24gb"}}, own)})
    assert spec["nodeSelector"] == {"room": "cellar", "nvidia.com/gpu.product": "NVIDIA-L4"}
    assert [t["key"] for t in spec["tolerations"]] == ["loud", "nvidia.com/gpu"]


def test_a_gpu_is_not_asked_for_twice_in_an_upgrade() -> None:
    found = one(objects({"generation": {"gpu": {"preset": "l4-24gb"}}}), "Deployment", "generation")
    assert found["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
