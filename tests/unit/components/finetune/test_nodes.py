"""Training on several nodes, from the step's side: the TrainJob that is made, adopted, followed and ended."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from audiotune.errors import SettingsError, TrainingError
from audiotune.outside.kubernetes import connect_kubernetes
from components.finetune.compute_backends import _extract_error_line, _set_rendezvous
from components.finetune.nodes.node_resources import VARIABLE, NodeResources, node_resources_from_environment
from components.finetune.nodes.trainjob import OwnerPod, build_trainjob, make_trainjob_name
from components.finetune.nodes.trainjob_controller import TrainJobController, find_own_pod, make_controller
from pipelines.cluster.namespace import build_objects, build_runtime_spec, build_training_rules
from pipelines.cluster.placement import _dump_training_pod
from pipelines.cluster.settings import Cluster, GpuToleration, StepImages
from tests import REPOSITORY
from tests.fakes.trainer import JOBS, SCHEMA, FakeTrainer, serving, undeclared

KEY = "c" * 64
HOOK = 'admission webhook "validator.trainjob.trainer.kubeflow.org"'
POD = OwnerPod("jam", "tune-x1", "pod-uid-1", "ffde30c8-e254-4438-8c3b-98553711dec5")
CLUSTER = Cluster(
    store="s3://jam",
    store_endpoint="https://store.jam.svc:9000",
    store_secret="jam-store",
    store_ca_secret="jam-ca",
    images=StepImages(train="home/t@sha256:" + "7" * 64),
    pull_secrets=("home-login",),
    gpus=2,
    nodes=2,
    gpu_node_selector={"gpu": "l4"},
    gpu_tolerations=(GpuToleration(key="nvidia.com/gpu", effect="NoSchedule"),),
    shared_memory="4Gi",
    gpu_timeout_s=7200,
    retries=1,
)
PLACE = NodeResources.model_validate_json(_dump_training_pod(CLUSTER.images.train, CLUSTER))


def wanted(place: NodeResources = PLACE, pod: OwnerPod = POD, key: str = KEY) -> dict[str, Any]:
    return build_trainjob(
        place, pod, key, nodes=2, devices=2, command=["python", "-m", "components.finetune.nodes", "blobs/x.json"]
    )


class TrainingLog(list[tuple[float, str]]):
    def __call__(self, share: float, words: str) -> None:
        self.append((share, words))

    def __contains__(self, words: object) -> bool:
        return any(words == said for _, said in self)


@pytest.fixture
def fake() -> FakeTrainer:
    return FakeTrainer()


@pytest.fixture
def lead(fake: FakeTrainer) -> Iterator[Any]:
    """Leads the wanted TrainJob against the fake; returns what was logged."""
    with serving(fake) as url:

        def act(*, pod: OwnerPod = POD, place: NodeResources = PLACE, patience_s: float = 20.0) -> TrainingLog:
            log = act.log = TrainingLog()  # type: ignore[attr-defined]
            leader = TrainJobController(
                connect_kubernetes(address=url),
                connect_kubernetes(address=url),
                pod,
                place,
                log,
                every_s=0.005,
                patience_s=patience_s,
            )
            leader.run_trainjob(wanted(place, pod))
            return log

        yield act


def both_run(fake: FakeTrainer) -> None:
    fake.put_pod(0, "running")
    fake.put_pod(1, "running")


def well(fake: FakeTrainer) -> None:
    fake.end("complete")


def node_1_says_nan(fake: FakeTrainer) -> None:
    fake.put_pod(1, "failed")
    fake.say(1, "Traceback (most recent call last):", "finetune: the loss became nan in step 2. Lower learning_rate")
    fake.end("failed")


def test_the_object_is_one_that_the_crd_takes() -> None:
    made = wanted()
    assert list(Draft202012Validator(SCHEMA).iter_errors(made)) == []
    assert list(undeclared(made["spec"], SCHEMA["properties"]["spec"], "spec")) == []
    misspelt = copy.deepcopy(made)
    misspelt["spec"]["runtimePatch"] = misspelt["spec"].pop("runtimePatches")
    assert list(undeclared(misspelt["spec"], SCHEMA["properties"]["spec"], "spec")) == ["spec.runtimePatch"]
    misspelt["spec"]["trainer"]["numNodes"] = "two"
    assert list(Draft202012Validator(SCHEMA).iter_errors(misspelt))


def test_the_object_says_what_the_facts_say() -> None:
    made = wanted()
    spec = made["spec"]
    assert spec["activeDeadlineSeconds"] == 7200
    assert made["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": "tune-x1", "uid": "pod-uid-1"}]
    trainer = spec["trainer"]
    assert (trainer["image"], trainer["numNodes"], trainer["numProcPerNode"]) == (CLUSTER.images.train, 2, 2)
    assert trainer["resourcesPerNode"]["limits"] == {"memory": "48Gi", "nvidia.com/gpu": "2"}
    env = {entry["name"]: entry.get("value") or entry["valueFrom"]["secretKeyRef"] for entry in trainer["env"]}
    assert env["AUDIOTUNE_STORE"] == "s3://jam"
    assert env["AWS_SECRET_ACCESS_KEY"] == {"name": "jam-store", "key": "secretkey"}
    assert not any(name.startswith("PET_") for name in env)  # Trainer refuses those: they are its own
    (job,) = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"gpu": "l4"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["imagePullSecrets"] == [{"name": "home-login"}]
    assert pod["securityContext"]["runAsNonRoot"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/dev/shm", "/etc/audio-tune/ca", "/tmp", "/cache"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_one_name_per_run_and_training() -> None:
    name = make_trainjob_name(POD.run, KEY)
    assert name == make_trainjob_name(POD.run, KEY)
    assert name not in (make_trainjob_name("another-run", KEY), make_trainjob_name(POD.run, "d" * 64))
    assert len(f"{name}-node-0-63") < 63


def test_a_training_is_followed_to_its_end(fake: FakeTrainer, lead: Any) -> None:
    def waiting(fake: FakeTrainer) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu",
        }
        fake.put_pod(0, "pending")
        fake.put_pod(1, "pending", conditions=[condition])

    def talking(fake: FakeTrainer) -> None:
        both_run(fake)
        fake.say(0, "[ 50%] step 1 of 2, loss 0.5", "a warning of some library")
        fake.say(1, "joined")

    fake.script.extend([waiting, talking, lambda fake: fake.say(0, "[100%] step 2 of 2, loss 0.4"), well])
    log = lead()
    name = make_trainjob_name(POD.run, KEY)
    assert f"TrainJob {name}: 0 of 2 nodes run; node 1 waits: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu" in log
    assert [words for _, words in log if words.startswith("node")] == [
        "node 0: step 1 of 2, loss 0.5",
        "node 0: a warning of some library",
        "node 1: joined",
        "node 0: step 2 of 2, loss 0.4",
    ]  # each line once, though the API gives a second's lines again and again
    assert [share for share, words in log if words.startswith("node 0")] == [0.5, 0.5, 1.0]
    assert fake.jobs == {}  # it has done its work


def test_an_attempt_before_is_adopted(fake: FakeTrainer, lead: Any) -> None:
    fake.answer("POST", JOBS, {}, wanted())
    fake.script.extend([lambda fake: None, both_run, well])
    log = lead(pod=OwnerPod("jam", "tune-x2", "pod-uid-2", POD.run))
    assert any(words.startswith("adopted TrainJob") for _, words in log)
    assert fake.made == 1
    assert ("PATCH", f"{JOBS}/{make_trainjob_name(POD.run, KEY)}") in fake.calls


def test_an_adopted_trainjob_gets_the_new_owner(fake: FakeTrainer, lead: Any) -> None:
    """Else it would go with the pod of the attempt before."""
    owners = []
    fake.answer("POST", JOBS, {}, wanted())
    fake.script.extend([lambda fake: None, lambda fake: owners.extend(fake.job["metadata"]["ownerReferences"]), well])
    lead(pod=OwnerPod("jam", "tune-x2", "pod-uid-2", POD.run))
    assert [owner["uid"] for owner in owners] == ["pod-uid-2"]


@pytest.mark.parametrize("how", ["failed", "on its way out"])
def test_a_trainjob_that_cannot_be_adopted_is_replaced(fake: FakeTrainer, lead: Any, how: str) -> None:
    fake.answer("POST", JOBS, {}, wanted())
    name = make_trainjob_name(POD.run, KEY)
    if how == "failed":
        fake.end("failed")
    else:
        fake.job["metadata"]["deletionTimestamp"] = "2026-11-25T01:39:50Z"
        fake.script.extend([lambda fake: None, lambda fake: fake.jobs.pop(name)])
    fake.script.append(lambda fake: None)
    fake.script.extend([well])
    lead()
    assert fake.made == 2


def test_adopting_asks_again_when_nobody_answers_and_tells_which_right_is_missing(fake: FakeTrainer, lead: Any) -> None:
    fake.answer("POST", JOBS, {}, wanted())
    fake.refused.extend([(409, {"message": "already exists"})])
    fake.script.extend([lambda fake: setattr(fake, "away", 1), lambda fake: None, well])
    assert any(words.startswith("adopted") for _, words in lead())
    fake.answer("POST", JOBS, {}, wanted())
    fake.forbidden.add(f"/trainjobs/{make_trainjob_name(POD.run, KEY)}")
    with pytest.raises(TrainingError, match=r"may not make or adopt TrainJobs in .*/trainjobs/finetune-\w+\. Apply what"):
        lead()


def test_a_done_one_is_taken_as_it_is(fake: FakeTrainer, lead: Any) -> None:
    fake.answer("POST", JOBS, {}, wanted())
    fake.end("complete")
    lead()
    assert fake.made == 1


def test_a_foreign_one_of_the_name_is_left_alone(fake: FakeTrainer, lead: Any) -> None:
    foreign = wanted()
    foreign["metadata"]["annotations"] = {}
    fake.answer("POST", JOBS, {}, foreign)
    with pytest.raises(TrainingError, match=r"none of ours in finetune-\w+\. Rename it, or delete it"):
        lead()
    assert len(fake.jobs) == 1
    assert not any(method in ("PATCH", "DELETE") for method, _ in fake.calls)


def test_a_failed_node_has_the_last_word(fake: FakeTrainer, lead: Any) -> None:
    def peer(fake: FakeTrainer) -> None:
        fake.put_pod(0, "failed")
        fake.say(0, "finetune: RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.1.2.3]:4711")
        node_1_says_nan(fake)

    fake.script.extend([both_run, lambda fake: fake.drop_pods(), peer])
    with pytest.raises(TrainingError, match=r"^node 1 failed: the loss became nan in step 2\. Lower learning_rate in finetune-"):
        lead()
    assert len(fake.jobs) == 1  # to be looked at; it goes with the step's pod, or when the step is run again


def test_a_node_out_of_memory_says_so(fake: FakeTrainer, lead: Any) -> None:
    def killed(fake: FakeTrainer) -> None:
        pod = fake.put_pod(1, "failed")
        pod["status"]["containerStatuses"][0]["state"]["terminated"].update(exitCode=137, reason="OOMKilled")
        fake.end("failed")

    fake.script.append(killed)
    with pytest.raises(TrainingError, match="node 1 failed: it used more memory than it may; raise gpu_memory_limit"):
        lead()


def evicted(fake: FakeTrainer) -> None:
    fake.drop_pods()
    gone = fake.put_pod(
        0, "failed", conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
    )
    gone["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = 137
    fake.put_pod(1, "failed")
    fake.say(1, "finetune: RuntimeError: Connection reset by peer")
    fake.end("failed")


def test_a_lost_node_starts_all_anew(fake: FakeTrainer, lead: Any) -> None:
    fake.script.extend([both_run, evicted, lambda fake: None, both_run, well])
    log = lead()
    words = "node 0 was taken away (EvictionByEvictionAPI); all nodes start again from the last checkpoint (1 of 1)"
    assert words in log
    assert fake.made == 2


def test_pods_of_a_trainjob_before_are_not_listened_to(fake: FakeTrainer, lead: Any) -> None:
    """It had the same name; its pods may take some seconds to end."""

    def beside_old_ones(fake: FakeTrainer) -> None:
        fake.job["metadata"]["creationTimestamp"] = "2026-11-25T01:38:00Z"
        fake.made = 1
        fake.put_pod(1, "running")["metadata"]["creationTimestamp"] = "2026-11-25T01:37:00Z"
        fake.say(1, "an old word")
        fake.made = 2
        both_run(fake)
        fake.say(0, "a new word")

    fake.script.extend([beside_old_ones, lambda fake: None, lambda fake: None, well])
    log = lead()
    assert [words for _, words in log if "word" in words] == ["node 0: a new word"]


def test_nodes_lost_too_often_end_it(fake: FakeTrainer, lead: Any) -> None:
    def deleted(fake: FakeTrainer) -> None:
        fake.drop_pods()
        fake.end("failed")

    fake.script.extend([both_run, deleted, lambda fake: None, both_run, deleted])
    with pytest.raises(TrainingError, match=r"node 0 was lost, 2 times in finetune-\w+\. Look at the nodes"):
        lead()


def test_the_one_deleted_first_was_lost(fake: FakeTrainer, lead: Any) -> None:
    """The Job's controller ends the others afterwards."""

    def deleted(fake: FakeTrainer) -> None:
        fake.drop_pods()
        fake.put_pod(0, "leaving")["metadata"]["deletionTimestamp"] = "2026-11-25T01:40:05Z"
        fake.put_pod(1, "leaving")["metadata"]["deletionTimestamp"] = "2026-11-25T01:39:50Z"

    def over(fake: FakeTrainer) -> None:
        fake.drop_pods()
        fake.end("failed")

    fake.script.extend([both_run, deleted, over])
    with pytest.raises(TrainingError, match="node 1 was lost, 1 times"):
        lead(place=PLACE.model_copy(update={"restarts": 0}))


