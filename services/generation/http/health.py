"""What the service says about itself: a class of reason to everybody, and every reason in words to who may move releases.

Reasons name members who withdrew, addresses of store and registry, and keys: nothing for strangers, who may ask for health, too.
"""

from __future__ import annotations

from typing import Any

from services.generation.engine.work import LoadedRelease
from services.generation.http.context import GenerationContext

# Class of reason -> what strangers are told.
TROUBLES = {
    "stopping": "it is stopping",
    "loading": "it is loading its release",
    "nothing-registered": "no release is registered under the alias",
    "memory-full": "memory is full",
    "no-answer": "registry or store does not answer",
    "withdrawn": "a release was withdrawn",
    "release": "a release cannot be served",
    "jobs": "jobs are not made",
}


def classify_trouble(context: GenerationContext) -> str:
    """The class of what is wrong, the gravest first; "" when nothing is. Something may be wrong while the service is ready."""
    loaded = context.engine.loaded_releases
    if context.stopping.is_set():
        return "stopping"
    if loaded.exhausted:
        return "memory-full"
    if context.release_watcher.silence_reason:
        return "no-answer"
    if loaded.waits_for_first:
        return "nothing-registered"
    if loaded.is_loading:
        return "loading"
    if loaded.withdrawn:
        return "withdrawn"
    if loaded.reason or loaded.default_release is None:
        return "release"
    return "jobs" if context.job_worker.trouble else ""


def describe_health(context: GenerationContext, *, detailed: bool) -> dict[str, Any]:
    """The answer of /v1/health. Not `detailed`: ready or not, the class of reason, and the bounds that forms need."""
    loaded, current, kind = (
        context.engine.loaded_releases,
        context.engine.loaded_releases.default_release,
        classify_trouble(context),
    )
    body: dict[str, Any] = {"ready": context.is_ready, "reason": TROUBLES.get(kind, ""), "reason_class": kind}
    if not detailed:
        return body | ({} if current is None else _describe_bounds(current))
    jobs = context.job_worker.trouble
    troubles = filter(None, (loaded.reason, context.release_watcher.silence_reason, f"jobs: {jobs}" if jobs else ""))
    if kind != "stopping":
        body["reason"] = "; ".join(troubles)
    body["waiting"] = context.engine.queue_length
    if current is not None:
        body |= _describe_loaded(current)
        body["releases"] = [_describe_loaded(one) for one in loaded.by_name.values()]
    return body


def _describe_bounds(loaded: LoadedRelease) -> dict[str, Any]:
    from audiotune.stable_audio import samplers

    longest = {"max_seconds": round(loaded.longest_s, 3)}
    if loaded.model is None:
        return {**longest, "samplers": [], "defaults": {}}
    usual = loaded.model.defaults
    defaults = {"seconds": usual.length_s, "steps": usual.steps, "guidance": usual.guidance, "sampler": usual.sampler}
    return {**longest, "samplers": list(samplers.list_samplers(loaded.model.objective)), "defaults": defaults}


def _describe_loaded(loaded: LoadedRelease) -> dict[str, Any]:
    release = loaded.release
    return {"release": release.name, "version": release.version, "digest": release.digest, **_describe_bounds(loaded)}
