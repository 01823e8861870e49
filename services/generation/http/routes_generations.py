"""POST /v1/generations: from a prompt to a sound, at once or as a job."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import time
import uuid
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from audiotune.audio.sound import Sound
from audiotune.domain.generation import MEDIA_TYPES, GenerationRecord, GenerationRequest
from services.generation.engine.request_memory import MemoryShare
from services.generation.engine.request_planning import GenerationPlan, draw_seed, plan_request
from services.generation.engine.sound_files import SoundFileWriter
from services.generation.engine.work import EngineWork, LoadedRelease
from services.generation.errors import WithdrawnError
from services.generation.http import request_parsing
from services.generation.http.context import GenerationContext
from services.generation.http.problems import ProblemError
from services.generation.http.responses import accepted_response, choose_format
from services.generation.http.routes_jobs import create_job
from services.generation.http.sound_answers import describe_file

LOG = logging.getLogger("audiotune.generation")
EXAMPLE = {"prompt": "low dark metallic drone", "seconds": 2, "steps": 50, "seed": 7}
EXAMPLES = {
    "sound": {"summary": "a sound", "value": EXAMPLE},
    "loop": {"summary": "a loop", "value": {"prompt": "soft pulse", "bars": 1, "bpm": 120, "key": "A minor", "loop": True}},
    "adapters": {
        "summary": "with LoRA adapters of the group: names from `adapters` in /v1/releases",
        "value": {**EXAMPLE, "adapters": [{"release": "grit", "strength": 0.7}, {"release": "tape:1", "strength": 0.3}]},
    },
}
_LOOK_S = 0.05  # between looks whether another release took the place of a withdrawn one
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,5})(?:$|[,;\s])")


def build_router(context: GenerationContext) -> APIRouter:
    routes = APIRouter()

    @routes.post(
        "/v1/generations",
        summary="Make a sound",
        responses={200: {"content": {name: {} for name in (*MEDIA_TYPES.values(), "application/json")}}, 202: {}},
        openapi_extra=build_body_schema(),
    )
    async def create_generations(
        request: Request, member: str = Depends(context.authenticator.require_scope("generate"))
    ) -> Response:
        context.quotas.count_request(member)
        with context.request_memory.open_share(member) as share:
            return await answer_request(request, member, share)

    async def make_job(member: str, body: GenerationRequest) -> Response:
        job = await run_in_threadpool(create_job, context, member, uuid.uuid4().hex, body)
        return accepted_response(job, context.settings.root_path)

    async def submit_request(
        request: Request, body: GenerationRequest, member: str, share: MemoryShare, **admission: Any
    ) -> tuple[GenerationPlan, EngineWork]:
        loaded = await _await_release(request, context, body.release)
        plan = await _plan_request(context, loaded, body, member, share)
        return plan, context.engine.submit(loaded, plan.asked, member, context.settings.patience_s, **admission)

    async def answer_request(request: Request, member: str, share: MemoryShare) -> Response:
        began, wait_s = time.monotonic(), parse_wait_s(request.headers.getlist("prefer"))
        asked = await request_parsing.read_generation_request(request, context.settings, share, for_job=wait_s == 0)
        body = draw_seed(asked)
        _log_prompt(context, request, body)
        with context.quotas.reserve_sound(member, (body.length_s or 0) * body.count):
            if wait_s == 0:
                return await make_job(member, body)
            format, as_json = choose_format(body, request.headers.get("accept", ""))
            plan, work = await submit_request(request, body, member, share, ticket=hash(asked))
        while True:
            left_s = wait_s - (time.monotonic() - began) if wait_s is not None else None
            try:
                sounds = await _await_sounds(request, context, work, left_s)
                break
            except WithdrawnError:  # the request names no version: it is made from its beginning by what plays now
                plan, work = await submit_request(request, body, member, share, bounded=False)
        if sounds is None:  # it takes longer than the client wants to wait: the same request goes on as a job
            return await make_job(member, body)
        writer = SoundFileWriter(work.loaded, body, plan, format, member, context.store if context.settings.keep else None)
        files = await asyncio.gather(*(run_in_threadpool(writer.write_sound, n, sound) for n, sound in enumerate(sounds)))
        if not as_json:
            data, record = files[0]
            return Response(data, media_type=MEDIA_TYPES[format], headers=describe_file(record))
        return JSONResponse(
            {"generations": [_describe_sound(data, record, context.settings.root_path) for data, record in files]}
        )

    return routes


def build_body_schema() -> dict[str, Any]:
    """The request's body for the OpenAPI document, as JSON and as a form with the init audio as a file."""
    schema = GenerationRequest.model_json_schema()
    # a reference would point into the OpenAPI document, which has no such place
    schema["properties"]["adapters"]["items"] = schema.pop("$defs")["AdapterRequest"]
    form = {**schema, "properties": {**schema["properties"], "init_audio": {"type": "string", "format": "binary"}}}
    content = {"application/json": {"schema": schema, "examples": EXAMPLES}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


def parse_wait_s(prefer: list[str]) -> float | None:
    """Seconds a client wants to wait before it takes a job instead (RFC 7240): None is as long as it takes, 0 not at all."""
    words = ",".join(prefer).lower()
    if "respond-async" not in words:
        return None
    found = _WAIT.search(words)
    return float(found.group(1)) if found else 0.0


def _describe_sound(data: bytes, record: GenerationRecord, root_path: str) -> dict[str, Any]:
    facts = record.model_dump(mode="json", exclude={"blob", "made"})
    return {**facts, "url": f"{root_path}/v1/sounds/{record.sound}", "audio": base64.b64encode(data).decode()}


async def _await_release(request: Request, context: GenerationContext, name: str | None) -> LoadedRelease:
    """The release that plays. Where one was withdrawn just now, waits until it is known what plays instead."""
    until = time.monotonic() + context.settings.patience_s
    while context.engine.loaded_releases.is_sought(name) and time.monotonic() < until:
        await asyncio.sleep(_LOOK_S)
        if await request.is_disconnected():
            raise ProblemError(503, "the client left", code="client-left")
    return context.engine.loaded_releases.get(name)


async def _plan_request(
    context: GenerationContext, loaded: LoadedRelease, body: GenerationRequest, member: str, share: MemoryShare
) -> GenerationPlan:
    """The plan, made in a thread. Init sounds have threads of their own, so that few are decoded at once and nobody else waits."""
    facts = (context.settings, context.adapters, loaded, body, context.store, member, share.take)
    if body.init_audio or body.init_sound:
        return await asyncio.get_running_loop().run_in_executor(context.decoders, plan_request, *facts)
    return await run_in_threadpool(plan_request, *facts)


async def _await_sounds(
    request: Request, context: GenerationContext, work: EngineWork, wait_s: float | None
) -> list[Sound] | None:
    """Waits for the sounds; a client that leaves ends the work before its next step. None when `wait_s` is over."""
    future, began = asyncio.wrap_future(work.result), time.monotonic()
    while not future.done():
        left_s = 0.25 if wait_s is None else min(0.25, wait_s - (time.monotonic() - began))
        if left_s <= 0:
            context.engine.cancel(work)
            return None
        await asyncio.wait([future], timeout=left_s)
        if not future.done() and await request.is_disconnected():
            context.engine.cancel(work)
            raise ProblemError(503, "the client left", code="client-left")
    return list(future.result())


def _log_prompt(context: GenerationContext, request: Request, body: GenerationRequest) -> None:
    if context.settings.log_prompts:
        facts = {"request_id": request.state.id, "prompt": body.prompt, "negative_prompt": body.negative_prompt}
        LOG.info(json.dumps(facts))