def test_its_own_deadline_ends_it(fake: FakeTrainer, lead: Any) -> None:
    fake.script.extend([both_run, lambda fake: fake.end("failed", reason="DeadlineExceeded", message="TrainJob exceeded")])
    with pytest.raises(TrainingError, match=r"took longer than it may in finetune-\w+\. Raise gpu_timeout_s"):
        lead()


def test_a_trainjob_deleted_from_outside_ends_the_step(fake: FakeTrainer, lead: Any) -> None:
    fake.script.extend([both_run, lambda fake: fake.jobs.clear()])
    with pytest.raises(TrainingError, match="deleted by somebody else"):
        lead()


def test_without_a_controller_nothing_comes_up(fake: FakeTrainer, lead: Any) -> None:
    with pytest.raises(TrainingError, match="no pod of it came up in 0 s; does Trainer's controller run"):
        lead(patience_s=0.1)
    assert fake.jobs == {}


def test_a_queue_is_waited_for(fake: FakeTrainer, lead: Any) -> None:
    def queued(fake: FakeTrainer) -> None:
        fake.job["spec"]["suspend"] = True
        time.sleep(0.05)

    def admitted(fake: FakeTrainer) -> None:
        fake.job["spec"]["suspend"] = False
        both_run(fake)

    fake.script.extend([queued, queued, queued, admitted, well])
    log = lead(patience_s=0.1)
    assert f"TrainJob {make_trainjob_name(POD.run, KEY)}: waits in a queue" in log


