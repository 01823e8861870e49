"""Jobs over HTTP: made once whoever retries, asked for, followed, stopped, listed."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from audiotune.errors import AudioTuneError
from audiotune.generation import GenerationRequest
from audiotune.store.port import digest_of
from services.generation import bodies, hooks
from services.generation.jobs.book import TakenError
from services.generation.jobs.making import Begun
from services.generation.jobs.record import ID, Event, Job
from services.generation.jobs.runner import in_turn
from services.generation.making import seeded
from services.generation.parts import Parts
from services.generation.problems import Problem

_EVERY_S = 0.25


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    reads, makes = Depends(parts.gate.needs("read")), Depends(parts.gate.needs("generate"))
    allowance = parts.allowance

    @routes.put("/{id}", summary="Make a job once, whoever retries", status_code=202)
    async def put(request: Request, id: str, member: str = makes, webhook: str = Query("", max_length=500)) -> Response:
        allowance.ask(member)
        checked_id(id)
        if webhook:
            await run_in_threadpool(hooks.check, webhook, parts.settings)
        body, began = seeded(await bodies.read(request, parts.settings)), datetime.now(UTC)
        sound_s = (body.length_s or 0) * body.count
        with allowance.spending(member, sound_s):
            job = await run_in_threadpool(made_job, parts, member, id, body, webhook, ticket=id)
        if job.made < began:  # it was made before: somebody tries again
            allowance.give_back(member, sound_s)
        return accepted(job)

    @routes.get("", summary="Your jobs, newest first")
    def listing(member: str = reads, limit: int = Query(20, ge=1, le=100), before: str = Query("", max_length=100)) -> Any:
        jobs, mark = parts.book.listed(member, limit, before)
        found: dict[str, Any] = {"jobs": [told(parts, job, outlook=False) for job in jobs]}
        return found | ({"next": f"/v1/jobs?limit={limit}&before={mark}"} if mark else {})

    @routes.get("/{id}", summary="How far a job is")
    async def state(id: str, member: str = reads) -> Response:
        job = parts.book.glanced(member, checked_id(id))
        if job is None:
            job = await run_in_threadpool(_job, parts, member, id)
        if job.ended:
            return JSONResponse(told(parts, job))
        return JSONResponse(await run_in_threadpool(told, parts, job), headers={"Retry-After": "1"})

    @routes.get("/{id}/events", summary="Its progress as server-sent events")
    async def events(request: Request, id: str, member: str = reads) -> Response:
        await run_in_threadpool(_job, parts, member, checked_id(id))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_events(parts, request, member, id), media_type="text/event-stream", headers=headers)

    @routes.delete("/{id}", summary="Stop a job before its next denoising step")
    def delete(id: str, member: str = makes) -> Any:
        job = parts.book.end(member, checked_id(id), Event(kind="cancelled"))
        if job is None:
            raise _no_job()
        if parts.runner is not None:
            parts.runner.cancelled(member, id)
        return told(parts, job)

    return routes


def job_id() -> str:
    return uuid.uuid4().hex


def checked_id(id: str) -> str:
    if not re.fullmatch(ID, id):
        fault = {"field": "id", "message": "8 to 64 letters, digits, '-' and '_'"}
        raise Problem(404, "no such job", errors=[fault], code="no-such-job")
    return id


def made_job(parts: Parts, member: str, id: str, body: GenerationRequest, webhook: str = "", *, ticket: str = "") -> Job:
    """Writes the job down; a full book is a 429, another request under this id a 409. `ticket`: what the client asks again by."""
    bodies.for_a_job(body)
    mine = [other for _, whose, other in in_turn(parts.book.open()) if whose == member]
    if id not in mine:  # else somebody tries again
        again = ticket or digest_of(body.model_dump_json(exclude={"seed"}).encode())
        parts.allowance.place(member, again, len(mine), lambda place: _ends_s(parts, member, mine[place]))
    try:
        job = parts.book.make(member, id, body, webhook)
    except TakenError:
        raise Problem(409, "another request was made under this id. Choose another id", code="id-taken") from None
    if parts.runner is not None:
        parts.runner.wake()
    return job


def accepted(job: Job) -> Response:
    where = f"/v1/jobs/{job.id}"
    body = {"id": job.id, "state": job.state, "url": where, "events": f"{where}/events"}
    return JSONResponse(body, 202, headers={"Location": where, "Retry-After": "1", "Preference-Applied": "respond-async"})


def told(parts: Parts, job: Job, *, outlook: bool = True) -> dict[str, Any]:
    """What a client may know of its job."""
    found: dict[str, Any] = {
        "id": job.id,
        "state": job.state,
        "made": job.made.isoformat(),
        "changed": job.changed.isoformat(),
        "request": job.request.model_dump(mode="json", exclude={"init_audio"}, exclude_none=True),
    }
    if job.sounds:
        found["sounds"] = [
            {**sound.model_dump(mode="json", exclude={"blob", "member"}), "url": f"/v1/sounds/{sound.sound}"}
            for sound in job.sounds
        ]
    if job.problem is not None:
        found["problem"] = job.problem
    if job.webhook and job.ended and outlook:
        found["webhook"] = parts.book.telling(job.member, job.id).model_dump(mode="json", exclude_none=True)
    return found if job.ended or not outlook else found | _outlook(parts, job)


def _outlook(parts: Parts, job: Job) -> dict[str, Any]:
    """Place in the line, predicted seconds, steps: exact where the job is at work here, from the book's order elsewhere."""
    held = parts.runner.held.get((job.member, job.id)) if parts.runner is not None else None
    if held is not None and isinstance(held.handle, Begun) and held.handle.work is not None:
        work = held.handle.work
        ahead, eta_s = parts.engine.outlook(work)
        return {"position": ahead, "eta_s": round(eta_s, 1), "step": work.steps_done, "steps": work.steps_total}
    order = [(member, id) for _, member, id in in_turn(parts.book.open())]
    place = order.index((job.member, job.id)) if (job.member, job.id) in order else 0
    one_s = parts.engine.speed.cost_s(2.0 * job.request.steps * 64 * job.request.count)
    return {"position": place, "eta_s": round(one_s * (place + 1), 1), "step": 0, "steps": job.request.steps * job.request.count}


