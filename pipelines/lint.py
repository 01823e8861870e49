"""Rules for every compiled pipeline. Each prevents a failure seen on a real Kubeflow backend, or a form that is hard to understand."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pipelines.documents import Documents, collect_containers, collect_tasks

MOST_PARAMETERS = 12
_LEAST_BACKOFF_S = 7 * 86_400
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}")
_BY_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_PLAIN_NAME = re.compile(r"[a-z]+(_[a-z]+)*")
# Terms that a musician need not know: such settings belong to a recipe or to the cluster's facts.
_ML_TERMS = re.compile(r"batch|checkpoint|cfg|config|epochs|gpus?|learning|lora|mode|optimizer|rate")
# Steps that read or write objects of the store whose content changes under the same name; Kubeflow's cache compares only names.
_NEVER_CACHED = {
    "ingest": "recordings that came into the folder since the last run would be left out",
    "annotate-merge": "segments and annotations that came since the last run would be left out",
    "register": "a release would not be registered again",
}


def find_faults(documents: Documents, *, for_cluster: bool = False) -> list[str]:
    """A sentence for every broken rule; empty when all rules hold.

    Args:
        documents: the pipeline spec and, after it, the platform spec.
        for_cluster: the pipeline will be uploaded; images must then be named by digest.
    """
    spec = documents[0]
    platform = documents[1] if len(documents) > 1 else {}
    return [
        *_check_equal_specs(spec),
        *_check_placeholders(spec),
        *_check_platform(spec, platform),
        *_check_backoffs(spec),
        *_check_caching(spec),
        *_check_names(spec),
        *_check_form(spec),
        *(_check_image_tags(spec) if for_cluster else ()),
    ]


def _check_equal_specs(spec: dict[str, Any]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, container in collect_containers(spec).items():
        text = json.dumps(container, sort_keys=True)
        if text in seen:
            yield f"{seen[text]} and {name} have equal container specs: the backend takes them for one component"
        seen[text] = name


def _check_placeholders(spec: dict[str, Any]) -> Iterator[str]:
    for name, container in collect_containers(spec).items():
        for word in [*container.get("command", []), *container.get("args", [])]:
            if not isinstance(word, str) or any(p != "{{$}}" for p in _PLACEHOLDER.findall(word)):
                yield f"{name}: {word!r} in its command line; only {{{{$}}}} and constants are resolved by every backend"


def _check_platform(spec: dict[str, Any], platform: dict[str, Any]) -> Iterator[str]:
    settings = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    for name, container in collect_containers(spec).items():
        own = settings.get(name, {})
        context = own.get("securityContext", {})
        if not context.get("runAsNonRoot"):
            yield f"{name}: no run_as_non_root; PodSecurity restricted rejects its pods"
        if str(context.get("runAsUser", "")) in ("", "0"):
            yield f"{name}: no user by number; a kubelet cannot see that a named user is not root"
        if container.get("resources", {}).get("accelerator") and not own.get("activeDeadlineSeconds"):
            yield f"{name}: asks for a GPU without a timeout; without a free GPU it would wait for ever"


def _check_backoffs(spec: dict[str, Any]) -> Iterator[str]:
    for name, task in collect_tasks(spec).items():
        policy = task.get("retryPolicy")
        if policy and float(str(policy.get("backoffMaxDuration", "0s")).rstrip("s")) < _LEAST_BACKOFF_S:
            yield f"{name}: backoff_max_duration under seven days; it counts from the first start and stops retries"


def _check_caching(spec: dict[str, Any]) -> Iterator[str]:
    for name, task in collect_tasks(spec).items():
        stale = next((why for step, why in _NEVER_CACHED.items() if re.fullmatch(rf"{step}(-\d+)?", name)), None)
        if stale and task.get("cachingOptions", {}).get("enableCache"):
            yield f"{name}: caching is on; {stale}"


def _check_names(spec: dict[str, Any]) -> Iterator[str]:
    for field in ("displayName", "description"):
        if not spec["pipelineInfo"].get(field):
            yield f"the pipeline has no {field}: people see its technical name"
    for name, task in collect_tasks(spec).items():
        if task.get("taskInfo", {}).get("name", name) == name:
            yield f"{name}: no display name of its own; people see the technical one"


def _check_form(spec: dict[str, Any]) -> Iterator[str]:
    form = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    if len(form) > MOST_PARAMETERS:
        yield f"{len(form)} parameters on the run form; at most {MOST_PARAMETERS}"
    for name, field in form.items():
        if not _PLAIN_NAME.fullmatch(name) or any(map(_ML_TERMS.fullmatch, name.split("_"))):
            yield f"run form: {name!r} is no word a musician knows; put it into the recipe"
        if not field.get("description"):
            yield f"run form: {name} has no description"
        if "defaultValue" not in field:
            yield f"run form: {name} has no default; the form would not start as it opens"
        elif field.get("literals") and field["defaultValue"] not in field["literals"]:
            yield f"run form: the default {field['defaultValue']!r} of {name} is not in its drop-down"


def _check_image_tags(spec: dict[str, Any]) -> Iterator[str]:
    for name, container in collect_containers(spec).items():
        if not _BY_DIGEST.fullmatch(container["image"]):
            yield f"{name}: image {container['image']} is not named by digest; Kubeflow's cache would serve an older program's results"
