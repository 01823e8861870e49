"""`audiotune prove withdrawal NUMBER` and `audiotune prove verify FILE`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from audiotune.domain.dataset import LatentRow
from audiotune.domain.release import Release, WeightsPointer
from audiotune.errors import GovernanceError, PipelineError, SourceError
from audiotune.store import open_store
from audiotune.store.atomic_files import write_atomic_file
from audiotune.withdrawal.membership import Values
from audiotune.withdrawal.proof_record import WithdrawalProof, verify_proof

_PROJECT_ROOT = Path(__file__).parents[2]  # where pipelines/ lies; it is no installed package


def add_proof_commands(group: argparse.ArgumentParser) -> None:
    """Adds the verbs. Each handler takes the parsed arguments and returns the exit code."""
    verbs = group.add_subparsers(required=True, metavar="withdrawal | verify")
    prove = verbs.add_parser("withdrawal", help="look at what a withdrawal has done; exit code 2 where a check failed")
    prove.set_defaults(run=_prove)
    prove.add_argument("number", type=int, help="number of the withdrawal: that of its event in the ledger")
    prove.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    prove.add_argument(
        "--release", default="", metavar="NAME:VERSION", help="made without what was taken back (default: the newest)"
    )
    prove.add_argument(
        "--before", default="", metavar="NAME:VERSION", help="one that holds it, to compare with (default: the newest)"
    )
    prove.add_argument(
        "--remakes", type=int, default=0, help="train the release again so often, and compare the weights (default 0)"
    )
    prove.add_argument("--device", default="cpu", help="for the membership test: cpu, cuda or auto (default cpu)")
    prove.add_argument("--out", type=Path, help="write the proof as JSON, to be verified without the group's server")
    prove.add_argument("--page", type=Path, help="write it as a page")
    verify = verbs.add_parser("verify", help="compute again what can be computed of a proof alone; exit code 2 where it differs")
    verify.set_defaults(run=_verify)
    verify.add_argument("file", type=Path)
    verify.add_argument(
        "--ledger", type=Path, help="an exported ledger (audiotune ledger export): the proof's events must be in it"
    )


def _prove(args: argparse.Namespace) -> int:
    from audiotune.withdrawal.membership_losses import measure_losses
    from audiotune.withdrawal.proof import ProofOptions, prove_withdrawal
    from audiotune.withdrawal.proof_page import render_proof

    store = open_store(args.store)

    def remake(release: Release, times: int) -> list[str]:
        return remake_elsewhere(store.url, release, times)

    def measure(weights: WeightsPointer | None, base: str, rows: Sequence[LatentRow]) -> Values:
        return measure_losses(store, weights, base, rows, args.device)

    options = ProofOptions(args.release, args.before, args.remakes)
    proof = prove_withdrawal(store, args.number, options, remake, measure)
    for check in proof.checks:
        print(f"{check.outcome:>9}  {check.name}: {check.words}")
    for path, text in ((args.out, proof.model_dump_json(indent=1)), (args.page, render_proof(proof))):
        if path is not None:
            _write(path, text)
    return 0 if proof.has_passed else 2


def remake_elsewhere(store_url: str, release: Release, times: int) -> list[str]:
    """Trains a release again, in a process of its own. Raises PipelineError: it failed, with its last words."""
    command = [sys.executable, "-m", "pipelines.remake", f"{release.name}:{release.version}"]
    done = subprocess.run(
        [*command, "--store", store_url, "--times", str(times)],
        cwd=_PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise PipelineError(
            f"the release could not be made again: {words[0]}", cure="run it by hand to see all it says: " + " ".join(command[1:])
        )
    return [str(identity) for identity in json.loads(done.stdout.strip().splitlines()[-1])["made"]]


def _verify(args: argparse.Namespace) -> int:
    try:
        proof = WithdrawalProof.model_validate_json(args.file.read_bytes())
        ledger = args.ledger.read_bytes().splitlines() if args.ledger else None
    except OSError as e:
        raise SourceError(f"cannot read it: {e.strerror}", where=str(e.filename), cure="check the path") from e
    except ValidationError as e:
        raise GovernanceError(
            f"this is no proof: {e.errors()[0]['msg']}", where=str(args.file), cure="name the file of --out"
        ) from e
    faults = verify_proof(proof, ledger)
    for check in proof.checks:
        print(f"{check.outcome:>9}  {check.name}: {check.words}")
    print(
        "\n".join(f"FAULT: {fault}" for fault in faults)
        or f"what can be computed again agrees{'' if ledger else ' (give --ledger, too)'}"
    )
    return 2 if faults else 0


def _write(path: Path, text: str) -> None:
    try:
        write_atomic_file(path, text)
    except OSError as e:
        raise SourceError(f"cannot write it: {e.strerror}", where=str(path), cure="give another file") from e
