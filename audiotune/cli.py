"""The command line: `audiotune generate "low metallic drone" --seconds 4 --out drone.wav`, `audiotune ledger verify`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from audiotune.access.agreement_commands import add_agreement_commands
from audiotune.access.consent_commands import add_consent_commands
from audiotune.access.key_commands import add_key_commands
from audiotune.access.release_commands import add_release_commands
from audiotune.adoption.adopt_command import add_adopt_command
from audiotune.adoption.commands import add_adapter_commands
from audiotune.client import Client, RemoteJob
from audiotune.domain.generation import MEDIA_TYPES, parse_adapter
from audiotune.errors import AudioTuneError, GenerationError
from audiotune.governance.ledger.commands import add_ledger_commands
from audiotune.outside.proxies import configure_proxies
from audiotune.plan_command import add_plan_command
from audiotune.stable_audio.base_commands import add_base_commands
from audiotune.store.atomic_files import write_atomic_file
from audiotune.withdrawal.commands import add_withdrawal_commands
from audiotune.withdrawal.consent_steps import CommandSteps
from audiotune.withdrawal.proof_commands import add_proof_commands


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 failed with one sentence on stderr, 130 stopped by Ctrl-C."""
    args = _build_parser().parse_args(arguments)
    configure_proxies()
    try:
        return int(args.run(args))
    except AudioTuneError as e:
        print(f"audiotune: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audiotune", description="Sounds from the group's releases, and the group's ledger.")
    verbs = parser.add_subparsers(
        required=True,
        metavar="generate | adapter | adopt | agreement | base | consent | ledger | key | plan | release | withdrawal | prove",
    )
    add_adapter_commands(verbs.add_parser("adapter", help="LoRA and DoRA: give them to other programs, bring those of others in"))
    add_adopt_command(
        verbs.add_parser("adopt", help="make a training from elsewhere (a notebook's checkpoint or LoRA) a release")
    )
    add_agreement_commands(verbs.add_parser("agreement", help="what the group agreed on: read, change, sign and keep it"))
    add_base_commands(verbs.add_parser("base", help="the models that are taught your sound: fetch them ahead of time, list them"))
    add_consent_commands(
        verbs.add_parser("consent", help="what may be done with a member's recordings: give it and take it back"),
        CommandSteps(),
    )
    add_ledger_commands(
        verbs.add_parser("ledger", help="what was agreed, given, withdrawn and decided: check it, read it, keep it")
    )
    add_key_commands(verbs.add_parser("key", help="your own key, with which you sign what you say in the group"))
    add_plan_command(verbs.add_parser("plan", help="what a training takes of memory, disk and time, before it runs"))
    add_release_commands(verbs.add_parser("release", help="give a release to people outside the group"))
    add_withdrawal_commands(
        verbs.add_parser("withdrawal", help="what members took back, and what must follow: aliases, erasure, a new training")
    )
    add_proof_commands(
        verbs.add_parser("prove", help="prove what a withdrawal has done, and verify such a proof without a server")
    )
    generate = verbs.add_parser("generate", help="a sound from words")
    generate.set_defaults(run=_generate_sounds)
    generate.add_argument("prompt")
    generate.add_argument("--out", type=Path, help="file to write (default: words of the prompt and the seed)")
    for name, kind, meaning in (
        ("seconds", float, "length"),
        ("bars", float, "length in bars, with --bpm"),
        ("bpm", float, "quarter notes a minute"),
        ("key", str, "as in 'A minor'"),
        ("seed", int, "decides all noise; default: a random one, which the result names"),
        ("steps", int, "denoising steps"),
        ("guidance", float, "how closely the words are followed"),
        ("count", int, "variations"),
        ("negative-prompt", str, "what to stay away from"),
        ("loudness-lufs", float, "loudness to reach"),
        ("release", str, "name of a release"),
    ):
        generate.add_argument(f"--{name}", type=kind, help=meaning)
    generate.add_argument(
        "--adapter",
        action="append",
        default=None,
        type=_parse_adapter,
        metavar="NAME=STRENGTH",
        dest="adapters",
        help="a LoRA adapter of the group, as in grit=0.7 or grit:3=1.2; several times for several",
    )
    generate.add_argument("--loop", action="store_true", default=None, help="the end runs into the beginning")
    generate.add_argument("--format", choices=tuple(MEDIA_TYPES), default="wav")
    generate.add_argument(
        "--url", default=os.environ.get("AUDIOTUNE_GENERATION_URL", "http://localhost:3000"), help="the service"
    )
    generate.add_argument(
        "--token", default=os.environ.get("AUDIOTUNE_TOKEN", ""), help="default: the environment's AUDIOTUNE_TOKEN"
    )
    return parser


def _parse_adapter(text: str) -> dict[str, Any]:
    try:
        return parse_adapter(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=STRENGTH, as in grit=0.7") from None


def _generate_sounds(args: argparse.Namespace) -> int:
    """Makes a job, shows its progress, writes its sounds and prints their paths. Ctrl-C stops the job."""
    client, other = Client(args.url, args.token), {"out", "url", "token", "run"}
    fields: dict[str, Any] = {name: value for name, value in vars(args).items() if value is not None and name not in other}
    job = client.submit(**fields)
    try:
        ended = _follow_job(client, job.id)
    except KeyboardInterrupt:
        client.cancel(job.id)
        raise
    if ended.state != "done":
        raise GenerationError(str((ended.problem or {}).get("detail") or f"the job is {ended.state}"))
    for number, sound in enumerate(ended.sounds):
        print(_write_sound(client, args, sound, number))
    return 0


def _follow_job(client: Client, id: str) -> RemoteJob:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} steps"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("waiting", total=1)

        def show(job: RemoteJob) -> None:
            state = "making" if job.step else f"waiting, {job.position} before it"
            bar.update(line, completed=job.step, total=max(1, job.steps), description=state)

        return client.wait(id, show, every_s=0.3)


def _write_sound(client: Client, args: argparse.Namespace, sound: dict[str, Any], number: int) -> Path:
    words = "-".join("".join(c if c.isalnum() else " " for c in args.prompt.lower()).split()[:6]) or "sound"
    path = args.out or Path(f"{words[:60]}-{sound['seed']}.{sound['format']}")
    if args.out and number:
        path = path.with_stem(f"{path.stem}-{number + 1}")
    try:
        return write_atomic_file(path, client.sound(sound["sound"]).audio)
    except OSError as e:
        raise GenerationError(f"cannot write the sound: {e.strerror}", where=str(path), cure="give another --out") from e


if __name__ == "__main__":
    sys.exit(main())
