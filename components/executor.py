"""The adapter between a step and Kubeflow: reads ExecutorInput, calls the step, writes ExecutorOutput.

It needs the standard library and pydantic only. A step names its settings and artifacts in `settings.py`:

    class Settings(StepSettings): ...            each setting with its bounds, unit and sentence
    INPUTS  = ("recordings",)                    artifacts it reads
    OUTPUTS = ("segments", "report", "metrics")  artifacts it writes
    PARAMETERS = ("segments_key",)               small values it passes on

and runs in `step.py`: `run_step(settings, store, progress, *, recordings, segments, report, metrics) -> StepResult`.
On a cluster the parameter `settings` (a dict compiled in from the recipe) has the values that the run form does not set. The parameter
`like` names the card of a release whose settings are taken instead.
On the command line the same step runs with flags: `python -m components.segment --recordings r.jsonl --segments s.jsonl --min-s 0.5`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from audiotune.errors import AudioTuneError, SettingsError
from audiotune.outside.proxies import configure_proxies
from audiotune.reporting.last_words import describe_bug, print_last_words
from audiotune.reporting.progress import print_progress
from audiotune.store.atomic_files import write_atomic_file


class StepSettings(BaseModel):
    """Base of all settings: closed, frozen, defaults checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


@dataclass(frozen=True)
class StepResult:
    """The results of a step besides its files.

    Attributes:
        parameters: values for the names in PARAMETERS.
        metrics: numbers shown in the run's metrics table.
        metadata: artifact name -> small facts recorded with it; None, NaN and infinity are left out, here and in metrics.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def run_command_line(package: str, argv: Sequence[str] | None = None) -> int:
    """Runs the step of a package from the command line. Returns the exit code; the last line on stderr is the reason."""
    argv = list(sys.argv[1:] if argv is None else argv)
    interface = importlib.import_module(f"{package}.settings")

    configure_proxies()

    def run() -> None:
        if "--executor-input" in argv:
            _run_on_kubeflow(package, interface, argv[argv.index("--executor-input") + 1])
        else:
            _run_from_flags(package, interface, argv)

    return report_failure(package.rpartition(".")[2], run)


def report_failure(step: str, work: Callable[[], object]) -> int:
    """Does the work of a step and returns the exit code. After a failure the last line on stderr is the reason."""
    try:
        work()
    except AudioTuneError as e:
        print_last_words(step, str(e))
        return 1
    except Exception as e:  # a bug: show where, then the one line that Kubeflow shows
        traceback.print_exc()
        print_last_words(step, describe_bug(e))
        return 1
    return 0


def _run_on_kubeflow(package: str, interface: ModuleType, text: str) -> None:
    try:
        executor = json.loads(text)
    except ValueError as e:
        raise SettingsError(f"--executor-input is no JSON: {e}", cure="pass {{$}} as Kubeflow does") from e
    given = dict(executor.get("inputs", {}).get("parameterValues", {}))
    compiled = dict(given.pop("settings", None) or {})
    recorded = _read_recorded_settings(str(given.pop("like", None) or ""), package)
    chosen = settings_from_choices(interface.Settings, dict(compiled.pop("choices", None) or {}), given)
    settings = validate_settings(interface.Settings, {**compiled, **chosen, **recorded})
    paths = {name: _artifact_path(executor["inputs"], name) for name in interface.INPUTS}
    outputs = {name: _artifact_path(executor["outputs"], name) for name in interface.OUTPUTS}
    result = _call_step(package, settings, {**paths, **outputs})
    _write_executor_output(executor, interface, result)


def _read_recorded_settings(card: str, package: str) -> dict[str, Any]:
    """The settings of this step that a release was made with, by the key of its card; none for an empty key. Raises SettingsError."""
    if not card:
        return {}
    from audiotune.domain.release import Release
    from audiotune.store import open_store

    try:
        release = Release.model_validate_json(open_store().get(card))
    except ValidationError as e:
        raise SettingsError("this is no card of a release", where=card, cure="name a key below manifests/releases/") from e
    return dict(release.list_known_settings().get(package.rpartition(".")[2], {}))


def settings_from_choices(
    model: type[StepSettings], choices: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The values chosen in the form, as settings: a word of a drop-down stands for one setting or several.

    Args:
        choices: form name -> word -> settings, as compiled in.
        given: form name -> value.

    Raises:
        SettingsError: the drop-down does not have this word.
    """
    settings: dict[str, Any] = {}
    for name, value in given.items():
        words = choices.get(name, {})
        if isinstance(value, str) and value in words:
            settings.update(words[value])
        elif name not in choices or name in model.model_fields:
            settings[name] = value
        elif value is not None:
            raise SettingsError(f"{name} is {value!r}", cure=f"take one of: {', '.join(words)}")
    return settings