def test_kubernetes_may_be_away_for_a_while(fake: FakeTrainer, lead: Any) -> None:
    fake.script.extend([both_run, lambda fake: setattr(fake, "away", 4), well])
    log = lead()
    assert any("Kubernetes is away" in words for _, words in log)
    fake.script.extend([both_run, lambda fake: setattr(fake, "away", 10**6)])
    with pytest.raises(TrainingError, match=r"Kubernetes was away for .*the TrainJob goes on meanwhile and is adopted"):
        lead(patience_s=0.1)
    assert len(fake.jobs) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, "404 page not found"), r"Kubeflow Trainer is not installed in .*\. Install Kubeflow Trainer 2\.2"),
        ((403, {"message": "no"}), r"may not make or adopt TrainJobs in .*pipelines\.namespace"),
        ((400, {"message": 'strict decoding error: unknown field "spec.runtimePatches"'}), "was refused.*spec.runtimePatches"),
        ((403, {"message": f"{HOOK} denied the request: unsupported runtime"}), r"unsupported runtime.*pipelines\.doctor"),
        ((422, {"message": "spec.trainer.numNodes: Invalid value"}), r"numNodes.*pipelines\.doctor"),
    ],
)
def test_what_is_refused_is_reported_with_the_cure(fake: FakeTrainer, lead: Any, answer: Any, words: str) -> None:
    fake.refused.append(answer)
    with pytest.raises(TrainingError, match=words):
        lead()
    assert fake.made == 0


