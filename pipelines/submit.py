"""Uploads compiled pipelines to Kubeflow, runs, follows and cancels them. Needs no kfp SDK where there are compiled files.

    python -m pipelines.submit upload                                      all pipelines; a hash of the content names the version
    python -m pipelines.submit run full --set source=s3://jams/may --recipe lora_24gb
    python -m pipelines.submit follow RUN_ID
    python -m pipelines.submit cancel RUN_ID

Exit code: 0 success, 1 the run failed or another error, 2 a wrong command line, 3 Kubeflow does not answer or refuses, 4 timed out.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from audiotune.errors import (
    AudioTuneError,
    KubeflowRefusedError,
    KubeflowUnreachableError,
    PipelineError,
    RunUnfinishedError,
    SettingsError,
)
from audiotune.outside.kubeflow import Kubeflow
from audiotune.outside.proxies import configure_proxies
from audiotune.runs.kubeflow_runner import KubeflowRunner
from audiotune.runs.port import RunStep, follow_run
from pipelines.arguments import add_kubeflow_flags, convert_arguments, parse_assignments
from pipelines.cluster.settings import Cluster, find_cluster
from pipelines.compile import compile_structure
from pipelines.documents import PIPELINES, Documents, compute_version_name, read_documents, to_yaml
from pipelines.finish import finish_pipeline
from pipelines.form import find_unready_base
from pipelines.recipe import load_recipe

_CODES = ((KubeflowUnreachableError, 3), (KubeflowRefusedError, 3), (RunUnfinishedError, 4), (SettingsError, 2))
_STATE_WORDS = {"waiting": "PENDING", "running": "RUNNING", "done": "SUCCEEDED", "failed": "FAILED"}  # as Kubeflow says them


def build_documents(name: str, args: argparse.Namespace, cluster: Cluster | None) -> Documents:
    """The finished pipeline, from the folder of compiled ones; without a folder it is compiled now, which needs kfp."""
    folder = args.pipelines
    try:
        neutral = read_documents(Path(folder) / f"{name}.yaml") if folder else compile_structure(name)
    except ImportError as e:
        cure = "name the folder of compiled pipelines: --pipelines or AUDIOTUNE_PIPELINES"
        raise PipelineError("this machine cannot compile: the kfp package is not here", cure=cure) from e
    recipe = load_recipe(args.recipe or (cluster.recipe if cluster else "") or "first_release")
    if cluster and (base := find_unready_base(recipe, cluster)):
        print(
            f"{name}: the form begins with the tiny base: {base} is behind a licence, and the cluster's facts name no token",
            flush=True,
        )
    return finish_pipeline(neutral, recipe, cluster)


def upload_documents(server: Kubeflow, documents: Documents) -> tuple[str, str]:
    """Uploads a finished pipeline unless its content is there already; returns (pipeline id, version id)."""
    info = documents[0]["pipelineInfo"]
    version = compute_version_name(documents)
    about = str(info.get("description", ""))
    pipeline, id, new = server.upload_pipeline(info["name"], version, to_yaml(documents), str(info.get("displayName", "")), about)
    print(f"{info['name']}: version {version} {'uploaded' if new else 'is there already'}", flush=True)
    return pipeline, id


def _upload_pipelines(server: Kubeflow, args: argparse.Namespace, cluster: Cluster | None) -> None:
    # all must be built before the first one is uploaded
    ready = [build_documents(name, args, cluster) for name in args.names or PIPELINES]
    _wait_for_server(server, args.wait_s)
    for documents in ready:
        upload_documents(server, documents)


def _wait_for_server(server: Kubeflow, wait_s: float) -> None:
    """Waits for a Kubeflow that has just been started."""
    until = time.monotonic() + wait_s
    while True:
        try:
            server.health()
            return
        except KubeflowUnreachableError:
            if time.monotonic() >= until:
                raise
            time.sleep(min(2.0, wait_s))


def _start_run(server: Kubeflow, args: argparse.Namespace, cluster: Cluster | None) -> None:
    documents = build_documents(args.name, args, cluster)
    arguments = convert_arguments(documents[0], parse_assignments(args.set))
    account = args.service_account or (cluster.service_account if cluster else "")
    title = args.title or f"{args.name} by {os.environ.get('USER') or 'submit'}"
    runner = KubeflowRunner(server, args.name, version=upload_documents(server, documents), account=account)
    run = runner.start(title, arguments)
    print(f"run {run}  {server.run_page(run)}".rstrip(), flush=True)
    if not args.no_wait:
        _follow_run(runner, run, args)


def _follow_run(runner: KubeflowRunner, run: str, args: argparse.Namespace) -> None:
    printed: dict[str, str] = {}

    def print_states(steps: tuple[RunStep, ...]) -> None:
        for step in steps:
            if printed.get(step.name) != step.state:
                printed[step.name] = step.state
                print(f"{step.name}: {_STATE_WORDS[step.state]}", flush=True)

    try:
        follow_run(runner, run, print_states, every_s=args.every_s, limit_s=args.limit_s)
        print("SUCCEEDED")
    except KeyboardInterrupt:
        print(f"the run goes on; end it with: python -m pipelines.submit cancel {run}", file=sys.stderr)
        raise


def main(argv: list[str] | None = None) -> int:
    args = _build_parser().parse_args(argv)
    configure_proxies()
    try:
        if not args.endpoint:
            raise SettingsError("no Kubeflow is named", cure="give --endpoint or set AUDIOTUNE_KFP_ENDPOINT")
        cluster = find_cluster(args.for_cluster)
        server = Kubeflow(args.endpoint, token=args.token, user=args.user, namespace=args.namespace, pages=args.pages)
        if args.verb == "upload":
            _upload_pipelines(server, args, cluster)
        elif args.verb == "run":
            _start_run(server, args, cluster)
        elif args.verb == "follow":
            _follow_run(KubeflowRunner(server), args.run, args)
        else:
            KubeflowRunner(server).stop(args.run)
            print(f"asked for the end of run {args.run}")
    except AudioTuneError as e:
        print(f"submit: {e}", file=sys.stderr)
        return next((code for kind, code in _CODES if isinstance(e, kind)), 1)
    except KeyboardInterrupt:
        return 130
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.submit", description=(__doc__ or "").split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("upload", help="upload compiled pipelines; what is there already stays")
    up.add_argument(
        "names", nargs="*", choices=[*PIPELINES, []], help="which ones (default: all)"
    )  # argparse checks the empty list, too
    up.add_argument("--wait-s", type=float, default=0.0, help="seconds to wait for a Kubeflow that does not answer yet")
    run = verbs.add_parser("run", help="upload if needed, start a run, follow it")
    run.add_argument("name", choices=PIPELINES)
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the run form; repeat it")
    run.add_argument("--title", default="", help="display name of the run")
    run.add_argument("--service-account", default="", help="service account of the steps")
    run.add_argument("--no-wait", action="store_true", help="start the run and do not follow it")
    follow = verbs.add_parser("follow", help="follow a run to its end")
    follow.add_argument("run", help="the run's id")
    verbs.add_parser("cancel", help="end a run").add_argument("run", help="the run's id")
    for verb in (run, follow):
        verb.add_argument("--every-s", type=float, default=5.0, help="seconds between two requests for the state")
        verb.add_argument("--limit-s", type=float, default=7 * 86_400, help="give up following after this many seconds")
    for verb in verbs.choices.values():
        _add_server_flags(verb)
    return parser


def _add_server_flags(verb: argparse.ArgumentParser) -> None:
    add_kubeflow_flags(verb, "multi-user only")
    pages = os.environ.get("AUDIOTUNE_KFP_PAGES", "")
    verb.add_argument("--pages", default=pages, help="Kubeflow's pages, where they are elsewhere (AUDIOTUNE_KFP_PAGES)")
    verb.add_argument("--recipe", default="", help="name of a shipped recipe or a TOML file (default: the cluster's)")
    verb.add_argument("--for-cluster", type=Path, metavar="FILE", help="facts of the cluster (AUDIOTUNE_CLUSTER)")
    folder = os.environ.get("AUDIOTUNE_PIPELINES", "")
    verb.add_argument("--pipelines", default=folder, metavar="FOLDER", help="compiled pipelines (AUDIOTUNE_PIPELINES)")


if __name__ == "__main__":
    raise SystemExit(main())
