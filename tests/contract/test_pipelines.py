"""Compiled pipelines: what runs everywhere. Goldens come from `make golden` with recipe first_release."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from audiotune.errors import PipelineError, SettingsError
from audiotune.stable_audio.known_bases import find_known_base
from components.finetune.nodes.node_resources import VARIABLE, NodeResources
from pipelines import chart
from pipelines.arguments import convert_arguments
from pipelines.cluster.settings import Cluster, GpuToleration, StepImages, apply_images, apply_preset, load_cluster
from pipelines.compile import compile_pipeline, compile_structure
from pipelines.documents import PIPELINES, collect_tasks, compute_version_name, to_yaml
from pipelines.finish import finish_pipeline
from pipelines.form import build_base_choices, build_choices
from pipelines.lint import find_faults
from pipelines.recipe import RECIPES, STEPS, load_recipe, load_step_settings

GOLDEN = Path(__file__).parent / "golden"
Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def documents() -> dict[str, Documents]:
    recipe = load_recipe("first_release")
    return {name: compile_pipeline(name, recipe) for name in PIPELINES}


@pytest.mark.parametrize("name", PIPELINES)
def test_compiled_pipeline_is_the_golden_one(documents: dict[str, Documents], name: str) -> None:
    golden = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    assert documents[name] == golden, f"{name} changed: read the difference after `make golden`, then commit it"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_loads_and_compiles(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert {t["componentRef"]["name"] for t in collect_tasks(compile_pipeline("full", recipe)[0]).values()} == {
        f"comp-{step.replace('_', '-')}" for step in STEPS
    }


def test_a_misspelt_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('name = "r"\n[finetune]\nstepz = 3\n')
    with pytest.raises(SettingsError, match="finetune.stepz"):
        load_recipe(tmp_path / "r.toml")


def test_a_value_out_of_bounds_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('name = "r"\n[finetune]\nsteps = -3\n')
    with pytest.raises(SettingsError, match="finetune.steps"):
        load_recipe(tmp_path / "r.toml")


def test_an_unknown_recipe_names_those_that_ship() -> None:
    with pytest.raises(SettingsError, match="first_release"):
        load_recipe("nosuch")


@pytest.mark.parametrize("step", STEPS)
def test_compiled_component_and_step_settings_agree(documents: dict[str, Documents], step: str) -> None:
    module = importlib.import_module(f"components.{step}.settings")
    component = documents["full"][0]["components"][f"comp-{step.replace('_', '-')}"]
    given = set(component.get("inputDefinitions", {}).get("parameters", {}))
    words = {name for name, _ in build_choices(load_recipe("first_release")).values()}
    assert given - {"settings", "like"} - words <= set(load_step_settings(step).model_fields), (
        "a parameter of the step is neither a setting nor a choice"
    )
    assert "settings" in given
    assert set(component.get("inputDefinitions", {}).get("artifacts", {})) == set(module.INPUTS)
    assert set(component["outputDefinitions"]["artifacts"]) == set(module.OUTPUTS)
    assert set(component["outputDefinitions"].get("parameters", {})) == set(module.PARAMETERS)


def test_each_step_has_its_own_command(documents: dict[str, Documents]) -> None:
    executors = documents["full"][0]["deploymentSpec"]["executors"]
    commands = [tuple(e["container"]["command"]) for e in executors.values()]
    assert len(commands) == len(set(commands)) == len(STEPS)


def _break(documents: Documents, how: str) -> Documents:
    broken = copy.deepcopy(documents)
    spec, platform = broken
    executors = spec["deploymentSpec"]["executors"]
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    if how == "equal":
        executors["exec-segment"]["container"] = executors["exec-ingest"]["container"]
    elif how == "placeholder":
        executors["exec-segment"]["container"]["args"].append("{{$.inputs.parameters['x']}}")
    elif how == "root":
        del kubernetes["exec-segment"]["securityContext"]
    elif how == "timeout":
        del kubernetes["exec-finetune"]["activeDeadlineSeconds"]
    elif how == "backoff":
        spec["root"]["dag"]["tasks"]["segment"]["retryPolicy"]["backoffMaxDuration"] = "3600s"
    elif how.startswith("caching "):
        spec["root"]["dag"]["tasks"][how.removeprefix("caching ")]["cachingOptions"] = {"enableCache": True}
    elif how == "form":
        parameters = spec["root"]["inputDefinitions"]["parameters"]
        parameters["a_thirteenth_box"] = {"parameterType": "STRING", "defaultValue": "", "description": "one too many"}
    elif how == "word":
        spec["root"]["inputDefinitions"]["parameters"]["batch_size"] = {"parameterType": "STRING", "defaultValue": ""}
    elif how == "default":
        spec["root"]["inputDefinitions"]["parameters"]["training_base"]["defaultValue"] = "another"
    elif how == "start":
        del spec["root"]["inputDefinitions"]["parameters"]["session"]["defaultValue"]
    elif how == "number":
        kubernetes["exec-segment"]["securityContext"]["runAsUser"] = "0"
    elif how == "display":
        del spec["root"]["dag"]["tasks"]["segment"]["taskInfo"]
    elif how == "about":
        del spec["pipelineInfo"]["description"]
    return broken


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("equal", "equal container specs"),
        ("placeholder", "command line"),
        ("root", "run_as_non_root"),
        ("timeout", "timeout"),
        ("backoff", "backoff"),
        ("caching ingest", "would be left out"),
        ("caching annotate-merge", "would be left out"),
        ("caching register", "registered again"),
        ("form", "13 parameters"),
        ("word", "no word a musician knows"),
        ("default", "not in its drop-down"),
        ("start", "would not start"),
        ("number", "no user by number"),
        ("display", "no display name"),
        ("about", "no description"),
    ],
)
def test_lint_finds(documents: dict[str, Documents], how: str, word: str) -> None:
    assert find_faults(documents["full"]) == []
    assert any(word in fault for fault in find_faults(_break(documents["full"], how)))


def test_form_offers_drop_downs_and_refuses_other_words(documents: dict[str, Documents]) -> None:
    spec = documents["tune"][0]
    form = spec["root"]["inputDefinitions"]["parameters"]
    assert form["training_length"]["literals"] == ["short (200 steps)", "usual (2000 steps)", "long (6000 steps)"]
    assert form["training_length"]["defaultValue"] == "usual (2000 steps)"
    assert convert_arguments(spec, {"training_seed": "30", "training_method": "light add-on (LoRA)"}) == {
        "training_seed": 30,
        "training_method": "light add-on (LoRA)",
    }
    with pytest.raises(SettingsError, match="Take one of"):
        convert_arguments(spec, {"training_length": "half"})
    with pytest.raises(SettingsError, match="no parameter colour"):
        convert_arguments(spec, {"colour": "red"})
    with pytest.raises(SettingsError, match="training_seed="):
        convert_arguments(spec, {"training_seed": "many"})


@pytest.mark.parametrize("name", PIPELINES)
def test_form_fields_on_one_subject_are_sorted_together(documents: dict[str, Documents], name: str) -> None:
    """The UI sorts by alphabet; what belongs together must have the same first word."""
    first = [box.split("_")[0] for box in sorted(documents[name][0]["root"]["inputDefinitions"]["parameters"])]
    groups = [word for at, word in enumerate(first) if at == 0 or word != first[at - 1]]
    assert len(groups) == len(set(groups))


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_every_choice_of_a_drop_down_is_settings_of_its_step(name: str) -> None:
    recipe = load_recipe(name)
    for task in ("encode", "finetune"):
        inputs = collect_tasks(compile_pipeline("tune", recipe)[0])[task]["inputs"]["parameters"]
        settings = inputs["settings"]["runtimeValue"]["constant"]
        for words in settings["choices"].values():
            for settings in words.values():
                assert load_step_settings(task).model_validate({**recipe.settings_for(task), **settings})


DIGEST = "@sha256:" + "5" * 64
CLUSTER = Cluster(
    store="s3://jam", store_endpoint="http://store:9000", store_region="eu", store_ca_secret="ca", mlflow="http://mlflow:5000",
    images=StepImages(prepare=f"home:5000/audio-tune/prepare{DIGEST}", train=f"home:5000/audio-tune/train{DIGEST}"),
    pull_secrets=("login",), pull_policy="Always", batch_size=3, gpus=1, gpu_resource="nvidia.com/mig-2g.20gb",
    gpu_node_selector={"gpu": "yes"}, gpu_tolerations=(GpuToleration(key="gpu", operator="Equal", value="x", effect="NoExecute"),),
    environment={"HF_HUB_OFFLINE": "1"}, governance="http://governance:7870", governance_secret="asks",
    mlflow_secret="writes", hub_secret="hub", hub_secret_key="read", hub_endpoint="http://hub:8081",
)  # fmt: skip


def test_for_a_cluster_images_are_named_by_digest() -> None:
    recipe = load_recipe("lora_24gb")
    with pytest.raises(PipelineError, match="exec-ingest: image audio-tune/prepare:0.2.0 is not named by digest"):
        compile_pipeline("full", recipe, Cluster())
    spec, platform = compile_pipeline("full", recipe, CLUSTER)
    assert {e["container"]["image"].split("@")[0] for e in spec["deploymentSpec"]["executors"].values()} == {
        "home:5000/audio-tune/prepare",
        "home:5000/audio-tune/train",
    }
    tune = spec["root"]["dag"]["tasks"]["finetune"]["inputs"]["parameters"]["settings"]["runtimeValue"]["constant"]
    assert tune["batch_size"] == 3
    own = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-finetune"]
    assert own["tolerations"] == [{"key": "gpu", "operator": "Equal", "value": "x", "effect": "NoExecute"}]
    env = {e["name"]: e["value"] for e in spec["deploymentSpec"]["executors"]["exec-ingest"]["container"]["env"]}
    assert env["AUDIOTUNE_STORE"] == "s3://jam"
    assert env["AWS_CA_BUNDLE"] == "/etc/audio-tune/ca/ca.crt"


def test_only_ingest_and_register_may_ask_the_governance_service() -> None:
    spec, platform = compile_pipeline("full", load_recipe("lora_24gb"), CLUSTER)
    own = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for label, executor in spec["deploymentSpec"]["executors"].items():
        env = {e["name"]: e["value"] for e in executor["container"]["env"]}
        keys = {key["envVar"]: secret for secret in own[label]["secretAsEnv"] for key in secret["keyToEnv"]}
        if label in ("exec-ingest", "exec-register"):
            assert env["AUDIOTUNE_GOVERNANCE_URL"] == "http://governance:7870"
            assert keys["AUDIOTUNE_GOVERNANCE_KEY"]["secretName"] == "asks"
        else:
            assert not [name for name in (*env, *keys) if "GOVERNANCE" in name], label


def test_only_steps_that_fetch_from_hugging_face_get_its_token() -> None:
    spec, platform = compile_pipeline("full", load_recipe("lora_24gb"), CLUSTER)
    own = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for label, executor in spec["deploymentSpec"]["executors"].items():
        env = {e["name"]: e["value"] for e in executor["container"]["env"]}
        keys = {key["envVar"]: (secret, key["secretKey"]) for secret in own[label]["secretAsEnv"] for key in secret["keyToEnv"]}
        if label in ("exec-ingest", "exec-encode"):
            assert env["HF_ENDPOINT"] == "http://hub:8081"
            secret, key = keys["HF_TOKEN"]
            assert (secret["secretName"], key, secret["optional"]) == ("hub", "read", True)
        else:
            assert not [name for name in (*env, *keys) if name in ("HF_TOKEN", "HF_ENDPOINT")], label


def test_the_form_offers_bases_that_are_for_tuning() -> None:
    for settings in build_base_choices(load_recipe("first_release")).values():
        known = find_known_base(settings["base"])
        assert known is not None
        assert not known.for_tuning, f"{known.name} was distilled from {known.for_tuning}"


def test_a_form_does_not_begin_with_a_base_that_its_cluster_cannot_have() -> None:
    recipe, bare = load_recipe("first_release"), CLUSTER.model_copy(update={"hub_secret": ""})
    copied = bare.model_copy(update={"bases": ("stable-audio-open-1.0",)})
    for cluster, first in ((CLUSTER, "Stable Audio Open 1.0"), (copied, "Stable Audio Open 1.0"), (bare, "tiny, for trials")):
        spec, _ = compile_pipeline("tune", recipe, cluster)
        box = spec["root"]["inputDefinitions"]["parameters"]["training_base"]
        assert box["defaultValue"] == first
        assert "Stable Audio Open 1.0" in box["literals"]
        assert ("needs a token of Hugging Face" in box["description"]) is (cluster is bare)


def test_only_steps_that_write_to_mlflow_get_its_key() -> None:
    _, platform = compile_pipeline("full", load_recipe("lora_24gb"), CLUSTER)
    own = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    holders = {
        label: (secret["secretName"], key["secretKey"])
        for label, settings in own.items()
        for secret in settings["secretAsEnv"]
        for key in secret["keyToEnv"]
        if key["envVar"] == "MLFLOW_TRACKING_TOKEN"
    }
    assert holders == {"exec-finetune": ("writes", "token"), "exec-register": ("writes", "token")}
    spec, _ = compile_pipeline(
        "full", load_recipe("lora_24gb"), CLUSTER.model_copy(update={"nodes": 2, "gpus": 1, "batch_size": 16})
    )
    env = spec["deploymentSpec"]["executors"]["exec-finetune"]["container"]["env"]
    (nodes,) = [NodeResources.model_validate_json(variable["value"]) for variable in env if variable["name"] == VARIABLE]
    (given,) = [variable["valueFrom"] for variable in nodes.env if variable["name"] == "MLFLOW_TRACKING_TOKEN"]
    assert given == {"secretKeyRef": {"name": "writes", "key": "token", "optional": True}}


def test_several_nodes_are_led_by_a_step_without_gpus() -> None:
    cluster = CLUSTER.model_copy(update={"nodes": 2, "gpus": 4, "batch_size": 16})
    spec, platform = compile_pipeline("full", load_recipe("lora_24gb"), cluster)
    settings = spec["root"]["dag"]["tasks"]["finetune"]["inputs"]["parameters"]["settings"]["runtimeValue"]["constant"]
    assert (settings["nodes"], settings["devices"]) == (2, 4)  # every GPU of a pod has a process
    containers = {label: e["container"] for label, e in spec["deploymentSpec"]["executors"].items()}
    assert containers["exec-encode"]["resources"]["accelerator"]["count"] == "4"
    assert "accelerator" not in containers["exec-finetune"]["resources"]
    (place,) = [
        NodeResources.model_validate_json(e["value"]) for e in containers["exec-finetune"]["env"] if e["name"] == VARIABLE
    ]
    assert place.image == containers["exec-finetune"]["image"]
    assert place.resources["limits"][cluster.gpu_resource] == "4"
    assert place.tolerations == [{"key": "gpu", "operator": "Equal", "value": "x", "effect": "NoExecute"}]
    own = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert "tolerations" not in own["exec-finetune"]
    assert "tolerations" in own["exec-encode"]
    assert int(own["exec-finetune"]["activeDeadlineSeconds"]) > place.deadline_s  # the step lives to tell of the TrainJob's
    alone = compile_pipeline("full", load_recipe("lora_24gb"), CLUSTER)[0]["deploymentSpec"]["executors"]["exec-finetune"][
        "container"
    ]
    assert VARIABLE not in {e["name"] for e in alone["env"]}


def test_nodes_may_be_the_recipes(tmp_path: Path) -> None:
    text = (RECIPES / "full_finetune.toml").read_text().replace("[finetune]", "[finetune]\nnodes = 2")
    (tmp_path / "r.toml").write_text(text)
    spec, _ = compile_pipeline("tune", load_recipe(tmp_path / "r.toml"), CLUSTER.model_copy(update={"nodes": None}))
    env = {e["name"] for e in spec["deploymentSpec"]["executors"]["exec-finetune"]["container"]["env"]}
    assert VARIABLE in env


def test_we_write_what_the_sdk_would_have_written(tmp_path: Path) -> None:
    """Our placement, which needs no SDK, against kfp and kfp-kubernetes themselves."""
    from kfp import compiler

    from tests.contract.toy_pipeline import placed_by_sdk, toy_placed

    compiler.Compiler().compile(placed_by_sdk, str(tmp_path / "sdk.yaml"))
    theirs = list(yaml.safe_load_all((tmp_path / "sdk.yaml").read_text()))
    compiler.Compiler().compile(toy_placed, str(tmp_path / "toy.yaml"))
    from pipelines.cluster.placement import place_tasks

    ours = place_tasks(list(yaml.safe_load_all((tmp_path / "toy.yaml").read_text())), CLUSTER)
    assert ours[1] == theirs[1]
    assert ours[0]["deploymentSpec"] == theirs[0]["deploymentSpec"]
    assert collect_tasks(ours[0]) == collect_tasks(theirs[0])


def test_a_finished_pipeline_may_be_finished_again(documents: dict[str, Documents]) -> None:
    recipe = load_recipe("lora_24gb")
    once = finish_pipeline(compile_structure("full"), recipe, CLUSTER)
    assert finish_pipeline(once, recipe, CLUSTER) == once
    assert finish_pipeline(documents["full"], recipe, CLUSTER) == once
    assert compute_version_name(once) != compute_version_name(documents["full"])


def test_the_chart_carries_what_the_code_says() -> None:
    assert chart.find_outdated_files() == [], "run python -m pipelines.chart"


def test_drift_of_the_chart_is_seen(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("x")
    assert chart.find_outdated_files(tmp_path) == ["full.yaml", "old.yaml", "prepare.yaml", "tune.yaml"]


def test_facts_of_a_cluster_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"store": "s3://jam", "gpu_taint": "gpu"}')
    (tmp_path / "images.yaml").write_text(
        f"images: {{registry: home, prepare: {{digest: '{DIGEST[1:]}'}}, train: {{registry: far, name: x/train, tag: v1}}}}"
    )
    cluster = apply_images(apply_preset(load_cluster(tmp_path / "cluster.json"), "mig-2g.20gb"), tmp_path / "images.yaml")
    assert cluster.images == StepImages(prepare=f"home/audio-tune/prepare{DIGEST}", train="far/x/train:v1")
    assert (cluster.store, cluster.gpu_taint, cluster.gpus) == ("s3://jam", "gpu", 1)
    assert (cluster.gpu_resource, cluster.recipe, cluster.batch_size) == ("nvidia.com/mig-2g.20gb", "lora_24gb", 8)
    assert apply_preset(Cluster(), "cpu").gpus == 0
    with pytest.raises(SettingsError, match="l4-24gb"):
        apply_preset(Cluster(), "toaster")
    (tmp_path / "cluster.json").write_text('{"stor": "s3://jam"}')
    with pytest.raises(SettingsError, match="stor: Extra"):
        load_cluster(tmp_path / "cluster.json")


def test_yaml_is_stable(documents: dict[str, Documents]) -> None:
    again = compile_pipeline("full", load_recipe("first_release"))
    assert to_yaml(again) == to_yaml(documents["full"])


@pytest.mark.parametrize("name", ["prepare", "tune", "full"])
def test_steps_that_read_the_store_by_name_are_never_taken_from_kubeflows_cache(name: str) -> None:
    tasks = compile_pipeline(name, load_recipe("first_release"))[0]["root"]["dag"]["tasks"]
    cached = {task for task, about in tasks.items() if about.get("cachingOptions", {}).get("enableCache")}
    assert cached == set(tasks) - {"ingest", "annotate-merge", "register"}


@pytest.mark.parametrize("recipe", ["first_release", "full_finetune", "lora_24gb"])
def test_a_release_made_from_the_form_is_the_one_that_the_charts_service_follows(recipe: str) -> None:
    form = compile_pipeline("tune", load_recipe(recipe))[0]["root"]["inputDefinitions"]["parameters"]
    chart = yaml.safe_load(Path("helm/audio-tune/values.yaml").read_text())
    assert form["training_name"]["defaultValue"] == chart["generation"]["release"]["name"]