def test_a_webhook_that_starts_is_waited_for(fake: FakeTrainer, lead: Any) -> None:
    failed = {"message": "failed calling webhook: connection refused"}
    fake.refused.extend([(500, failed), (500, failed)])
    fake.script.append(well)
    lead()
    assert fake.made == 1


def test_without_the_right_to_read_logs(fake: FakeTrainer, lead: Any) -> None:
    fake.forbidden.add("/log")
    fake.script.append(both_run)
    with pytest.raises(TrainingError, match=r"may not follow its training in .*/log\. Apply what"):
        lead()


STEP = """
import json, sys
from audiotune.outside.kubernetes import connect_kubernetes
from components.finetune.nodes.node_resources import NodeResources
from components.finetune.nodes.trainjob_controller import TrainJobController
from components.finetune.nodes.trainjob import OwnerPod
url, place = sys.argv[1], NodeResources.model_validate_json(sys.argv[2])
pod, wanted = OwnerPod(*json.loads(sys.argv[3])), json.loads(sys.argv[4])
log = lambda share, words: print(words, flush=True)
api, quick = connect_kubernetes(address=url), connect_kubernetes(address=url, timeout_s=5)
TrainJobController(api, quick, pod, place, log, every_s=0.05).run_trainjob(wanted)
"""


