"""The whole pipeline on one machine: from takes to a model with the group's own sound.

    python -m pipelines.demo                          a simulated synthesizer jams, the group's agreement is the example
    python -m pipelines.demo --recordings my-takes    the same on your own files; the file names are the captions
    python -m pipelines.demo --serve-only             only the MLflow server and the generation service, until Ctrl-C

All results are in one folder (demo/): takes, store, MLflow, runs, sounds. A second run reuses finished steps.
"""

import argparse
import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from audiotune.errors import AudioTuneError
from audiotune.outside.proxies import configure_proxies
from audiotune.runs.local_runner import LocalRunner
from audiotune.runs.port import follow_run
from pipelines.demo_service import request_first_sounds, run_generation_service
from pipelines.demo_takes import make_takes
from pipelines.host_process import use_line_buffering
from pipelines.step_printer import StepPrinter

REPOSITORY = Path(__file__).resolve().parent.parent
PROMPTS = ("dark low drone", "bright high pluck", "metallic pulsing sequence", "noise sweep")


class DemoRun:
    """A demo in its folder."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder, self.console = folder.resolve(), console
        self.store = str(self.folder / "store")
        self.started = time.monotonic()

    def run_full(self, recordings: Path | None, recipe: str, members: str) -> dict[str, Any]:
        """Runs `full` on the takes; returns the outputs of its steps. Ctrl-C ends the run, too."""
        if recordings is None:
            self.print_status("the simulated synthesizer jams: making takes")
        takes = make_takes(self.folder / "takes") if recordings is None else recordings.expanduser().resolve()
        agreement = self.folder / "agreement.toml"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not agreement.exists():
            shutil.copyfile(REPOSITORY / "agreement.example.toml", agreement)
        arguments = {"source": str(takes), "agreement": str(agreement), "contributors": members}
        runner = LocalRunner(self.store, self.folder / "runs", "full", recipe=recipe)
        run = runner.start("demo", arguments)
        try:
            with StepPrinter(self.console) as printer:
                follow_run(runner, run, printer.show_steps, every_s=0.5)
        except KeyboardInterrupt:
            runner.stop(run)
            raise
        return runner.read_outputs(run)

    def print_status(self, words: str) -> None:
        self.console.print(f"[dim]{time.monotonic() - self.started:5.0f} s[/dim]  {words}")

    @contextlib.contextmanager
    def run_mlflow(self) -> Iterator[str]:
        """A real MLflow server on this folder, for as long as the demo runs."""
        from audiotune.registry.mlflow_server import KEY_FILE, run_mlflow_server

        with run_mlflow_server(self.folder / "mlflow") as url:
            os.environ["MLFLOW_TRACKING_URI"] = url
            self.print_status(
                f"MLflow is at {url}; in a browser: any name, and the password in {self.folder / 'mlflow' / KEY_FILE}"
            )
            yield url


def print_result(demo: DemoRun, outputs: dict[str, Any], sounds: list[dict[str, Any]]) -> None:
    """Prints the metrics before and after the training, and the paths of sounds and reports."""
    metrics = outputs.get("evaluate", {}).get("metrics", {})
    table = Table(title="What the model learned (nearer to the recordings is lower)", title_justify="left")
    for column in ("", "before", "after"):
        table.add_column(column, justify="left" if not column else "right")
    for label, name in (("KAD", "kad"), ("log-mel distance", "log_mel_distance")):
        before, after = metrics.get(f"{name}_before"), metrics.get(f"{name}_after")
        if before is not None and after is not None:
            table.add_row(label, f"{before:.4g}", f"{after:.4g}")
    demo.console.print(table)
    passed = outputs.get("evaluate", {}).get("passed")
    demo.console.print(f"gate: {'[green]passed[/green]' if passed else '[yellow]not passed, see the report[/yellow]'}")
    for sound in sounds:
        facts = f"“{sound['prompt']}”, seed {sound['seed']}, {sound['loudness']}"
        demo.console.print(f"  [bold]{sound['file']}[/bold]  {facts}", highlight=False)
    for step in ("ingest", "segment", "annotate_merge", "finetune", "evaluate", "register"):
        if "report" in outputs.get(step, {}):
            demo.console.print(f"  report of {step}: {outputs[step]['report']}", highlight=False)


def main(argv: list[str] | None = None) -> int:
    args = _build_parser().parse_args(argv)
    configure_proxies()
    use_line_buffering()
    console = Console(highlight=False)
    demo = DemoRun(args.folder, console)
    try:
        with demo.run_mlflow():
            if args.serve_only:
                return _serve_only(demo, args.port)
            outputs = demo.run_full(args.recordings, args.recipe, args.contributors)
            demo.print_status("starting the generation service on the new release")
            with run_generation_service(demo.folder, demo.store, args.port) as url:
                sounds = request_first_sounds(url, PROMPTS, demo.folder / "sounds")
            print_result(demo, outputs, sounds)
    except AudioTuneError as e:
        console.print(f"[red]{e}[/red]", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; what is done is kept, run it again to go on")
        return 130
    demo.print_status("done. To play on: `make serve` (HTTP, http://localhost:3000/docs) and `make studio` (web page)")
    return 0


def _serve_only(demo: DemoRun, port: int) -> int:
    with run_generation_service(demo.folder, demo.store, port) as url:
        demo.print_status(f"the generation service is at {url}, its documentation at {url}/docs. Ctrl-C ends it")
        while True:
            time.sleep(3600)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where everything is kept (default demo)")
    parser.add_argument("--recordings", type=Path, help="your own takes instead of the simulated ones")
    parser.add_argument("--contributors", default="ana,ben", help="who plays on them, by the agreement's ids (default ana,ben)")
    parser.add_argument("--recipe", default="demo", help="recipe (default demo)")
    parser.add_argument("--port", type=int, default=3000, help="port of the generation service (default 3000)")
    parser.add_argument("--serve-only", action="store_true", help="start MLflow and the generation service, nothing else")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