def _ends_s(parts: Parts, member: str, id: str) -> float:
    """Predicted seconds until a job ends."""
    job = parts.book.glance(member, id)
    return 0.0 if job is None or job.ended else float(_outlook(parts, job)["eta_s"])


async def _events(parts: Parts, request: Request, member: str, id: str) -> AsyncIterator[str]:
    """`progress` whenever something changed, a comment now and then so that the line stays open, `end` at last."""
    before, quiet_s = "", 0.0
    while not await request.is_disconnected():
        try:
            job = await run_in_threadpool(_job, parts, member, id)
            facts = await run_in_threadpool(told, parts, job)
        except AudioTuneError:  # the store is away: the line stays open, news come when it is back
            await asyncio.sleep(1)
            continue
        except Problem:  # swept away
            return
        name = "end" if job.ended else "progress"
        now = json.dumps({k: v for k, v in facts.items() if k != "eta_s"})
        if now != before:
            before, quiet_s = now, 0.0
            yield f"event: {name}\ndata: {json.dumps(facts)}\n\n"
        if job.ended:
            return
        await asyncio.sleep(_EVERY_S)
        quiet_s += _EVERY_S
        if quiet_s >= 10:
            quiet_s = 0.0
            yield ": still here\n\n"


def _job(parts: Parts, member: str, id: str) -> Job:
    job = parts.book.glance(member, id)
    if job is None:
        raise _no_job()
    return job


def _no_job() -> Problem:
    return Problem(404, "no such job", code="no-such-job")
