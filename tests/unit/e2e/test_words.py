"""How the run on a cluster reports a slow or full machine; runs without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.cluster_namespace import describe_fault
from tests.e2e.light_stages import find_shortage


def pod(state: dict[str, Any], last: dict[str, Any] | None = None, restarts: int = 0) -> dict[str, Any]:
    status = {"name": "studio", "state": state, "lastState": last or {}, "restartCount": restarts}
    return {"status": {"containerStatuses": [status]}}


@pytest.mark.parametrize(
    "slow",
    [
        {"status": {}},
        pod({"waiting": {"reason": "ContainerCreating"}}),
        pod({"waiting": {"reason": "PodInitializing"}}),
        pod({"running": {"startedAt": "now"}}),
        pod({"terminated": {"exitCode": 0, "reason": "Completed"}}, restarts=9),
        pod({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1, "reason": "Error"}}, 2),
        pod({"running": {}}, {"terminated": {"exitCode": 137, "reason": "Error"}}, 8),
    ],
)
def test_a_pod_that_waits_is_no_fault_of_ours(slow: dict[str, Any]) -> None:
    assert describe_fault(slow) == ""


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (pod({"waiting": {"reason": "ImagePullBackOff"}}), "studio ImagePullBackOff"),
        (pod({"waiting": {"reason": "CreateContainerConfigError"}}), "studio CreateContainerConfigError"),
        (pod({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1}}, 7), "studio ended with 1, 7 times"),
    ],
)
def test_a_pod_that_cannot_come_is(bad: dict[str, Any], words: str) -> None:
    assert describe_fault(bad) == words


def test_a_builder_without_disk_or_network_is_told_from_a_broken_file() -> None:
    assert find_shortage("write /layer: No space left on device") == "disk"
    assert find_shortage("error sending request: dns error: failed to lookup") == "a network"
    assert find_shortage("install.sh: 7: cannot open /tool/index.sh: No such file") == ""
