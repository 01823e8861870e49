"""`audiotune withdrawal list | show | finish | retrain`: what follows a withdrawal. Making one is `audiotune consent withdraw`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from audiotune.domain.release import Release
from audiotune.errors import GovernanceError
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.writer import open_governance_writer
from audiotune.outside.kubeflow import Kubeflow
from audiotune.runs.kubeflow_runner import KubeflowRunner
from audiotune.runs.local_runner import LocalRunner
from audiotune.runs.port import PipelineRunner, RunStep, follow_run
from audiotune.store import Store, open_store
from audiotune.withdrawal.finish import finish_withdrawals
from audiotune.withdrawal.registry_access import open_registry
from audiotune.withdrawal.retraining import find_stopped_releases, list_unknown_steps, require_withdrawal, start_retraining
from audiotune.withdrawal.words import describe_withdrawal, list_kinds

_RECIPE = "first_release"


def add_withdrawal_commands(group: argparse.ArgumentParser) -> None:
    """Adds the verbs. Each handler takes the parsed arguments and returns the exit code."""
    group.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    verbs = group.add_subparsers(required=True, metavar="list | show | finish | retrain")
    verbs.add_parser("list", help="every withdrawal, the newest last").set_defaults(run=_list)
    show = verbs.add_parser("show", help="one, with what was done about it, and the releases that it stopped")
    show.set_defaults(run=_show)
    finish = verbs.add_parser(
        "finish", help="do what must follow: move aliases, mark releases, erase what members asked for; again at any time"
    )
    finish.set_defaults(run=_finish)
    retrain = verbs.add_parser("retrain", help="train a release that it stopped once more, without what was taken back")
    retrain.add_argument("--release", metavar="NAME:VERSION", help="which one (default: the newest that it stopped)")
    retrain.add_argument("--recipe", default=_RECIPE, help=f"for settings that nobody wrote down (default {_RECIPE})")
    retrain.add_argument("--out", type=Path, default=Path("runs"), help="folder of the run on this machine (default runs)")
    retrain.add_argument("--kfp", default=os.environ.get("AUDIOTUNE_KFP_ENDPOINT", ""), help="Kubeflow instead of this machine")
    retrain.add_argument("--no-wait", action="store_true", help="start it and do not follow it")
    retrain.set_defaults(run=_retrain)
    for verb in (show, retrain):
        verb.add_argument("number", type=int, help="number of the withdrawal: that of its event in the ledger")


def _list(args: argparse.Namespace) -> int:
    state = open_ledger(open_store(args.store)).read_state()
    print(
        "\n".join(next(iter(describe_withdrawal(state, one))) for one in state.withdrawals.values())
        or "nobody took anything back"
    )
    return 0


def _show(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    state = open_ledger(store).read_state()
    print("\n".join(describe_withdrawal(state, require_withdrawal(state, args.number))))
    stopped = ", ".join(f"{one.name}:{one.version}" for one in find_stopped_releases(store, args.number))
    print(f"  releases that may not play: {stopped or 'none'}")
    return 0


def _finish(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    done = finish_withdrawals(store, open_registry(store), open_governance_writer(store))
    lines = [str(change) for change in done.changes]
    for one in done.erased:
        counts = ", ".join(list_kinds(one.counts)) or "nothing was left"
        lines.append(f"withdrawal {one.withdrawal}: erased: {counts}")
        lines += [f"  kept: {sentence}" for sentence in one.kept] + [f"  out of reach: {words}" for words in one.unreachable]
    print("\n".join(lines) or "nothing is left to do")
    return 0


def _retrain(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    release = _choose_release(store, args.number, args.release)
    if unknown := list_unknown_steps(release):
        print(f"nobody wrote down the settings of {', '.join(unknown)}: they run with the recipe {args.recipe}")
    runner = _open_runner(store, args)
    run = start_retraining(store, runner, release, f"{release.name} {release.version} without withdrawal {args.number}")
    print(f"started {runner.place}: {run}", flush=True)
    if not args.no_wait:
        follow_run(runner, run, _print_steps)
        print("done")
    return 0


def _choose_release(store: Store, number: int, wanted: str | None) -> Release:
    stopped = find_stopped_releases(store, number)
    if wanted:
        stopped = [one for one in stopped if f"{one.name}:{one.version}" == wanted]
    if not stopped:
        which = f" named {wanted}" if wanted else ""
        raise GovernanceError(
            f"withdrawal {number} stopped no release{which}", cure=f"audiotune withdrawal show {number} lists them"
        )
    return stopped[0]


def _open_runner(store: Store, args: argparse.Namespace) -> PipelineRunner:
    if args.kfp:
        named = {name: os.environ.get(f"AUDIOTUNE_KFP_{name.upper()}", "") for name in ("token", "user", "namespace")}
        server = Kubeflow(args.kfp, token=named["token"], user=named["user"], namespace=named["namespace"])
        return KubeflowRunner(server, "tune", store_url=store.url)
    return LocalRunner(store.url, args.out, "tune", recipe=args.recipe)


def _print_steps(steps: tuple[RunStep, ...]) -> None:
    words = [f"{step.title}: {step.state}" for step in steps if step.state in ("running", "failed")]
    print("; ".join(words), flush=True) if words else None
