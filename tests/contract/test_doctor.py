"""The doctor against a cluster where all is well, and against the same cluster with one thing wrong at a time."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from audiotune.errors import SettingsError
from audiotune.outside.kubernetes import connect_kubernetes
from audiotune.stable_audio.base_index import BaseIndex, write_base_index
from audiotune.store import FolderStore
from pipelines.cluster.namespace import (
    DEPLOY,
    REPOSITORY,
    build_launcher_data,
    build_log_repository,
    build_manifests,
    build_objects,
    build_patch_command,
    build_runtime_spec,
)
from pipelines.cluster.settings import Cluster, GpuToleration, StepImages, load_cluster
from pipelines.doctor.command import CHECKS, format_findings, main, run_checks
from pipelines.doctor.findings import CheckTarget, DoctorFinding
from tests.contract.test_submit import without_kfp
from tests.fakes.http_server import answering
from tests.fakes.hub_server import HubServer
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubeflow import serving as serving_kubeflow
from tests.fakes.kubernetes import FakeKubernetes, serving

DIGEST = "@sha256:" + "7" * 64
CLUSTER = Cluster(
    store="s3://jam", store_endpoint="http://store.jam.svc.cluster.local:9000", store_secret="jam-store",
    mlflow="http://registry.jam.svc:5000", governance="http://who.jam.svc:7870", governance_secret="jam-governance",
    mlflow_secret="jam-mlflow", recipe="demo",
    images=StepImages(prepare=f"home/p{DIGEST}", train=f"home/t{DIGEST}"),
    gpus=1, gpu_node_selector={"gpu": "l4"}, gpu_tolerations=(GpuToleration(key="nvidia.com/gpu", effect="NoSchedule"),),
)  # fmt: skip
NODE = "/api/v1/nodes"
LAUNCHER = "/api/v1/namespaces/jam/configmaps/kfp-launcher"
LOGS = "/api/v1/namespaces/jam/configmaps/artifact-repositories"
ARGO = "/api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap"
SERVICE = "/api/v1/namespaces/jam/services/store"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/jam/endpointslices"
MLFLOW = "/api/v1/namespaces/jam/services/registry:5000/proxy/health"
MLFLOW_KEY = "/api/v1/namespaces/jam/secrets/jam-mlflow"
GOVERNANCE = "/api/v1/namespaces/jam/services/who:7870/proxy/ready"
GOVERNANCE_KEY = "/api/v1/namespaces/jam/secrets/jam-governance"
ACCOUNT = "system:serviceaccount:jam:pipeline-runner"
RIGHTS = {
    "get /configmaps/kfp-launcher", "get /secrets/jam-store", "create argoproj.io/workflowtaskresults/",
    "patch argoproj.io/workflowtaskresults/", "get /pods/",
}  # fmt: skip
KEYS = {"data": {"accesskey": "eA==", "secretkey": "eA=="}}
Change = Callable[[FakeKubernetes], None]


def archive(repository: str) -> dict[str, Any]:
    """ConfigMap artifact-repositories with this as its default."""
    return {"metadata": {"annotations": {REPOSITORY: "ours"}}, "data": {"ours": repository}}


def healthy() -> FakeKubernetes:
    node = {
        "metadata": {"name": "gpu-1", "labels": {"gpu": "l4"}},
        "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"nvidia.com/gpu": "1"}, "images": [{"names": [f"home/p{DIGEST}", f"home/t{DIGEST}"]}]},
    }
    found = {
        "/version": {},
        NODE: {"items": [node]},
        "/api/v1/namespaces/jam": {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
        LAUNCHER: {"data": build_launcher_data(CLUSTER)},
        "/api/v1/namespaces/jam/secrets/jam-store": KEYS,
        LOGS: archive(build_log_repository(CLUSTER)),
        "/api/v1/namespaces/jam/serviceaccounts/pipeline-runner": {},
        ARGO: {"data": {}},
        SERVICE: {"spec": {"ports": [{"port": 9000}]}},
        SLICES: {"items": [{"endpoints": [{"conditions": {"ready": True}}]}]},
        MLFLOW: "OK",
        MLFLOW_KEY: {"data": {"token": "eA=="}},
        GOVERNANCE: "OK",
        GOVERNANCE_KEY: {"data": {"key": "eA=="}},
    }
    return FakeKubernetes(copy.deepcopy(found), {ACCOUNT: set(RIGHTS)})


def looked_at(fake: FakeKubernetes, cluster: Cluster = CLUSTER) -> list[DoctorFinding]:
    with serving(fake) as url:
        return run_checks(CheckTarget(cluster, "jam", "kubeflow", "pipeline-runner", connect_kubernetes(address=url)))


def test_an_mlflow_that_asks_for_no_key_is_told() -> None:
    (told,) = [
        f
        for f in looked_at(healthy(), CLUSTER.model_copy(update={"mlflow_secret": ""}))
        if f.about == "mlflow" and f.state != "well"
    ]
    assert (told.state, "mlflow_secret" in told.cure) == ("warning", True)


def test_where_all_is_well_nothing_is_wrong() -> None:
    found = looked_at(healthy())
    assert [f for f in found if f.state != "well" and f.about != "kubeflow"] == []
    assert {f.about for f in found} == set(CHECKS)
    assert "\nnothing is wrong" in format_findings(found)


def drop(path: str) -> Change:
    return lambda fake: fake.objects.pop(path) and None


def put(path: str, value: Any) -> Change:
    return lambda fake: fake.objects.update({path: value})


def without(right: str) -> Change:
    return lambda fake: fake.rights[ACCOUNT].discard(right)


STOCK_ARGO = {"data": {"workflowDefaults": "spec: {templateDefaults: {retryStrategy: {limit: '2', retryPolicy: OnError}}}"}}
OLD_ARGO = {"data": {"config": "workflowDefaults: {spec: {templateDefaults: {retryStrategy: {retryPolicy: OnError}}}}"}}
PROFILE = build_log_repository(CLUSTER.model_copy(update={"store_endpoint": "http://seaweedfs.kubeflow:9000"})).replace(
    "name: jam-store\n    key: accesskey", "name: mlpipeline-minio-artifact\n    key: accesskey"
)
OTHER_ROOT = {"data": {**build_launcher_data(CLUSTER), "defaultPipelineRoot": "minio://mlpipeline/v2/artifacts"}}
TAINTED = {"metadata": {"labels": {"gpu": "l4"}}, "spec": {"taints": [{"key": "other", "effect": "NoExecute"}]}}


@pytest.mark.parametrize(
    ("about", "state", "words", "change"),
    [
        ("launcher", "wrong", "no ConfigMap kfp-launcher", drop(LAUNCHER)),
        ("launcher", "wrong", "not in s3://jam", put(LAUNCHER, OTHER_ROOT)),
        ("launcher", "wrong", "endpoint is None", put(LAUNCHER, {"data": {"defaultPipelineRoot": "s3://jam"}})),
        ("logs", "wrong", "Argo archives logs in Kubeflow's store", drop(LOGS)),
        ("logs", "wrong", "Argo archives logs in Kubeflow's store", put(LOGS, {"data": {"ours": build_log_repository(CLUSTER)}})),
        ("logs", "warning", "endpoint, accessKeySecret lead elsewhere", put(LOGS, archive(PROFILE))),
        ("secrets", "wrong", "lacks secretkey", put("/api/v1/namespaces/jam/secrets/jam-store", {"data": {"accesskey": "eA=="}})),
        ("secrets", "unknown", "may not ask", lambda f: f.forbidden.add("/api/v1/namespaces/jam/secrets/jam-store")),
        ("rights", "wrong", "no service account", drop("/api/v1/namespaces/jam/serviceaccounts/pipeline-runner")),
        ("rights", "wrong", "may not patch workflowtaskresults", without("patch argoproj.io/workflowtaskresults/")),
        ("rights", "warning", "may not get pods", without("get /pods/")),
        ("retries", "warning", "OnError", put(ARGO, STOCK_ARGO)),
        ("retries", "warning", "OnError", put(ARGO, OLD_ARGO)),
        ("retries", "unknown", "no workflow-controller", drop(ARGO)),
        ("pod security", "warning", "label: none", put("/api/v1/namespaces/jam", {"metadata": {}})),
        ("pod security", "wrong", "no namespace", drop("/api/v1/namespaces/jam")),
        ("store name", "wrong", "no Service store", drop(SERVICE)),
        ("store name", "wrong", "no port 9000", put(SERVICE, {"spec": {"ports": [{"port": 80}]}})),
        ("store name", "wrong", "no pod is ready behind", put(SLICES, {"items": []})),
        ("gpu", "wrong", "none of 0 nodes", put(NODE, {"items": []})),
        ("gpu", "wrong", "no node can give", put(NODE, {"items": [{**TAINTED, "status": {"allocatable": {"cpu": "4"}}}]})),
        ("gpu", "wrong", "other:NoExecute", put(NODE, {"items": [{**TAINTED, "status": {"allocatable": {"nvidia.com/gpu": "1"}}}]})),
        ("images", "unknown", "does not answer here", put(NODE, {"items": []})),
        ("mlflow", "wrong", "no such Service", drop(MLFLOW)),
        ("mlflow", "wrong", "does not answer as MLflow", put(MLFLOW, "<html>")),
        ("mlflow", "wrong", "lacks token", put(MLFLOW_KEY, {"data": {"key": "eA=="}})),
        ("governance", "wrong", "no such Service", drop(GOVERNANCE)),
        ("governance", "wrong", "is not ready (the store cannot be read)", put(GOVERNANCE, "the store cannot be read")),
        ("governance", "wrong", "lacks key", put(GOVERNANCE_KEY, {"data": {"other": "eA=="}})),
        ("clock", "wrong", "off this machine", lambda f: setattr(f, "date", "Mon, 01 Jan 2024 00:00:00 GMT")),
    ],
)  # fmt: skip
def test_each_thing_gone_wrong_is_found(about: str, state: str, words: str, change: Change) -> None:
    fake = healthy()
    change(fake)
    cluster = CLUSTER
    if about == "images":  # a registry that cannot answer from here
        dead = StepImages(prepare=f"127.0.0.1:9/p{DIGEST}", train=f"127.0.0.1:9/t{DIGEST}")
        cluster = CLUSTER.model_copy(update={"images": dead})
    found = [f for f in looked_at(fake, cluster) if f.about == about]
    hit = [f for f in found if f.state == state and words in f.words]
    assert hit, format_findings(found)
    assert hit[0].cure


def test_an_image_by_tag_and_digest_is_known_by_its_digest() -> None:
    """The chart writes host/path:tag@digest; nodes name what they hold without the tag, and registries ask for it without."""
    both = StepImages(prepare=f"home/p:0.1.0{DIGEST}", train=f"home/t:0.1.0{DIGEST}")
    found = looked_at(healthy(), CLUSTER.model_copy(update={"images": both}))
    assert [f.words for f in found if f.about == "images"] == ["prepare is on a node already", "train is on a node already"]


def test_a_registry_is_asked_for_the_digest() -> None:
    asked: list[str] = []

    class Registry(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path == f"/v2/group/p/manifests/{DIGEST[1:]}" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with answering(Registry) as url:
        host = url.removeprefix("http://")
        there = StepImages(prepare=f"{host}/group/p:0.1.0{DIGEST}", train=f"{host}/group/t:0.1.0")
        found = looked_at(healthy(), CLUSTER.model_copy(update={"images": there}))
    assert asked == [f"/v2/group/p/manifests/{DIGEST[1:]}", "/v2/group/t/manifests/0.1.0"]
    assert [f.state for f in found if f.about == "images"] == ["well", "wrong"]


NODES = CLUSTER.model_copy(update={"nodes": 2})
OPENAPI = "/openapi/v3/apis/trainer.kubeflow.org/v1alpha1"
RUNTIME_PATH = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/jam/trainingruntimes/audio-tune"
MORE_RIGHTS = {
    *(f"{verb} trainer.kubeflow.org/trainjobs/" for verb in ("create", "get", "patch", "delete")), "list /pods/", "get /pods/log/",
}  # fmt: skip


def with_trainer(*fields: str) -> FakeKubernetes:
    """A healthy cluster with Trainer, whose TrainJob has these fields, two GPU nodes and what the namespace needs."""
    fake = healthy()
    spec = {"properties": {key: {} for key in fields or ("runtimePatches", "activeDeadlineSeconds", "trainer")}}
    schemas = {
        "org.kubeflow.trainer.v1alpha1.TrainJob": {"properties": {"spec": spec}},
        "org.kubeflow.trainer.v1alpha1.TrainJobList": {},
    }
    fake.objects[OPENAPI] = {"components": {"schemas": schemas}}
    fake.objects[RUNTIME_PATH] = {"spec": build_runtime_spec(NODES)}
    (node,) = fake.objects[NODE]["items"]
    fake.objects[NODE] = {"items": [node, {**node, "metadata": {**node["metadata"], "name": "gpu-2"}}]}
    fake.rights[ACCOUNT] |= MORE_RIGHTS
    return fake


def other_runtime(**job: Any) -> Any:
    spec = build_runtime_spec(NODES)
    spec["template"]["spec"]["replicatedJobs"][0]["template"]["spec"].update(job)
    return {"spec": spec}


def test_where_several_nodes_train_and_all_is_well() -> None:
    found = looked_at(with_trainer(), NODES)
    assert [f for f in found if f.state != "well" and f.about != "kubeflow"] == []
    assert any("the rights a run and a TrainJob needs" in f.words for f in found)


@pytest.mark.parametrize(
    ("about", "state", "words", "change"),
    [
        ("trainer", "wrong", "Kubeflow Trainer is not installed", drop(OPENAPI)),
        ("trainer", "wrong", "no TrainingRuntime audio-tune in jam", drop(RUNTIME_PATH)),
        ("trainer", "warning", "restarts single pods", put(RUNTIME_PATH, other_runtime(backoffLimit=6))),
        ("trainer", "wrong", "has no container node", put(RUNTIME_PATH, other_runtime(template={"spec": {"containers": []}}))),
        ("trainer", "unknown", "may not ask", lambda f: f.forbidden.add(RUNTIME_PATH)),
        ("rights", "wrong", "may not delete trainjobs", without("delete trainer.kubeflow.org/trainjobs/")),
        ("rights", "wrong", "may not get pods/log", without("get /pods/log/")),
        ("rights", "wrong", "may not get pods", without("get /pods/")),
        ("gpu", "wrong", "training asks for 2 times 1 × nvidia.com/gpu; there is room for 1", lambda f: f.objects[NODE]["items"].pop()),
    ],
)  # fmt: skip
def test_each_thing_gone_wrong_with_several_nodes_is_found(about: str, state: str, words: str, change: Change) -> None:
    fake = with_trainer()
    change(fake)
    hit = [f for f in looked_at(fake, NODES) if f.about == about and f.state == state and words in f.words]
    assert hit
    assert hit[0].cure


def test_an_older_trainer_is_found() -> None:
    """2.1 has podTemplateOverrides, which later ones do not know, and no deadline."""
    found = [f for f in looked_at(with_trainer("podTemplateOverrides", "trainer"), NODES) if f.about == "trainer"]
    assert [f.state for f in found] == ["wrong"]
    assert "older than 2.2: its TrainJob has no runtimePatches and no activeDeadlineSeconds" in found[0].words


def test_a_short_name_of_the_store_is_found() -> None:
    cluster = CLUSTER.model_copy(update={"store_endpoint": "http://store:9000"})
    (found,) = [f for f in looked_at(healthy(), cluster) if f.about == "store name"]
    assert found.state == "wrong"
    assert "store.jam.svc.cluster.local" in found.cure


def test_kubeflows_kind_must_fit_the_namespace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cluster.json").write_text(CLUSTER.model_dump_json())
    facts = ["--for-cluster", str(tmp_path / "cluster.json")]
    with serving(healthy()) as url, serving_kubeflow(FakeKubeflow(multi_user=True)) as kubeflow:
        assert main([*facts, "--kubernetes", url, "--endpoint", kubeflow, "--namespace", "jam"]) == 0
        assert "Kubeflow Pipelines 2.17.0 answers, multi-user" in capsys.readouterr().out
        assert main([*facts, "--kubernetes", url, "--endpoint", kubeflow, "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
    assert {"kubeflow", "launcher", "secrets"} <= {f["about"] for f in found if f["state"] == "wrong"}
    assert main([*facts, "--kubernetes", "http://127.0.0.1:9"]) == 3
    assert main([*facts, "--kubeconfig", str(tmp_path / "none")]) == 3
    assert main(["--for-cluster", str(tmp_path / "none")]) == 2


def test_the_doctor_needs_no_kfp(tmp_path: Path) -> None:
    with serving(healthy()) as url:
        done = without_kfp("pipelines.doctor.__main__", ["--kubernetes", url, "--json"])
    assert done.returncode == 1, done.stderr
    assert {f["about"] for f in json.loads(done.stdout)} == set(CHECKS)


def test_a_kubeconfig_leads_to_the_server(tmp_path: Path) -> None:
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    with serving(healthy()) as url:
        whole = {**config, "clusters": [{"name": "c", "cluster": {"server": url, "insecure-skip-tls-verify": True}}]}
        (tmp_path / "config").write_text(yaml.safe_dump(whole))
        assert connect_kubernetes(str(tmp_path / "config")).get("/version") == {}


def test_a_sign_in_program_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "false", "args": ["get-token"]}
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {"exec": plugin}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    assert main(["--kubeconfig", str(tmp_path / "config")]) == 3
    said = capsys.readouterr().err
    assert "the kubeconfig's sign-in program false failed: Exec false returned 1" in said
    assert "Run it by hand and sign in: false get-token" in said


def test_namespace_objects_are_what_the_doctor_asks_for() -> None:
    made = {each["kind"]: each for each in build_objects(CLUSTER, "jam")}
    named = {each["metadata"]["name"]: each for each in build_objects(CLUSTER, "jam")}
    fake = healthy()
    fake.objects |= {LAUNCHER: named["kfp-launcher"], LOGS: named["artifact-repositories"]}
    granted = {
        f"{verb} {rule['apiGroups'][0]}/{rule['resources'][0]}/{(rule.get('resourceNames') or [''])[0]}"
        for rule in made["Role"]["rules"]
        for verb in rule["verbs"]
    }
    assert granted == RIGHTS
    assert [f for f in looked_at(fake) if f.about in ("launcher", "logs", "rights") and f.state != "well"] == []
    assert made["NetworkPolicy"]["spec"]["ingress"] == []


def test_the_patch_names_what_it_changes() -> None:
    words = build_patch_command(CLUSTER)
    assert words.startswith("kubectl patch configmap kfp-launcher --namespace kubeflow --type merge --patch '{")
    assert "s3://jam/kfp" in words


def test_the_plain_manifests_are_what_the_code_says() -> None:
    for name, text in build_manifests(load_cluster(DEPLOY / "cluster.yaml")).items():
        assert (DEPLOY / name).read_text() == text, "run python -m pipelines.namespace --write"


def test_the_charts_facts_are_understood(tmp_path: Path) -> None:
    """The shape of cluster.json in ConfigMap <release>-cluster."""
    chart = {
        "cluster": {"store": "s3://jam", "gpus": 1, "gpu_taint": "nvidia.com/gpu"}, "preset": "l4-24gb", "recipe": "lora_24gb",
        "batch_size": 8, "runtime_class": "nvidia", "device": "plugin", "device_class": "",
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "images": {"prepare": f"home/p{DIGEST}", "train": f"home/t{DIGEST}"},
    }  # fmt: skip
    (tmp_path / "cluster.json").write_text(json.dumps(chart))
    found = load_cluster(tmp_path / "cluster.json")
    assert (found.recipe, found.batch_size, found.images.train) == ("lora_24gb", 8, f"home/t{DIGEST}")
    assert found.gpu_tolerations == (GpuToleration(key="nvidia.com/gpu", effect="NoSchedule"),)
    assert found.gpu_taint == ""  # the whole tolerations stand for it
    (tmp_path / "cluster.json").write_text(json.dumps({**chart, "colour": "red"}))
    with pytest.raises(SettingsError, match="colour"):
        load_cluster(tmp_path / "cluster.json")


OPEN = "stabilityai/stable-audio-open-1.0"
HUB_TOKEN = "/api/v1/namespaces/jam/secrets/jam-hub"
GATED = CLUSTER.model_copy(update={"recipe": "first_release", "hub_secret": "jam-hub"})


@pytest.mark.parametrize(
    ("token", "state", "words"),
    [
        ("hf_good", "well", f"Hugging Face gives {OPEN} to the token of encode"),
        ("hf_new", "wrong", f"the licence of {OPEN} is not accepted by the account of the token in Secret jam-hub"),
        ("hf_old", "wrong", "the token in Secret jam-hub has expired"),
        ("", "warning", "Secret jam-hub in jam lacks token"),
    ],
)
def test_the_base_of_the_form_is_asked_for_with_the_token_of_the_steps(token: str, state: str, words: str) -> None:
    fake = healthy()
    fake.objects[HUB_TOKEN] = {"data": {"token": base64.b64encode(token.encode()).decode()}}
    tokens = {"hf_good": "accepted", "hf_new": "not accepted", "hf_old": "expired"}
    with HubServer({OPEN: {"model_config.json": b"{}"}}, gated={OPEN}, tokens=tokens).run() as address:
        found = looked_at(fake, GATED.model_copy(update={"hub_endpoint": address}))
    (told,) = [f for f in found if f.about == "bases"]
    assert (told.state, words in told.words) == (state, True), told
    assert token not in told.words + told.cure or not token


def test_a_base_behind_a_licence_without_a_token_must_be_in_the_store(tmp_path: Path) -> None:
    without_token = GATED.model_copy(update={"hub_secret": ""})
    (told,) = [f for f in looked_at(healthy(), without_token) if f.about == "bases"]
    assert (told.state, "the facts name no token" in told.words) == ("warning", True)
    assert "huggingFace.secret" in told.cure
    (told,) = [f for f in looked_at(healthy(), without_token.model_copy(update={"bases": (OPEN,)})) if f.about == "bases"]
    assert (told.state, "the release copies" in told.words) == ("well", True)
    store = FolderStore(tmp_path)
    with serving(healthy()) as url:
        target = CheckTarget(without_token, "jam", "kubeflow", "pipeline-runner", connect_kubernetes(address=url), store=store)
        assert [f.state for f in run_checks(target) if f.about == "bases"] == ["wrong"]
        write_base_index(store, BaseIndex(OPEN, {"model_config.json": store.put_blob(b"{}", ".json")}))
        assert [f.state for f in run_checks(target) if f.about == "bases"] == ["well"]
