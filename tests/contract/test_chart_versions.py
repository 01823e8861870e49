"""Every Kubernetes from 1.30 to 1.37 accepts the rendered chart, strictly; Helm 3 and Helm 4 render the same."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.kubernetes_schemas import VERSIONS, faults
from tests.rendered_chart import RefusedError, at, merged, needs, objects, program, text

EXTERNAL = {
    "objectStorage": {"kind": "external", "external": {"secret": "k", "endpoint": "https://s3.example", "caConfigMap": "ca"}},
    "database": {"kind": "external", "external": {"host": "db.example", "secret": "d"}},
    "registry": {"kind": "external", "external": {"url": "https://mlflow.example", "tokenSecret": "t"}},
}
WHOLE = {
    "kfp": {"mode": "multi-user", "endpoint": "http://ml-pipeline.kubeflow:8888", "tokenSecret": "t"},
    "monitoring": {"serviceMonitor": {"enabled": True}, "rules": {"enabled": True}, "dashboard": {"enabled": True}},
    "generation": {
        "gpu": {"preset": "h100-80gb"},
        "autoscaling": {"kind": "keda", "prometheusUrl": "http://p"},
        "env": {"TZ": "Europe/Berlin"},
    },
    "pipelines": {"gpu": {"preset": "mig-2g.20gb"}},
    "ingress": {"enabled": True, "studioHost": "s.example", "generationHost": "g.example", "tlsSecret": "cert"},
    "httpRoute": {"enabled": True, "studioHost": "s.example", "generationHost": "g.example", "parentRefs": [{"name": "gate"}]},
    "priorityClasses": {"create": True},
    "network": {"dns": {"cidrs": ["169.254.20.10/32"]}, "blocked": ["169.254.169.254/32", "fd00:ec2::254/128"]},
    "pods": {"labels": {"band": "us"}},
    "nameOverride": "band",
}
SINGLE = {"kfp": {"mode": "single-user", "endpoint": "http://ml-pipeline.kubeflow:8888"}, "access": {"firstOwner": ""}}
SMALL = {
    "studio": {"enabled": False},
    "journey": {"enabled": False},
    "network": {"policies": False},
    "database": {"backup": {"enabled": False}},
    "registry": {"migrate": False},
    "generation": {"autoscaling": {"kind": "hpa"}},
    "pods": {"runAsUser": None, "fsGroup": None},
}
CLAIM = {"generation": {"gpu": {"preset": "l4-24gb", "device": "claim"}}}
OIDC = {"issuer": "https://login.example", "clientId": "band", "secret": "123", "url": "https://s.example", "caConfigMap": "456"}
SIGN_IN = {"studio": {"oidc": OIDC}, "generation": {"webhooks": {"secret": "789", "hosts": ["daw.home:8443"]}}}
SETS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "whole": WHOLE,
    "external": EXTERNAL,
    "single-user": SINGLE,
    "small": SMALL,
    "sign-in": SIGN_IN,
}
KEDA = "keda.sh/v1alpha1/ScaledObject"
HELMS = [pytest.param(name, marks=needs(name)) for name in ("helm", "helm4")]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SETS)
def test_kubernetes_takes_every_object(name: str, version: str) -> None:
    found = objects(SETS[name], kube_version=f"{version}.0", api_versions=KEDA)
    assert len(found) > 20
    assert [fault for one in found for fault in faults(one, version)] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_claim_speaks_the_versions_own_words(version: str) -> None:
    if version in ("1.30", "1.31"):
        with pytest.raises(RefusedError, match=r"generation\.gpu\.device: claim needs Kubernetes 1\.32"):
            objects(CLAIM, kube_version=f"{version}.0")
        return
    found = objects(CLAIM, kube_version=f"{version}.0")
    [claim] = [one for one in found if one["kind"] == "ResourceClaimTemplate"]
    assert claim["apiVersion"] == ("resource.k8s.io/v1" if version >= "1.34" else "resource.k8s.io/v1beta1")
    assert [fault for one in found for fault in faults(one, version)] == []


@needs("helm")
def test_an_older_kubernetes_is_refused_by_helm() -> None:
    with pytest.raises(RefusedError, match=r">=1\.30\.0-0"):
        text({}, helm=program("helm"), kube_version="1.29.0")


def test_what_is_wrong_is_seen() -> None:
    """The schemas are strict: a typo, a wrong type and an unknown kind are each a fault, and so they are in other projects' objects."""
    found = {one["kind"]: one for one in objects(WHOLE, api_versions=KEDA)}
    for kind in ("Deployment", "NetworkPolicy", "CronJob", "ServiceMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute"):
        assert faults(found[kind], "1.34") == []
        assert faults(merged(found[kind], {"spec": {"typo": 1}}), "1.34"), kind
    assert faults(merged(found["Deployment"], at("spec.replicas", "one")), "1.34")
    assert faults(merged(found["Deployment"], {"apiVersion": "apps/v9"}), "1.34")


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("name", SETS)
def test_helm_3_and_helm_4_render_the_same_objects(name: str, helm: str) -> None:
    def of(engine: str | None) -> list[str]:
        written = text(SETS[name], helm=engine, api_versions=KEDA)
        return sorted(str(one) for one in yaml.safe_load_all(written) if one)

    assert of(program(helm)) == of(None)


@pytest.mark.parametrize("helm", HELMS)
def test_helm_3_and_helm_4_refuse_with_the_same_words(helm: str) -> None:
    for values, words in (({"images": {"typo": 1}}, "typo"), ({"kfp": {"mode": "single-user"}}, r"kfp\.endpoint: say where")):
        with pytest.raises(RefusedError, match=words):
            text(values, helm=program(helm))
