"""Jobs over HTTP: made once however often a client retries, read, followed, cancelled, listed."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from audiotune.domain.generation import GenerationRequest
from audiotune.errors import AudioTuneError
from audiotune.store.port import compute_digest
from services.generation.engine.request_planning import draw_seed
from services.generation.errors import DamagedJobError, OpenStreamsError
from services.generation.http import request_parsing
from services.generation.http.context import GenerationContext
from services.generation.http.problems import ProblemError
from services.generation.http.responses import accepted_response
from services.generation.jobs import webhooks
from services.generation.jobs.engine_maker import JobHandle
from services.generation.jobs.events import ID, GenerationJob, JobEvent
from services.generation.jobs.job_store import JobIdTakenError
from services.generation.jobs.worker import interleave_members

_EVERY_S = 0.25


def build_router(context: GenerationContext) -> APIRouter:
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    reads, makes = Depends(context.authenticator.require_scope("read")), Depends(context.authenticator.require_scope("generate"))

    @routes.put("/{id}", summary="Make a job once, however often you retry", status_code=202)
    async def put_job(request: Request, id: str, member: str = makes, webhook: str = Query("", max_length=500)) -> Response:
        context.quotas.count_request(member)
        check_job_id(id)
        if webhook:
            look_up = functools.partial(webhooks.check_webhook, webhook, context.settings)
            await asyncio.get_running_loop().run_in_executor(context.resolvers, look_up)
        with context.request_memory.open_share(member) as share:
            body = draw_seed(await request_parsing.read_generation_request(request, context.settings, share, for_job=True))
            began, sound_s = datetime.now(UTC), (body.length_s or 0) * body.count
            with context.quotas.reserve_sound(member, sound_s):
                job = await run_in_threadpool(create_job, context, member, id, body, webhook, ticket=id)
        if job.made < began:  # it was made before: the client tries again
            context.quotas.refund_sound(member, sound_s)
        return accepted_response(job, context.settings.root_path)

    @routes.get("", summary="Your jobs, newest first")
    def list_jobs(member: str = reads, limit: int = Query(20, ge=1, le=100), before: str = Query("", max_length=100)) -> Any:
        jobs, mark = context.job_store.list_page(member, limit, before)
        page: dict[str, Any] = {"jobs": [describe_job(context, job, outlook=False) for job in jobs]}
        return page | ({"next": f"{context.settings.root_path}/v1/jobs?limit={limit}&before={mark}"} if mark else {})

    @routes.get("/{id}", summary="How far a job is")
    async def get_job(id: str, member: str = reads) -> Response:
        job = context.job_store.read_remembered(member, check_job_id(id))
        if job is None:
            job = await run_in_threadpool(_find_job, context, member, id)
        if job.has_ended:
            return JSONResponse(describe_job(context, job))
        return JSONResponse(await run_in_threadpool(describe_job, context, job), headers={"Retry-After": "1"})

    @routes.get("/{id}/events", summary="Its progress as server-sent events")
    async def stream_job_events(request: Request, id: str, member: str = reads) -> Response:
        await run_in_threadpool(_find_job, context, member, check_job_id(id))
        if context.open_streams[member] >= context.settings.member_streams:
            raise OpenStreamsError(f"{context.open_streams[member]} event streams of yours are open", cure="close one")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_stream_events(context, request, member, id), media_type="text/event-stream", headers=headers)

    @routes.delete("/{id}", summary="Stop a job before its next denoising step")
    def cancel_job(id: str, member: str = makes) -> Any:
        job = context.job_store.end(member, check_job_id(id), JobEvent(kind="cancelled"))
        if job is None:
            raise _no_job_problem()
        context.job_worker.stop_job(member, id)
        return describe_job(context, job)

    return routes


def check_job_id(id: str) -> str:
    if not re.fullmatch(ID, id):
        fault = {"field": "id", "message": "8 to 64 letters, digits, '-' and '_'"}
        raise ProblemError(404, "no such job", errors=[fault], code="no-such-job")
    return id


def create_job(
    context: GenerationContext, member: str, id: str, body: GenerationRequest, webhook: str = "", *, ticket: str = ""
) -> GenerationJob:
    """Makes the job. Raises OpenJobsError where the member has too many, ProblemError 409 for another request under this id.

    Args:
        ticket: equal for the same job asked for again.
    """
    request_parsing.check_job_size(body)
    mine = [other for _, whose, other in interleave_members(context.job_store.list_open()) if whose == member]
    if id not in mine:  # else the client tries again
        again = ticket or compute_digest(body.model_dump_json(exclude={"seed"}).encode())
        context.quotas.admit_job(member, again, len(mine), lambda place: _predict_end_s(context, member, mine[place]))
    if body.init_audio and not context.job_store.exists(member, id):
        context.quotas.keep_bytes(member, len(body.init_audio))
    try:
        job = context.job_store.create(member, id, body, webhook)
    except JobIdTakenError:
        raise ProblemError(409, "another request was made under this id. Choose another id", code="id-taken") from None
    context.job_worker.wake()
    return job


def describe_job(context: GenerationContext, job: GenerationJob, *, outlook: bool = True) -> dict[str, Any]:
    """What a client may know about its job."""
    facts: dict[str, Any] = {
        "id": job.id,
        "state": job.state,
        "made": job.made.isoformat(),
        "changed": job.changed.isoformat(),
        "request": job.request.model_dump(mode="json", exclude={"init_audio"}, exclude_none=True),
    }
    if job.sounds:
        facts["sounds"] = [
            {
                **sound.model_dump(mode="json", exclude={"blob", "member"}),
                "url": f"{context.settings.root_path}/v1/sounds/{sound.sound}",
            }
            for sound in job.sounds
        ]
    if job.problem is not None:
        facts["problem"] = job.problem
    if job.webhook and job.has_ended and outlook:
        facts["webhook"] = context.job_store.get_webhook_log(job.member, job.id).model_dump(mode="json", exclude_none=True)
    return facts if job.has_ended or not outlook else facts | _predict_progress(context, job)


def _predict_progress(context: GenerationContext, job: GenerationJob) -> dict[str, Any]:
    """Position, predicted seconds, steps: exact where this replica makes the job, from the order of the store elsewhere."""
    held = context.job_worker.claimed_jobs.get((job.member, job.id))
    if held is not None and isinstance(held.handle, JobHandle) and held.handle.work is not None:
        work = held.handle.work
        ahead, eta_s = context.engine.predict_wait(work)
        return {"position": ahead, "eta_s": round(eta_s, 1), "step": work.steps_done, "steps": work.steps_total}
    order = [(member, id) for _, member, id in interleave_members(context.job_store.list_open())]
    place = order.index((job.member, job.id)) if (job.member, job.id) in order else 0
    loaded = context.engine.loaded_releases.default_release
    usual = loaded.model.defaults.steps if loaded is not None and loaded.model is not None else 0
    steps = (job.request.steps or usual) * job.request.count
    one_s = context.engine.speed.cost_s(2.0 * steps * 64)
    return {"position": place, "eta_s": round(one_s * (place + 1), 1), "step": 0, "steps": steps}


def _predict_end_s(context: GenerationContext, member: str, id: str) -> float:
    try:
        job = context.job_store.read_recent(member, id)
    except DamagedJobError:
        return 0.0
    return 0.0 if job is None or job.has_ended else float(_predict_progress(context, job)["eta_s"])


async def _stream_events(context: GenerationContext, request: Request, member: str, id: str) -> AsyncIterator[str]:
    """The events, counted as one open stream of the member."""
    context.open_streams[member] += 1
    try:
        async for event in _read_events(context, request, member, id):
            yield event
    finally:
        context.open_streams[member] -= 1
        context.open_streams += Counter()  # drops who has none


async def _read_events(context: GenerationContext, request: Request, member: str, id: str) -> AsyncIterator[str]:
    """`progress` whenever something changed, a comment every ten seconds so that the connection stays open, `end` at last."""
    before, quiet_s = "", 0.0
    while not await request.is_disconnected():
        try:
            job = await run_in_threadpool(_find_job, context, member, id)
            facts = await run_in_threadpool(describe_job, context, job)
        except (ProblemError, DamagedJobError):  # the job was deleted, or got damaged
            return
        except AudioTuneError:  # the store is away: the connection stays open until it is back
            await asyncio.sleep(1)
            continue
        name = "end" if job.has_ended else "progress"
        now = json.dumps({k: v for k, v in facts.items() if k != "eta_s"})
        if now != before:
            before, quiet_s = now, 0.0
            yield f"event: {name}\ndata: {json.dumps(facts)}\n\n"
        if job.has_ended:
            return
        await asyncio.sleep(_EVERY_S)
        quiet_s += _EVERY_S
        if quiet_s >= 10:
            quiet_s = 0.0
            yield ": still here\n\n"


def _find_job(context: GenerationContext, member: str, id: str) -> GenerationJob:
    job = context.job_store.read_recent(member, id)
    if job is None:
        raise _no_job_problem()
    return job


def _no_job_problem() -> ProblemError:
    return ProblemError(404, "no such job", code="no-such-job")
