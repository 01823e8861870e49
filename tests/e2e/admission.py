"""A real API server takes everything the chart renders, other projects' objects too. `python -m tests.e2e.admission`

Every object is applied as a server-side dry run with strict validation; only accounts and priority classes, which a pod needs to be
judged, are made. The definitions of ServiceMonitor,
PrometheusRule, ScaledObject and HTTPRoute (tests/contract/crds) are registered where they are not. All of it is taken away at the end,
with the namespace audio-tune-admission.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.contract.test_chart_versions import CLAIM, EXTERNAL, KEDA, SETS, WHOLE
from tests.e2e.lab import Cluster, ClusterError, why_not
from tests.kubernetes_schemas import definitions
from tests.rendered_chart import merged, objects

Object = dict[str, Any]
NEEDED = ("ServiceAccount", "PriorityClass")
WRONG = {"monitoring": {"serviceMonitor": {"enabled": True}}}


class AdmissionCheck:
    """The API server, asked without consequences."""

    def __init__(self) -> None:
        self.cluster = Cluster("audio-tune-admission")
        self.registered: list[str] = []
        self.made: set[tuple[str, str]] = set()

    def set_up(self) -> None:
        self.cluster.kubectl("create", "namespace", self.cluster.namespace, check=False)
        for definition in definitions():
            name = definition["metadata"]["name"]
            if not self.cluster.kubectl("get", "crd", name, "--ignore-not-found", "-o", "name").strip():
                self.cluster.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(definition))
                self.registered.append(name)
            self.cluster.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=60s")

    def takes(self, found: list[Object]) -> int:
        """How many objects were taken. Raises ClusterError with the server's words."""
        here = [self._moved(one) for one in found]
        for one in here:
            if one["kind"] in NEEDED:  # a pod is refused without them
                self.cluster.kubectl("apply", "-f", "-", given=json.dumps(one))
                self.made.add((one["kind"], one["metadata"]["name"]))
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": here})
        told = self.cluster.kubectl(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-", given=given
        )
        taken = len([line for line in told.splitlines() if line.endswith("serverside-applied (server dry run)")])
        if taken != len(here):
            raise ClusterError(f"{taken} of {len(here)} objects were taken:\n{told}")
        return taken

    def refuses_a_typo(self) -> None:
        """So that a yes means something."""
        [monitor] = [one for one in objects(WRONG) if one["kind"] == "ServiceMonitor" and "generation" in one["metadata"]["name"]]
        try:
            self.takes([merged(monitor, {"spec": {"endpoint": []}})])
        except ClusterError as e:
            if "endpoint" in str(e):
                return
            raise
        raise ClusterError("a ServiceMonitor with a key nobody knows was taken: the definitions are not strict")

    def clean(self) -> None:
        for kind, name in (*(("crd", name) for name in self.registered), *self.made):
            self.cluster.kubectl("delete", kind, name, "--wait=false", check=False)
        self.cluster.kubectl("delete", "namespace", self.cluster.namespace, "--wait=false", check=False)

    def _moved(self, found: Object) -> Object:
        namespaced = "namespace" in found["metadata"]
        metadata = {**found["metadata"], **({"namespace": self.cluster.namespace} if namespaced else {})}
        return {**found, "metadata": metadata}


def main() -> int:
    if reason := why_not():
        print(f"no API server was asked: {reason}")
        return 0
    door = AdmissionCheck()
    sets = {**SETS, "claim": CLAIM, "whole and external": merged(WHOLE, EXTERNAL)}
    try:
        door.set_up()
        for name, values in sets.items():
            print(f"{door.takes(objects(values, api_versions=KEDA)):5} objects taken  {name}", flush=True)
        door.refuses_a_typo()
        print("    a key nobody knows is refused")
    except ClusterError as e:
        print(f"admission: {e}", file=sys.stderr)
        return 1
    finally:
        door.clean()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