def validate_settings(model: type[StepSettings], given: Mapping[str, Any]) -> StepSettings:
    """Settings from parameters. Kubeflow adds undeclared names, so unknown names are left out. Raises SettingsError."""
    known = {name: value for name, value in given.items() if name in model.model_fields and value is not None}
    try:
        return model.model_validate(known)
    except ValidationError as e:
        faults = "; ".join(f"{'.'.join(map(str, x['loc'])) or 'settings'}: {x['msg']}" for x in e.errors())
        raise SettingsError(faults, cure="see --help for bounds and units") from e


def _artifact_path(side: Mapping[str, Any], name: str) -> Path:
    try:
        artifact = side["artifacts"][name]["artifacts"][0]
    except (KeyError, IndexError) as e:
        raise SettingsError(f"the artifact {name!r} is missing in the executor input", cure="compile the pipeline again") from e
    return Path(_local_path(str(artifact["uri"])))


def _local_path(uri: str) -> str:
    """The path at which Kubeflow's launcher keeps an artifact's file: /s3/b/k for s3://b/k; other uris are paths already."""
    for scheme in ("s3", "gs", "minio"):
        if uri.startswith(f"{scheme}://"):
            return f"/{'gcs' if scheme == 'gs' else scheme}/{uri[len(scheme) + 3 :]}"
    return uri.removeprefix("file://")


def _call_step(package: str, settings: StepSettings, paths: Mapping[str, Path]) -> StepResult:
    from audiotune.store import open_store

    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    step = importlib.import_module(f"{package}.step")
    result: StepResult = step.run_step(settings, open_store(), print_progress, **paths)
    return result


def _write_executor_output(executor: Mapping[str, Any], interface: ModuleType, result: StepResult) -> None:
    """Writes only declared outputs, with unchanged uris and no null: the real backend fails a finished step for anything else."""
    declared = executor["outputs"]
    artifacts = {}
    for name in interface.OUTPUTS:
        facts = result.metrics if name == "metrics" else result.metadata.get(name, {})
        artifacts[name] = {"artifacts": [{**declared["artifacts"][name]["artifacts"][0], "metadata": _drop_unaccepted(facts)}]}
    wanted = declared.get("parameters", {})
    parameters = {name: result.parameters[name] for name in interface.PARAMETERS if name in wanted}
    for name, value in parameters.items():
        target = Path(wanted[name]["outputFile"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(value if isinstance(value, str) else json.dumps(value))
    write_atomic_file(Path(declared["outputFile"]), json.dumps({"parameterValues": parameters, "artifacts": artifacts}))


def _drop_unaccepted(value: Any) -> Any:
    """The value without null, NaN and infinity: the backend would refuse them after the step has finished."""
    if isinstance(value, Mapping):
        kept = {str(key): _drop_unaccepted(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [inner for inner in map(_drop_unaccepted, value) if inner is not None]
    if not isinstance(value, str | bool | int | float) and hasattr(value, "item"):  # a number of numpy or torch
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _run_from_flags(package: str, interface: ModuleType, argv: Sequence[str]) -> None:
    args = build_parser(package, interface).parse_args(argv)
    given = {name: getattr(args, name) for name in interface.Settings.model_fields if getattr(args, name) is not None}
    if args.store:
        os.environ["AUDIOTUNE_STORE"] = args.store
    paths = {name: Path(getattr(args, name)) for name in (*interface.INPUTS, *interface.OUTPUTS)}
    result = _call_step(package, validate_settings(interface.Settings, given), paths)
    print(json.dumps({"parameters": dict(result.parameters), "metrics": dict(result.metrics)}, indent=1, default=str))


def build_parser(package: str, interface: ModuleType) -> argparse.ArgumentParser:
    """A flag for each setting and each artifact."""
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=(interface.__doc__ or "").strip())
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    parser.add_argument("--executor-input", help="Kubeflow's ExecutorInput as JSON; replaces all other flags")
    for name in interface.INPUTS:
        parser.add_argument(f"--{_flag_name(name)}", dest=name, required=True, help="input: file made by the step before")
    for name in interface.OUTPUTS:
        parser.add_argument(f"--{_flag_name(name)}", dest=name, default=f"{name}.out", help=f"output file (default {name}.out)")
    for name, info in interface.Settings.model_fields.items():
        default = info.get_default(call_default_factory=True) if not info.is_required() else None
        words = f"{info.description or ''} (default {default!r})".replace("%", "%%")
        plain = get_origin(info.annotation) is None and info.annotation in (str, int, float)
        parser.add_argument(f"--{_flag_name(name)}", dest=name, type=str if plain else _parse_value, help=words)
    return parser


def _parse_value(text: str) -> Any:
    """JSON where it is JSON (true, 3, ["a"]), else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _flag_name(name: str) -> str:
    return name.replace("_", "-")
