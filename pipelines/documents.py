"""A compiled pipeline as data: the pipeline spec, then the platform spec. Read, written and named without the kfp SDK."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from audiotune.errors import PipelineError

Documents = list[dict[str, Any]]
PIPELINES = ("prepare", "tune", "full")


def to_yaml(documents: Documents) -> str:
    """One text of all documents, in a stable order of keys."""
    return yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True, width=130)


def read_documents(path: Path) -> Documents:
    """Reads a file that `to_yaml` or the kfp SDK wrote.

    Raises:
        PipelineError: it cannot be read, is no YAML, or no compiled pipeline.
    """
    where = str(path)
    try:
        documents: Documents = [d for d in yaml.safe_load_all(path.read_text()) if d]
    except OSError as e:
        raise PipelineError(f"the compiled pipeline cannot be read: {e.strerror}", where=where) from e
    except yaml.YAMLError as e:
        raise PipelineError(f"this is no YAML: {e}", where=where, cure="compile the pipeline again") from e
    if not documents or not isinstance(documents[0], dict) or "pipelineInfo" not in documents[0]:
        raise PipelineError("this is no compiled pipeline", where=where, cure="compile it with python -m pipelines.compile")
    return documents


def compute_version_name(documents: Documents) -> str:
    """The version's name: the pipeline's, and twelve digits of its content's hash."""
    digits = hashlib.sha256(to_yaml(documents).encode()).hexdigest()[:12]
    return f"{documents[0]['pipelineInfo']['name']}-{digits}"


def collect_tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Task name -> task spec, of the root and of every nested DAG."""
    tasks = dict(spec["root"]["dag"]["tasks"])
    for component in spec.get("components", {}).values():
        tasks.update(component.get("dag", {}).get("tasks", {}))
    return tasks


def collect_containers(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Executor label -> container spec."""
    return {label: e["container"] for label, e in spec["deploymentSpec"]["executors"].items() if "container" in e}


def iterate_steps(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of the step (as in annotate_merge) and the task spec, for every task."""
    for task in collect_tasks(spec).values():
        yield task["componentRef"]["name"].removeprefix("comp-").replace("-", "_"), task
