"""The service graph: every arrow is there and nothing else; what the pods are told to call is an arrow."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.chart.graph import load_graph
from tests.rendered_chart import Object, containers, objects, text

KFP = {"kfp": {"mode": "multi-user", "endpoint": "http://ml-pipeline.kubeflow:8888"}}
EXTERNAL = {
    "objectStorage": {"kind": "external", "external": {"secret": "k", "endpoint": "https://s3.example"}},
    "database": {"kind": "external", "external": {"host": "db.example", "secret": "d"}},
}
NODES = {**KFP, "pipelines": {"nodes": 2}}
BASES = {**KFP, "bases": ["stabilityai/stable-audio-open-1.0"], "huggingFace": {"endpoint": "http://hub.tools.svc:8081"}}
NOT_OURS = {
    "bases",
    "hub",
    "sign-in",
    "webhooks",
    "notices",
    "routes",
    "prometheus",
    "external-store",
    "external-database",
    "external-registry",
}


def policies(found: list[Object]) -> dict[str, Object]:
    return {o["metadata"]["name"]: o["spec"] for o in found if o["kind"] == "NetworkPolicy"}


def named(arrow: dict[str, Any]) -> str:
    return f"audio-tune-{arrow['from']}-to-{arrow['to']}-{arrow['port']}"


def test_every_node_of_an_arrow_is_declared_and_has_a_reason() -> None:
    data = load_graph()
    nodes = {**data["parts"], **data["outside"]}
    for arrow in data["arrows"]:
        assert {arrow["from"], arrow["to"]} <= set(nodes)
        assert arrow["why"]
    assert len({named(a) for a in data["arrows"]}) == len(data["arrows"])


@pytest.mark.parametrize(
    ("values", "absent"),
    [
        (
            {},
            {
                "steps",
                "training",
                "kubeflow",
                "webhooks",
                "notices",
                "routes",
                "prometheus",
                "external-store",
                "external-database",
                "external-registry",
                "sign-in",
                "internet",
                "bases",
                "hub",
            },
        ),
        (KFP, NOT_OURS | {"training"}),
        (NODES, NOT_OURS),
        (
            EXTERNAL,
            {
                "object-store",
                "database",
                "steps",
                "training",
                "kubeflow",
                "sign-in",
                "webhooks",
                "notices",
                "routes",
                "prometheus",
                "external-registry",
                "bases",
                "hub",
            },
        ),
        (BASES, NOT_OURS - {"bases", "hub"} | {"training"}),
    ],
    ids=["bundled", "kubeflow", "several nodes", "external", "bases"],
)
def test_an_arrow_is_there_when_both_its_ends_are(values: dict[str, Any], absent: set[str]) -> None:
    data = load_graph()
    wanted = {
        f"{named(arrow)}-{side}"
        for arrow in data["arrows"]
        for side, end in (("out", "from"), ("in", "to"))
        if not {arrow["from"], arrow["to"]} & absent and arrow[end] in data["parts"]
    }
    found = set(policies(objects(values))) - {
        "audio-tune-default-deny",
        "audio-tune-dns",
        "audio-tune-steps",
        "audio-tune-training",
    }
    assert found == wanted


def test_an_arrow_opens_one_port_to_one_part() -> None:
    found = policies(objects())
    out = found["audio-tune-studio-to-generation-3000-out"]
    assert out["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "studio"
    assert out["policyTypes"] == ["Egress"]
    [rule] = out["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 3000}]
    assert [p["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for p in rule["to"]] == ["generation"]


def test_what_several_nodes_need_is_what_the_code_says() -> None:
    """One source for the chart and for those who run Kubeflow by kustomize: pipelines/cluster/namespace.py."""
    from components.finetune.nodes.node_resources import LABELS, RUNTIME
    from pipelines.cluster.namespace import build_runtime_spec, build_step_rules
    from pipelines.cluster.settings import Cluster, StepImages

    found = {(o["kind"], o["metadata"]["name"]): o for o in objects(NODES)}
    store = "audio-tune-store-pipelines"
    assert found["Role", "audio-tune-steps"]["rules"] == build_step_rules(Cluster(nodes=2, store_secret=store))
    runtime = found["TrainingRuntime", RUNTIME]["spec"]
    image = runtime["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert runtime == build_runtime_spec(Cluster(images=StepImages(train=image)))
    spec = policies(objects(NODES))["audio-tune-training"]
    assert spec["podSelector"] == {"matchLabels": dict(LABELS)}
    assert spec["ingress"] == [{"from": [{"podSelector": spec["podSelector"]}]}]
    assert {"to": [{"podSelector": spec["podSelector"]}]} in spec["egress"]
    one = {(o["kind"], o["metadata"]["name"]): o for o in objects(KFP)}
    assert ("TrainingRuntime", RUNTIME) not in one
    assert one["Role", "audio-tune-steps"]["rules"] == build_step_rules(Cluster(store_secret=store))


def test_the_metadata_address_is_left_out_of_every_way_outside() -> None:
    for name, spec in policies(objects(EXTERNAL)).items():
        for rule in spec.get("egress", []):
            for peer in rule["to"]:
                block = peer.get("ipBlock", {})
                if block.get("cidr") == "0.0.0.0/0":
                    assert "169.254.169.254/32" in block["except"], name


def test_nobody_outside_reaches_mlflow_or_the_stores() -> None:
    for name, spec in policies(objects({"ingress": {"enabled": True, "studioHost": "s.example"}})).items():
        if re.search(r"-to-(registry|database|object-store)-\d+-in$", name):
            assert all(
                "podSelector" in peer and "namespaceSelector" not in peer for r in spec["ingress"] for peer in r["from"]
            ), name


def test_every_address_a_pod_is_told_is_an_arrow() -> None:
    arrows = {(a["from"], a["to"], a["port"]) for a in load_graph()["arrows"]}
    seen = 0
    for found in objects(KFP):
        template = (found.get("spec") or {}).get("template", found if found["kind"] == "Pod" else {})
        if "spec" not in (template or {}):
            continue
        part = template["metadata"]["labels"]["app.kubernetes.io/component"]
        for container in containers(template["spec"]):
            for variable in container.get("env", []):
                url = urlsplit(str(variable.get("value", "")))
                if url.hostname and url.hostname.startswith("audio-tune-"):
                    target = url.hostname.split(".")[0].removeprefix("audio-tune-")
                    assert (part, target, url.port) in arrows, f"{found['metadata']['name']}: {variable}"
                    seen += 1
    assert seen > 10


def test_policies_can_be_left_to_others() -> None:
    assert "kind: NetworkPolicy" not in text({"network": {"policies": False}})


def test_the_hub_of_a_group_may_be_a_pod_at_a_port_of_its_own() -> None:
    rule = policies(objects(BASES))["audio-tune-bases-to-hub-443-out"]["egress"][0]
    assert {"protocol": "TCP", "port": 8081} in rule["ports"]
    assert {"namespaceSelector": {}} in rule["to"]
