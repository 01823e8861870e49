"""Finds what makes runs on Kubeflow fail, and names the cure. Changes nothing.

    python -m pipelines.doctor --for-cluster cluster.json --endpoint http://localhost:8888
    python -m pipelines.doctor --for-cluster cluster.json --namespace jam --json

Exit code: 0 nothing is wrong (there may be warnings), 1 something is wrong, 2 the command line is wrong, 3 neither Kubernetes nor
Kubeflow answers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from audiotune.errors import AudioTuneError, PipelineError
from audiotune.outside.kubeflow import Kubeflow
from audiotune.outside.kubernetes import Kubernetes, connect_kubernetes
from pipelines.cluster.namespace import ACCOUNT
from pipelines.cluster.settings import Cluster, cluster_from_environment, load_cluster
from pipelines.doctor import checks_environment, checks_namespace, checks_training
from pipelines.doctor.findings import Check, CheckTarget, DoctorFinding, run_check

CHECKS: dict[str, Check] = {
    "kubeflow": checks_environment.check_kubeflow,
    "pod security": checks_namespace.check_pod_security,
    "launcher": checks_namespace.check_launcher,
    "secrets": checks_namespace.check_secrets,
    "logs": checks_namespace.check_logs,
    "rights": checks_namespace.check_rights,
    "retries": checks_namespace.check_retries,
    "store name": checks_namespace.check_store_name,
    "gpu": checks_environment.check_gpus,
    "trainer": checks_training.check_trainer,
    "images": checks_environment.check_images,
    "mlflow": checks_environment.check_mlflow,
    "clock": checks_environment.check_clock,
}
_MARKS = {"well": "✓", "warning": "!", "wrong": "✗", "unknown": "?"}


def run_checks(target: CheckTarget) -> list[DoctorFinding]:
    """Runs all checks; the findings are in the order in which to cure them."""
    return [finding for about, check in CHECKS.items() for finding in run_check(about, check, target)]


def format_findings(found: list[DoctorFinding]) -> str:
    """The findings as text."""
    lines = []
    for finding in found:
        lines.append(f"{_MARKS[finding.state]} {finding.about}: {finding.words}")
        lines += [f"    {line}" for line in finding.cure.splitlines() if finding.state != "well"]
    wrong = sum(finding.state == "wrong" for finding in found)
    unknown = sum(finding.state == "unknown" for finding in found)
    end = f"{wrong} wrong of {len(found)}" if wrong else "nothing is wrong"
    return "\n".join([*lines, f"{end}, {unknown} could not be seen" if unknown else end])


def main(argv: list[str] | None = None) -> int:
    args = _build_parser().parse_args(argv)
    try:
        cluster = (load_cluster(args.for_cluster) if args.for_cluster else cluster_from_environment()) or Cluster()
    except AudioTuneError as e:
        print(f"doctor: {e}", file=sys.stderr)
        return 2
    kubernetes = _try_kubernetes(args)
    kubeflow = Kubeflow(args.endpoint, token=args.token, user=args.user, timeout_s=10) if args.endpoint else None
    if kubernetes is None and kubeflow is None:
        return 3
    account = args.service_account or cluster.service_account or ACCOUNT
    found = run_checks(CheckTarget(cluster, args.namespace or args.home, args.home, account, kubernetes, kubeflow))
    print(json.dumps([finding.as_dict() for finding in found], indent=1) if args.json else format_findings(found))
    return 1 if any(finding.state == "wrong" for finding in found) else 0


def _try_kubernetes(args: argparse.Namespace) -> Kubernetes | None:
    try:
        found = connect_kubernetes(args.kubeconfig, args.kubernetes, args.context)
        found.server_date()  # a request that every user may make
        return found
    except PipelineError as e:
        print(f"doctor: {e}", file=sys.stderr)
        return None


def _build_parser() -> argparse.ArgumentParser:
    def env(name: str) -> str:
        return os.environ.get(f"AUDIOTUNE_KFP_{name}", "")

    made = argparse.ArgumentParser(prog="python -m pipelines.doctor", description=(__doc__ or "").split("\n")[0])
    made.add_argument("--for-cluster", type=Path, metavar="FILE", help="facts of the cluster (AUDIOTUNE_CLUSTER)")
    made.add_argument("--endpoint", default=env("ENDPOINT"), help="Kubeflow Pipelines API (AUDIOTUNE_KFP_ENDPOINT)")
    made.add_argument("--token", default=env("TOKEN"), help="bearer token (AUDIOTUNE_KFP_TOKEN)")
    made.add_argument("--user", default=env("USER"), help="kubeflow-userid header (AUDIOTUNE_KFP_USER)")
    made.add_argument("--namespace", default=env("NAMESPACE"), help="where runs land (default: Kubeflow's own: single-user)")
    made.add_argument("--home", default="kubeflow", help="namespace Kubeflow itself lives in (default kubeflow)")
    made.add_argument("--service-account", default="", help=f"account of the steps (default: the cluster's, else {ACCOUNT})")
    made.add_argument(
        "--kubeconfig", default="", help="file to reach Kubernetes by (default: KUBECONFIG, ~/.kube/config, the pod's own)"
    )
    made.add_argument("--context", default="", help="context of the kubeconfig")
    made.add_argument("--kubernetes", default="", metavar="URL", help="address of `kubectl proxy` instead of a kubeconfig")
    made.add_argument("--json", action="store_true", help="print the findings as JSON")
    return made


if __name__ == "__main__":
    raise SystemExit(main())