@pytest.mark.parametrize(("number", "left"), [(signal.SIGTERM, 0), (signal.SIGKILL, 1)])
def test_the_step_ends_and_takes_it_along(fake: FakeTrainer, number: signal.Signals, left: int) -> None:
    """SIGTERM's first act is the one delete call; nothing can be done on SIGKILL: the owner and the deadline are for that."""
    fake.script.append(both_run)
    with serving(fake) as url:
        given = [url, PLACE.model_dump_json(), json.dumps([POD.namespace, POD.name, POD.uid, POD.run]), json.dumps(wanted())]
        step = subprocess.Popen([sys.executable, "-c", STEP, *given], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert step.stdout is not None
        for line in step.stdout:
            if "2 of 2 nodes run" in line:
                break
        step.stdout.close()  # as on a cluster, where nobody reads any more: nothing may be printed
        step.send_signal(number)
        assert step.wait(timeout=60) == (143 if number == signal.SIGTERM else -9)
    assert len(fake.jobs) == left
    assert fake.calls[-1][0] == ("GET" if left else "DELETE")


def test_the_steps_own_pod(fake: FakeTrainer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match="needs a Kubernetes cluster with Kubeflow Trainer.*devices to the GPUs of this machine"
    ):
        make_controller(PLACE, TrainingLog())
    (tmp_path / "namespace").write_text("jam\n")
    monkeypatch.setenv("KFP_POD_NAME", "tune-x1")
    monkeypatch.setenv("KFP_POD_UID", "pod-uid-1")
    with serving(fake) as url:
        with pytest.raises(TrainingError, match="no step of a Kubeflow run in tune-x1. Set nodes to 1"):
            find_own_pod(connect_kubernetes(address=url), tmp_path)
        fake.pods["tune-x1"] = {"metadata": {"labels": {"pipeline/runid": POD.run}}}
        assert find_own_pod(connect_kubernetes(address=url), tmp_path) == POD
        fake.forbidden.add("/pods/tune-x1")
        with pytest.raises(TrainingError, match="may not look at its own pod"):
            find_own_pod(connect_kubernetes(address=url), tmp_path)


def test_the_place_comes_with_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SettingsError, match="AUDIOTUNE_TRAINJOB does not say where"):
        node_resources_from_environment()
    monkeypatch.setenv(VARIABLE, PLACE.model_dump_json())
    assert node_resources_from_environment() == PLACE
    monkeypatch.setenv(VARIABLE, json.dumps({"image": ""}))
    with pytest.raises(SettingsError, match="does not fit"):
        node_resources_from_environment()


def test_nodes_meet_where_the_runtime_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(f"PET_{name}", raising=False)
    with pytest.raises(SettingsError, match="PET_NNODES, PET_NODE_RANK, PET_MASTER_ADDR, PET_MASTER_PORT does not say"):
        _set_rendezvous(2)
    for name, value in {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "x-node-0-0.x", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(f"PET_{name}", value)
    with pytest.raises(SettingsError, match="3 nodes asked for, 2 are there"):
        _set_rendezvous(3)
    _set_rendezvous(2)
    assert (os.environ["NODE_RANK"], os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("1", "x-node-0-0.x", "29500")


def test_the_error_of_another_process_is_one_line() -> None:
    trace = "\n-- Process 1 terminated with the following error:\nTraceback ...\naudiotune.errors.TrainingError: the loss became nan\n"
    assert _extract_error_line(trace) == "the loss became nan"
    assert _extract_error_line("RuntimeError: x\n\n") == "RuntimeError: x"


def test_rights_and_runtime_come_only_with_nodes() -> None:
    one = build_objects(CLUSTER.model_copy(update={"nodes": 1}), "jam")
    assert not any("TrainingRuntime" in each["kind"] for each in one)
    several = {(each["kind"], each["metadata"]["name"]): each for each in build_objects(CLUSTER, "jam")}
    assert [
        rule for rule in several["Role", "audio-tune-steps"]["rules"] if rule in build_training_rules()
    ] == build_training_rules()
    policy = several["NetworkPolicy", "audio-tune-training"]["spec"]
    pod = wanted()["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]["template"][
        "spec"
    ]
    assert policy["podSelector"]["matchLabels"] == pod["template"]["metadata"]["labels"]
    assert policy["ingress"] == [{"from": [{"podSelector": policy["podSelector"]}]}]
    (job,) = build_runtime_spec(CLUSTER)["template"]["spec"]["replicatedJobs"]
    assert job["name"] == "node"
    assert not job["template"]["spec"]["template"]["spec"]["automountServiceAccountToken"]
