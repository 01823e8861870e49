"""Finds what makes runs on Kubeflow fail, and what is wrong with the store, and names the cure. Changes nothing.

    python -m pipelines.doctor --for-cluster cluster.json --endpoint http://localhost:8888
    python -m pipelines.doctor --for-cluster cluster.json --namespace jam --json
    python -m pipelines.doctor --store s3://audio-tune         the store alone, with the administrator's key in the AWS variables

Exit code: 0 nothing is wrong (there may be warnings), 1 something is wrong, 2 the command line is wrong, 3 neither Kubernetes nor
Kubeflow answers, and no store was named.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from audiotune.errors import AudioTuneError, PipelineError
from audiotune.outside.kubeflow import Kubeflow
from audiotune.outside.kubernetes import Kubernetes, connect_kubernetes
from audiotune.outside.proxies import configure_proxies
from audiotune.store import open_store
from pipelines.arguments import add_kubeflow_flags
from pipelines.cluster.namespace import ACCOUNT
from pipelines.cluster.settings import Cluster, find_cluster
from pipelines.doctor import checks_bases, checks_environment, checks_governance, checks_namespace, checks_store, checks_training
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
    "bases": checks_bases.check_bases,
    "mlflow": checks_environment.check_mlflow,
    "governance": checks_environment.check_governance,
    "clock": checks_environment.check_clock,
}
STORE_CHECKS: dict[str, Check] = {
    "governance": checks_governance.check_governance,
    "changes": checks_store.check_changes,
    "blobs": checks_store.check_missing_blobs,
}
_MARKS = {"well": "✓", "warning": "!", "wrong": "✗", "unknown": "?"}


def run_checks(target: CheckTarget) -> list[DoctorFinding]:
    """Runs the checks of what there is a connection to; the findings are in the order in which to cure them."""
    checks = {**(CHECKS if target.kubernetes or target.kubeflow else {}), **(STORE_CHECKS if target.store else {})}
    return [finding for about, check in checks.items() for finding in run_check(about, check, target)]


def format_findings(findings: list[DoctorFinding]) -> str:
    """The findings as text."""
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.state]} {finding.about}: {finding.words}")
        lines += [f"    {line}" for line in finding.cure.splitlines() if finding.state != "well"]
    wrong = sum(finding.state == "wrong" for finding in findings)
    unknown = sum(finding.state == "unknown" for finding in findings)
    end = f"{wrong} wrong of {len(findings)}" if wrong else "nothing is wrong"
    return "\n".join([*lines, f"{end}, {unknown} could not be seen" if unknown else end])


def main(argv: list[str] | None = None) -> int:
    args = _build_parser().parse_args(argv)
    configure_proxies()
    try:
        cluster = find_cluster(args.for_cluster) or Cluster()
        store = open_store(args.store) if args.store else None
    except AudioTuneError as e:
        print(f"doctor: {e}", file=sys.stderr)
        return 2
    kubernetes = _try_kubernetes(args)
    kubeflow = Kubeflow(args.endpoint, token=args.token, user=args.user, timeout_s=10) if args.endpoint else None
    if kubernetes is None and kubeflow is None and store is None:
        return 3
    account = args.service_account or cluster.service_account or ACCOUNT
    findings = run_checks(CheckTarget(cluster, args.namespace or args.home, args.home, account, kubernetes, kubeflow, store))
    print(json.dumps([asdict(finding) for finding in findings], indent=1) if args.json else format_findings(findings))
    return 1 if any(finding.state == "wrong" for finding in findings) else 0


def _try_kubernetes(args: argparse.Namespace) -> Kubernetes | None:
    try:
        kubernetes = connect_kubernetes(args.kubeconfig, args.kubernetes, args.context)
        kubernetes.server_date()  # a request that every user may make
        return kubernetes
    except PipelineError as e:
        print(f"doctor: {e}", file=sys.stderr)
        return None


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.doctor", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--for-cluster", type=Path, metavar="FILE", help="facts of the cluster (AUDIOTUNE_CLUSTER)")
    add_kubeflow_flags(parser, "where runs land; default: Kubeflow's own: single-user")
    parser.add_argument("--home", default="kubeflow", help="namespace Kubeflow itself lives in (default kubeflow)")
    parser.add_argument("--service-account", default="", help=f"account of the steps (default: the cluster's, else {ACCOUNT})")
    parser.add_argument(
        "--kubeconfig", default="", help="file to reach Kubernetes by (default: KUBECONFIG, ~/.kube/config, the pod's own)"
    )
    parser.add_argument("--context", default="", help="context of the kubeconfig")
    parser.add_argument("--kubernetes", default="", metavar="URL", help="address of `kubectl proxy` instead of a kubeconfig")
    parser.add_argument("--store", default="", metavar="URL", help="look into this store, too: s3://bucket/prefix or a folder")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser
