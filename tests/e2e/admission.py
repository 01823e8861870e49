"""A real API server takes everything the chart renders, other projects' objects too. `python -m tests.e2e.admission`

Every object is applied as a server-side dry run with strict validation. Only accounts and priority classes are really made, since a pod
is refused without them. The definitions of ServiceMonitor, PrometheusRule, ScaledObject and HTTPRoute (tests/contract/crds) are
registered where they are missing. At the end all of it is deleted, with the namespace audio-tune-admission.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.contract.test_chart_versions import CLAIM, EXTERNAL, KEDA, SETS, WHOLE
from tests.e2e.cluster_access import find_obstacle
from tests.e2e.cluster_namespace import ClusterError, ClusterNamespace
from tests.kubernetes_schemas import definitions
from tests.rendered_chart import merged, objects

Object = dict[str, Any]
NEEDED = ("ServiceAccount", "PriorityClass")
WRONG = {"monitoring": {"serviceMonitor": {"enabled": True}}}


class AdmissionCheck:
    """Asks the API server by dry runs."""

    def __init__(self) -> None:
        self.cluster = ClusterNamespace("audio-tune-admission")
        self.registered: list[str] = []
        self.made: set[tuple[str, str]] = set()

    def set_up(self) -> None:
        self.cluster.kubectl("create", "namespace", self.cluster.namespace, check=False)
        for definition in definitions():
            name = definition["metadata"]["name"]
            if not self.cluster.kubectl("get", "crd", name, "--ignore-not-found", "-o", "name").strip():
                self.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(definition))
                self.registered.append(name)
            self.cluster.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=60s")

    def apply_dry(self, found: list[Object]) -> int:
        """How many objects were taken. Raises ClusterError with the server's words."""
        here = [self._move_here(one) for one in found]
        for one in here:
            if one["kind"] in NEEDED:  # a pod is refused without them
                self.cluster.apply(one)
                self.made.add((one["kind"], one["metadata"]["name"]))
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": here})
        printed = self.cluster.kubectl(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text
        )
        taken = len([line for line in printed.splitlines() if line.endswith("serverside-applied (server dry run)")])
        if taken != len(here):
            raise ClusterError(f"{taken} of {len(here)} objects were taken:\n{printed}")
        return taken

    def check_typo_refused(self) -> None:
        """A key that nobody knows is refused; otherwise the other answers would mean nothing."""
        [monitor] = [one for one in objects(WRONG) if one["kind"] == "ServiceMonitor" and "generation" in one["metadata"]["name"]]
        try:
            self.apply_dry([merged(monitor, {"spec": {"endpoint": []}})])
        except ClusterError as e:
            if "endpoint" in str(e):
                return
            raise
        raise ClusterError("a ServiceMonitor with a key nobody knows was taken: the definitions are not strict")

    def clean(self) -> None:
        for kind, name in (*(("crd", name) for name in self.registered), *self.made):
            self.cluster.kubectl("delete", kind, name, "--wait=false", check=False)
        self.cluster.delete()

    def _move_here(self, found: Object) -> Object:
        namespaced = "namespace" in found["metadata"]
        metadata = {**found["metadata"], **({"namespace": self.cluster.namespace} if namespaced else {})}
        return {**found, "metadata": metadata}


def main() -> int:
    if reason := find_obstacle():
        print(f"no API server was asked: {reason}")
        return 0
    check = AdmissionCheck()
    sets = {**SETS, "claim": CLAIM, "whole and external": merged(WHOLE, EXTERNAL)}
    try:
        check.set_up()
        for name, values in sets.items():
            print(f"{check.apply_dry(objects(values, api_versions=KEDA)):5} objects taken  {name}", flush=True)
        check.check_typo_refused()
        print("    a key nobody knows is refused")
    except ClusterError as e:
        print(f"admission: {e}", file=sys.stderr)
        return 1
    finally:
        check.clean()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
