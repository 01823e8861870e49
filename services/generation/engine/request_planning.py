"""From a request to what the model is asked for: bounds of the model, lengths, seeds."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from audiotune.audio.sound import Sound
from audiotune.domain.generation import LARGEST_SEED, GenerationRequest
from audiotune.errors import GenerationError
from audiotune.store.port import Store
from services.generation.engine.adapters import AdapterResolver, ChosenAdapter
from services.generation.engine.init_sounds import TakeMemory, load_init
from services.generation.engine.work import LoadedRelease
from services.generation.errors import NotReadyError, OutOfBoundsError
from services.generation.settings import GenerationSettings

_LOOP_PART, _LOOP_S = 0.1, 0.5  # of the length, and most seconds, that fade from the end into the beginning
_CONTEXT_PART = 0.25  # of the window that holds the end of a continued sound, at least


@dataclass(frozen=True)
class GenerationPlan:
    """What the model is asked for, and what is done with its sounds afterwards.

    Attributes:
        asked: one `audiotune.stable_audio.sample.SamplingRequest` a sound.
        seconds: length of the finished sound.
        init: digest of the init sound's file.
        head: what comes before an extended sound that does not fit into the model's window.
        loop_s: seconds that are faded from the end into the beginning.
        adapters: what is added to the release.
    """

    asked: list[Any]
    seconds: float
    init: str | None = None
    head: Sound | None = None
    loop_s: float = 0.0
    adapters: tuple[ChosenAdapter, ...] = ()


def draw_seed(request: GenerationRequest) -> GenerationRequest:
    """The request with a seed: drawn once, so that a job that is taken over gives the same sound."""
    if request.seed is not None:
        return request
    return request.model_copy(update={"seed": random.SystemRandom().randrange(LARGEST_SEED - request.count)})


def plan_request(
    settings: GenerationSettings,
    adapters: AdapterResolver,
    loaded: LoadedRelease,
    request: GenerationRequest,
    store: Store,
    member: str,
    take_memory: TakeMemory = lambda size: None,
) -> GenerationPlan:
    """The plan of a request that has a seed. Raises RequestError naming the field; NotReadyError when an adapter cannot be looked up.

    `take_memory` is told how many bytes an init sound will need before they are; may raise to refuse.
    """
    from audiotune.stable_audio.sample import SamplingRequest, check_request

    if loaded.model is None:  # a newer version takes its place
        raise NotReadyError(f"release {loaded.release.name} is being exchanged", cure="try again in a moment")
    shape, defaults = (loaded.model.sample_rate_hz, loaded.model.channels), loaded.model.defaults
    init, init_digest = load_init(settings, request, store, member, shape, take_memory)
    plan = _plan_lengths(loaded, request, init)
    init, redo = _split_init(plan, request, init)
    chosen = adapters.resolve(loaded, request.adapters)
    first = SamplingRequest(
        request.prompt_with_key,
        negative_prompt=request.negative_prompt,
        seconds=plan.seconds - (plan.head.duration_s if plan.head is not None else 0.0) + plan.loop_s,
        steps=request.steps or defaults.steps,
        guidance=defaults.guidance if request.guidance is None else request.guidance,
        seed=request.seed or 0,
        sampler=request.sampler or defaults.sampler,
        init=init,
        init_strength=request.init_strength,
        redo=redo,
        adapters=tuple((one.adapter, one.extra) for one in chosen if one.extra),
    )
    asked = [replace(first, seed=first.seed + number) for number in range(request.count)]
    try:
        check_request(loaded.model, asked[-1])
    except GenerationError as e:
        field = {"redo": "inpaint_start_s"}.get(e.where, e.where) or "request"
        raise OutOfBoundsError(str(e), where=field, cure=e.cure or e.what) from e
    return GenerationPlan(asked, plan.seconds, init_digest, plan.head, plan.loop_s, chosen)


def _plan_lengths(loaded: LoadedRelease, request: GenerationRequest, init: Sound | None) -> GenerationPlan:
    """The finished length, and what must be set aside or added so that the model's window holds the rest."""
    longest_s = loaded.longest_s
    if request.extend_s is not None and init is not None:
        most_s = (1 - _CONTEXT_PART) * longest_s
        if request.extend_s > most_s:
            raise _bounds_error("extend_s", f"above 0, at most {most_s:.2f}")
        over = round((init.duration_s + request.extend_s - longest_s) * init.sample_rate_hz)
        head = init.cut(0, over) if over > 0 else None
        return GenerationPlan([], init.duration_s + request.extend_s, head=head)
    seconds = request.length_s
    if seconds is None:
        seconds = min(loaded.model.defaults.length_s, longest_s)
        if request.inpaint_start_s is not None and init is not None:
            seconds = init.duration_s
    if not request.loop:
        return GenerationPlan([], seconds)
    loop_s = min(_LOOP_S, _LOOP_PART * seconds)
    if seconds + loop_s > longest_s:
        raise _bounds_error("seconds", f"a loop of at most {longest_s / (1 + _LOOP_PART):.2f}")
    return GenerationPlan([], seconds, loop_s=loop_s)


def _split_init(
    plan: GenerationPlan, request: GenerationRequest, init: Sound | None
) -> tuple[Sound | None, tuple[float, float] | None]:
    """The init sound as the model takes it, and which seconds of it are made anew."""
    if init is None:
        return None, None
    if request.extend_s is not None:
        tail = init if plan.head is None else init.cut(plan.head.frames, init.frames)
        return tail, (tail.duration_s, tail.duration_s + request.extend_s)
    if request.inpaint_start_s is not None:
        return init, (request.inpaint_start_s, min(request.inpaint_end_s or plan.seconds, plan.seconds))
    return init, None


def _bounds_error(field: str, bound: str) -> OutOfBoundsError:
    return OutOfBoundsError(f"{field} must be {bound}", where=field, cure=bound)
