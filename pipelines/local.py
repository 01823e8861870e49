"""Runs a compiled pipeline on this machine, each step a process, with live progress.

    python -m pipelines.local full --recipe demo --store demo/store --set source=takes --set agreement=agreement.toml

The order comes from the same compiled YAML that Kubeflow runs, through kfp's own local orchestrator; only the way a step
is started is ours, because kfp's SubprocessRunner refuses container components.
"""

import argparse
import copy
import importlib.util
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiotune.errors import AudioTuneError, PipelineError, SettingsError
from audiotune.outside.proxies import configure_proxies
from audiotune.reporting.last_words import print_last_words
from audiotune.runs.local_runner import OUTPUTS_FILE
from audiotune.runs.run_form import RunForm
from audiotune.store.atomic_files import write_atomic_file
from pipelines.arguments import convert_arguments, parse_assignments
from pipelines.compile import compile_pipeline
from pipelines.documents import PIPELINES, Documents, collect_tasks, to_yaml
from pipelines.host_process import HostProcess, silence_kfp, use_host_processes, use_line_buffering
from pipelines.recipe import load_recipe


def run_pipeline(
    documents: list[dict[str, Any]], arguments: Mapping[str, Any], folder: Path, store: str, state_file: Path | None = None
) -> dict[str, Any]:
    """Runs a compiled pipeline.

    Args:
        documents: the result of `compile_pipeline`.
        arguments: values of the run form; the others take their defaults.
        folder: for artifacts, logs and the outputs of all steps.
        store: AUDIOTUNE_STORE of every step.
        state_file: shows the progress to other programs (audiotune.runs.run_state).

    Returns:
        Step name -> output name -> path of an artifact or value of a parameter.

    Raises:
        SettingsError: an argument that the form does not have, or of the wrong type.
        PipelineError: a step failed; with its last words.
    """
    from kfp import components, local

    os.environ["AUDIOTUNE_STORE"] = store
    typed = convert_arguments(documents[0], arguments)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.yaml").write_text(to_yaml(documents))
    with silence_kfp(), use_host_processes(documents[0], state_file) as outputs:
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(folder.resolve()), raise_on_error=True)
        loaded = components.load_component_from_text(to_yaml(drop_unset_inputs(documents)))
        try:
            loaded(**typed)
        except RuntimeError as e:
            cure = f"the whole log is in {HostProcess.last_log}" if HostProcess.last_log else ""
            raise PipelineError(HostProcess.last_words() or str(e), cure=cure) from e  # the words begin with the step
    write_atomic_file(folder / OUTPUTS_FILE, json.dumps(outputs, indent=1, default=str))
    return outputs


def drop_unset_inputs(documents: Documents) -> Documents:
    """The documents without optional whole numbers that no task passes: kfp's local orchestrator reads their None as a number.

    A real backend gives the step no such key either.
    """
    spec, *others = copy.deepcopy(documents)
    for task in collect_tasks(spec).values():
        passed = task.get("inputs", {}).get("parameters", {})
        declared = spec["components"][task["componentRef"]["name"]].get("inputDefinitions", {}).get("parameters", {})
        for name in [n for n, p in declared.items() if p.get("isOptional") and "defaultValue" not in p and n not in passed]:
            if declared[name]["parameterType"] == "NUMBER_INTEGER":
                del declared[name]
    return [spec, *others]


def dump_run_form(pipeline: str, recipe: str) -> str:
    """The run form as JSON (audiotune.runs.run_form), for programs that show it.

    Raises:
        PipelineError: this machine lacks what the steps need.
    """
    needed = ("kfp",) if pipeline == "prepare" else ("kfp", "torch", "mlflow")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        cure = "start it where the whole project is installed, or on Kubeflow"
        raise PipelineError(f"this machine cannot train, it lacks {', '.join(missing)}", cure=cure)
    return RunForm.from_spec(compile_pipeline(pipeline, load_recipe(recipe))[0]).model_dump_json()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.local", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pipeline", choices=PIPELINES)
    parser.add_argument("--recipe", default="demo", help="name of a shipped recipe or a TOML file (default demo)")
    parser.add_argument("--store", default=os.environ.get("AUDIOTUNE_STORE"), help="folder or s3://bucket/prefix")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for artifacts and logs (default runs)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the run form; repeat it")
    parser.add_argument("--form", action="store_true", help="print the run form as JSON and do nothing")
    parser.add_argument(
        "--state-file", "--board", type=Path, metavar="FILE", help="keep a JSON file there that tells how far the run is"
    )
    parser.add_argument("--json", action="store_true", help="print the outputs as JSON at the end")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    configure_proxies()
    use_line_buffering()
    logging.captureWarnings(True)
    try:
        if args.form:
            print(dump_run_form(args.pipeline, args.recipe))
            return 0
        if not args.store:
            raise SettingsError("no store is named", cure="give --store or set AUDIOTUNE_STORE")
        arguments = parse_assignments(args.set)
        documents = compile_pipeline(args.pipeline, load_recipe(args.recipe))
        outputs = run_pipeline(documents, arguments, args.out, args.store, args.state_file)
    except AudioTuneError as e:
        print_last_words(args.pipeline, str(e))
        return 1
    if args.json:
        print(json.dumps(outputs, indent=1, default=str))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
