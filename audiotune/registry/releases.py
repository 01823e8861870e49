"""Releases in MLflow's model registry: one registered version each, its files, tags and aliases.

MLflow has the release's JSON, config, model card and report; the weights stay in the store, under the digest in a tag.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audiotune.domain.release import Release
from audiotune.errors import RegistryError
from audiotune.registry.connection import NOT_FOUND, find_in_mlflow, get_mlflow_client, tracking_uri, translate_errors
from audiotune.registry.runs import MlflowRun, start_run
from audiotune.registry.runs import delete_run_files as delete_run_files  # an erasure asks for it here

EXPERIMENT = "audio-tune releases"
_FILE = "release.json"
_ADAPTER = "adapter"  # tag: SHA-256 of an adapter that is kept beside its base
_WITHDRAWN = "withdrawn"  # tag: why a version may not play
_LONGEST_TAG = 4000  # characters
_NO_VERSION = (NOT_FOUND, "INVALID_PARAMETER_VALUE")


def register_release(release: Release, files: Mapping[str, Path], run_id: str = "") -> Release:
    """Registers a release; returns the existing version when the same weights are registered already.

    The version is made last, when all files are there: a failure before leaves no version behind. An existing version gets the
    files and the gate tag of what differs, as a new evaluation.

    Args:
        release: without a version; the returned one has the version of MLflow, and nothing else that MLflow says.
        files: name inside the version -> file (config, recipe, report, card, notice).
        run_id: the training's run; metrics and files are added to it. Empty starts one.

    Raises RegistryError: MLflow does not answer or refuses; nothing is registered then.
    """
    known = _find_version(release.name, release.digest, release.weights.adapter_digest)
    if known is not None:
        return _update_evaluation(known, release, files)
    run = start_run(EXPERIMENT, f"release {release.name}", run_id=run_id or None)
    _log_release_files(run, release, files)
    run.log_metrics(release.evaluation.metrics, release.weights.step)
    run.end("FINISHED")
    _create_model(release.name)
    return release.model_copy(update={"version": _create_version(release, run.id)})


def set_alias(name: str, alias: str, version: str) -> None:
    """Points `candidate` or `champion` to a version."""
    with translate_errors(f"setting the alias {alias}"):
        get_mlflow_client().set_registered_model_alias(name, alias, version)


def delete_alias(name: str, alias: str) -> None:
    """Takes an alias away; no error where there is none."""
    call = get_mlflow_client().delete_registered_model_alias
    find_in_mlflow(f"taking away the alias {alias}", call, name, alias, absent=_NO_VERSION)


def mark_withdrawn(name: str, version: str, why: str) -> bool:
    """Says on a version, for whoever reads it in MLflow, why it may not play; empty takes that back. False where nothing changed."""
    found = find_in_mlflow(
        f"looking up {name} version {version}", get_mlflow_client().get_model_version, name, version, absent=_NO_VERSION
    )
    if found is None or found.tags.get(_WITHDRAWN, "") == why[:_LONGEST_TAG]:
        return False
    with translate_errors(f"tagging {name} version {version}"):
        get_mlflow_client().set_model_version_tag(name, version, _WITHDRAWN, why[:_LONGEST_TAG])
    return True


def delete_version(name: str, version: str) -> None:
    """Takes a version back that was just made; the files of its run stay. No error where there is none."""
    call = get_mlflow_client().delete_model_version
    find_in_mlflow(f"taking back {name} version {version}", call, name, version, absent=_NO_VERSION)
    _read_artifact.cache_clear()


def delete_release(name: str, version: str, run_id: str, digest: str, adapter: str) -> bool:
    """Deletes a version, and all files of its runs. False where MLflow has neither; what is half deleted is deleted by the next call.

    Args:
        run_id: of the training, as the release names it; empty where it names none.
        digest, adapter: of the weights and the adapter: a version with others is another release, and stays.
    """
    found = find_in_mlflow(
        f"looking up {name} version {version}", get_mlflow_client().get_model_version, name, version, absent=_NO_VERSION
    )
    if found is not None and (found.tags.get("digest"), found.tags.get(_ADAPTER, "")) != (digest, adapter):
        return False
    runs = {run_id, found.run_id if found else ""}
    deleted = [delete_run_files(run) for run in runs if run]
    if found is not None:
        with translate_errors(f"deleting {name} version {version}"):
            get_mlflow_client().delete_model_version(name, version)
        _read_artifact.cache_clear()
    return any(deleted) or found is not None


def find_version_by_alias(name: str, alias: str) -> str | None:
    """Only the version that an alias points to: cheap enough to ask every few seconds."""
    call = get_mlflow_client().get_model_version_by_alias
    found = find_in_mlflow(f"looking up {name}@{alias}", call, name, alias, absent=_NO_VERSION)
    return None if found is None else str(found.version)


def read_release(name: str, version: str) -> Release:
    """Raises RegistryError when there is no such version."""
    with translate_errors(f"looking up {name} version {version}"):
        found = get_mlflow_client().get_model_version(name, version)
    return _load_release(found)


def find_release(name: str, version: str) -> Release | None:
    """A release, or None when there is no such version."""
    call = get_mlflow_client().get_model_version
    found = find_in_mlflow(f"looking up {name} version {version}", call, name, version, absent=_NO_VERSION)
    return None if found is None else _load_release(found)


def list_releases(name: str) -> list[Release]:
    """All versions of a release, newest first; an empty list when the name is unknown."""
    return [_load_release(version) for version in _list_versions(name)]


def list_release_names() -> list[str]:
    """All names that releases are registered under."""
    with translate_errors("listing releases"):
        return sorted(model.name for model in get_mlflow_client().search_registered_models())


def list_aliases(name: str) -> dict[str, str]:
    """Alias -> version; empty when the name is unknown."""
    model = find_in_mlflow(f"looking up {name}", get_mlflow_client().get_registered_model, name)
    return {alias: str(version) for alias, version in model.aliases.items()} if model else {}


def list_adapters(name: str) -> list[Release]:
    """The versions of a release that are adapters beside their base, newest first."""
    return [_load_release(version) for version in _list_versions(name) if version.tags.get(_ADAPTER)]


def _list_versions(name: str) -> list[Any]:
    """MLflow's versions of a name, newest first."""
    with translate_errors(f"listing {name}"):
        found = get_mlflow_client().search_model_versions(f"name='{name}'")
    return sorted(found, key=lambda version: -int(version.version))


def _find_version(name: str, digest: str, adapter: str) -> Any:
    """The newest version with these weights, or None. Adapters of one base share its weights: both digests count."""
    same = (v for v in _list_versions(name) if (v.tags.get("digest"), v.tags.get(_ADAPTER, "")) == (digest, adapter))
    return next(same, None)


def _update_evaluation(version: Any, release: Release, files: Mapping[str, Path]) -> Release:
    """The release under the version that its weights have. What MLflow says about them is replaced where it differs."""
    known = _load_release(version)
    kept = {"version": known.version, "made": known.made, "training": known.training or release.training}
    current = release.model_copy(update=kept)
    if known == current:
        return known
    _log_release_files(MlflowRun(version.run_id), current, files)
    with translate_errors(f"tagging {known.name}"):
        get_mlflow_client().set_model_version_tag(known.name, known.version, "gate", _describe_gate(current))
        get_mlflow_client().set_model_version_tag(known.name, known.version, "judged", datetime.now(UTC).isoformat())
    return current


def _log_release_files(run: MlflowRun, release: Release, files: Mapping[str, Path]) -> None:
    """Logs a release's files, its own JSON last."""
    target = _artifact_folder(release.digest, release.weights.adapter_digest)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / _FILE
        written.write_text(release.model_dump_json(indent=1))
        for name, path in {**files, _FILE: written}.items():
            run.log_file(_copy_with_name(path, Path(name).name, Path(folder)), f"{target}/{Path(name).parent}".rstrip("/."))


def _create_model(name: str) -> None:
    call = get_mlflow_client().create_registered_model
    find_in_mlflow(f"registering {name}", call, name, absent=("RESOURCE_ALREADY_EXISTS",))


def _create_version(release: Release, run_id: str) -> str:
    tags = {
        "digest": release.digest,
        **({_ADAPTER: release.weights.adapter_digest} if release.weights.adapter else {}),
        "dataset": release.lineage.dataset,
        "base": release.lineage.base,
        "contributors": ", ".join(release.lineage.contributors),
        "licence": release.licence,
        "gate": _describe_gate(release),
        **({"choice": release.evaluation.choice[:_LONGEST_TAG]} if release.evaluation.choice else {}),
    }
    with translate_errors(f"registering {release.name}"):
        place = _artifact_folder(release.digest, release.weights.adapter_digest)
        source = f"{get_mlflow_client().get_run(run_id).info.artifact_uri}/{place}"
        version = get_mlflow_client().create_model_version(release.name, source, run_id=run_id, tags=tags, await_creation_for=0)
    return str(version.version)


def _describe_gate(release: Release) -> str:
    return "passed" if release.evaluation.passed else ("; ".join(release.evaluation.reasons) or "not passed")[:_LONGEST_TAG]


def _artifact_folder(digest: str, adapter: str) -> str:
    """Where a release's files lie in its run; one training may give several releases."""
    return f"release/{(adapter or digest)[:16]}"


def _load_release(version: Any) -> Release:
    where = f"{version.name} version {version.version}"
    place = f"{_artifact_folder(version.tags.get('digest', ''), version.tags.get(_ADAPTER, ''))}/{_FILE}"
    with translate_errors(f"reading release {where}"):
        text = _read_artifact(tracking_uri(), version.run_id, place, version.tags.get("judged", ""))
    try:
        return Release.model_validate_json(text).model_copy(update={"name": version.name, "version": str(version.version)})
    except ValidationError as e:
        raise RegistryError("what is registered is no release of ours", where=where) from e


@functools.lru_cache(maxsize=256)
def _read_artifact(uri: str, run_id: str, place: str, judged: str) -> str:
    """A version's file. It changes only with a new evaluation, whose time is `judged`: a new one misses the cache."""
    with tempfile.TemporaryDirectory() as folder:
        return Path(get_mlflow_client().download_artifacts(run_id, place, folder)).read_text()


def _copy_with_name(path: Path, name: str, folder: Path) -> Path:
    """A file of this name: a copy where its own name is another one, because MLflow stores a file under its own name."""
    if path.name == name:
        return path
    copy = folder / name
    copy.write_bytes(path.read_bytes())
    return copy
