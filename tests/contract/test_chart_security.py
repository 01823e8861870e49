"""The scorecard of the chart at default values is full, and each of its lines can fail."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from deploy.chart import scorecard
from tests.rendered_chart import Object, containers, merged, objects, one, pods, text

DIGEST = "sha256:" + "0" * 64
DIGESTS = {
    "images": {
        name: {"digest": DIGEST} for name in ("prepare", "train", "generation", "studio", "mlflow", "objectStore", "database")
    }
}
EVERYTHING = {
    "kfp": {"mode": "multi-user", "endpoint": "http://ml-pipeline.kubeflow:8888"},
    "monitoring": {"serviceMonitor": {"enabled": True}, "rules": {"enabled": True}, "dashboard": {"enabled": True}},
    "generation": {"gpu": {"preset": "mig-2g.20gb"}},
    "pipelines": {"nodes": 2},
    "bases": ["stabilityai/stable-audio-open-1.0"],
    "huggingFace": {"secret": "hub"},
}


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_card_is_full(values: dict[str, Any]) -> None:
    assert {
        line: failing for line, failing in scorecard.list_failing_pods(objects(merged(DIGESTS, values))).items() if failing
    } == {}


def test_two_renders_are_the_same_bytes() -> None:
    first = text()
    text.__globals__["_text"].cache_clear()
    assert text() == first


def test_no_secret_is_rendered() -> None:
    """Those of the chart are made in the cluster; a rendered one would be new at every upgrade, or the same for everybody."""
    assert not [o for o in objects(EVERYTHING) if o["kind"] == "Secret"]


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_no_hook_leaves_anything_behind_but_a_test_whose_log_is_wanted(values: dict[str, Any]) -> None:
    """Helm forgets what a hook made: an uninstall leaves it, unless it went with its success."""
    for made in objects(values):
        annotations = made["metadata"].get("annotations", {})
        if "helm.sh/hook" in annotations and "hook-succeeded" not in annotations["helm.sh/hook-delete-policy"]:
            assert (made["kind"], annotations["helm.sh/hook"]) == ("Pod", "test"), made["metadata"]["name"]


def test_names_are_unique() -> None:
    names = [(o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects(EVERYTHING)]
    assert len(names) == len(set(names))


def test_secrets_stand_in_no_argument_and_no_plain_variable() -> None:
    for owner, spec in pods(objects(EVERYTHING)):
        for container in containers(spec):
            plain = {e["name"] for e in container.get("env", []) if "value" in e}
            assert not {name for name in plain if any(w in name for w in ("SECRET", "PASSWORD", "TOKEN", "KEY"))}, owner


def test_a_pod_that_ends_outlives_the_longest_generation() -> None:
    spec = one(objects({"generation": {"longestSeconds": 1200, "preStopSeconds": 15}}), "Deployment", "generation")["spec"][
        "template"
    ]["spec"]
    assert spec["terminationGracePeriodSeconds"] > 1200 + 15


def test_the_jobs_that_hold_a_token_may_only_make_secrets_and_look_at_their_own() -> None:
    for role in (o for o in objects() if o["kind"] == "Role"):
        for rule in role["rules"]:
            assert set(rule["verbs"]) <= {"create", "get"}
            assert rule["verbs"] == ["create"] or rule["resourceNames"]


def test_only_the_jobs_that_erase_and_the_set_up_hold_the_key_that_erases() -> None:
    holders = [name for name, spec in pods(objects()) if "audio-tune-store-erasure" in str(spec)]
    assert sorted(name.rpartition("/")[2] for name in holders) == [
        "audio-tune-bootstrap-r1",
        "audio-tune-erasure",
        "audio-tune-withdrawals",
    ]
    assert one(objects(), "CronJob", "audio-tune-erasure")["spec"]["suspend"] is True
    container = one(objects(), "CronJob", "audio-tune-withdrawals")["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert container["command"] == ["python", "-m", "audiotune.cli", "withdrawal", "finish"]  # only what a member asked for


def _pod() -> Object:
    locked = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    amounts = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    container = {"name": "a", "image": f"x@{DIGEST}", "securityContext": locked, "resources": amounts, "env": [{"name": "A"}]}
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}}, "spec": spec}


POLICY = {
    "kind": "NetworkPolicy",
    "metadata": {"name": "n"},
    "spec": {"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress", "Egress"]},
}
FAULTS: dict[str, tuple[str, Any]] = {
    "restricted": ("spec.containers.0.securityContext.capabilities", {"drop": ["NET_RAW"]}),
    "read-only root": ("spec.containers.0.securityContext.readOnlyRootFilesystem", False),
    "requests and limits": ("spec.containers.0.resources", {"requests": {"cpu": "1"}}),
    "no token": ("spec.automountServiceAccountToken", True),
    "images by digest": ("spec.containers.0.image", "x:latest"),
    "default deny": ("metadata.labels", {"a": "other"}),
    "unique variables": ("spec.containers.0.env", [{"name": "A"}, {"name": "A"}]),
}


@pytest.mark.parametrize("line", FAULTS)
def test_each_line_can_fail(line: str) -> None:
    good = _pod()
    assert not any(scorecard.list_failing_pods([good, POLICY]).values())
    path, value = FAULTS[line]
    bad: Any = copy.deepcopy(good)
    target = bad
    *way, last = path.split(".")
    for key in way:
        target = target[int(key) if key.isdigit() else key]
    target[last] = value
    assert [name for name, failing in scorecard.list_failing_pods([bad, POLICY]).items() if failing] == [line]


LOCK = {"images": [{"digest": f"sha256:{'0' * 64}"}], "database": f"docker.io/library/postgres@sha256:{'1' * 64}"}


@pytest.mark.parametrize(
    ("image", "held"),
    [
        (f"home/audio-tune/studio@sha256:{'0' * 64}", True),
        (f"docker.io/library/postgres@sha256:{'1' * 64}", True),
        (f"home/audio-tune/studio@sha256:{'2' * 64}", False),
        ("home/audio-tune/studio:0.2.0", False),
        ("postgres", False),
    ],
)
def test_a_lock_refuses_what_it_does_not_hold(image: str, held: bool) -> None:
    """Also the images of a run's steps: they stand in a ConfigMap, and a TrainJob's below a runtime."""
    pod: Any = _pod()
    pod["spec"]["containers"][0]["image"] = image
    steps = {"kind": "ConfigMap", "data": {"cluster.json": json.dumps({"cluster": {"images": {"prepare": image, "train": ""}}})}}
    runtime = {"kind": "TrainingRuntime", "spec": {"template": {"spec": {"replicatedJobs": [{"template": {"image": image}}]}}}}
    for named in (pod, steps, runtime):
        assert scorecard.list_unlocked_images([named], LOCK) == ([] if held else [image])


def test_the_rendered_chart_is_held_by_its_lock_and_an_image_by_tag_is_not() -> None:
    lock = {"images": [{"digest": DIGEST}]}
    rendered = objects(merged(DIGESTS, EVERYTHING))
    assert {short_name(image) for image in scorecard.list_images(rendered)} >= {
        "prepare",
        "train",
        "generation",
        "studio",
        "postgres",
    }
    assert scorecard.list_unlocked_images(rendered, lock) == []
    by_tag = merged(DIGESTS, EVERYTHING, {"images": {"database": {"digest": ""}, "train": {"digest": ""}}})
    unlocked = {short_name(image) for image in scorecard.list_unlocked_images(objects(by_tag), lock)}
    assert unlocked == {"train", "postgres"}


def short_name(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]
