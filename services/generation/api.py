"""The HTTP API: a FastAPI application of our own inside BentoML's server, because its errors can then say what is wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from audiotune import __version__
from audiotune.errors import AudioTuneError, NotInStoreError
from audiotune.generation import MEDIA_TYPES, Generation, GenerationRequest
from audiotune.registry import releases as registry
from audiotune.store.port import Store
from services.generation import bodies
from services.generation.doors import Door
from services.generation.engine import Engine, NotReadyError
from services.generation.gate import Gate
from services.generation.line import BusyError, Job, Loaded
from services.generation.making import file_of, format_for, headers_of, wanted
from services.generation.metrics import Metrics
from services.generation.problems import Problem

LOG = logging.getLogger("audiotune.generation")
EXAMPLE = {"prompt": "low dark metallic drone", "seconds": 2, "steps": 50, "seed": 7}
_DIGEST = re.compile(r"[0-9a-f]{64}")


def create_app(engine: Engine, store: Store, *, members: bool = False) -> FastAPI:
    """The application around an engine. `members`: whether tokens are asked for."""
    gate = Gate(store, members=members)
    reads, makes = [Depends(gate.needs("read"))], [Depends(gate.needs("generate"))]
    app = FastAPI(
        title="Audio Tune generation",
        version=__version__,
        description="Sounds from the group's own releases. The same request with the same seed and release is the same sound.",
    )
    _answer_problems(app)
    metrics = Metrics()
    app.add_middleware(Door, metrics=metrics)

    @app.post(
        "/v1/generations",
        summary="Make a sound",
        dependencies=makes,
        responses={200: {"content": {name: {} for name in (*MEDIA_TYPES.values(), "application/json")}}},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": GenerationRequest.model_json_schema(), "example": EXAMPLE},
                    "multipart/form-data": {"schema": _form_schema()},
                },
            }
        },
    )
    async def generations(request: Request) -> Response:
        body = await bodies.read(request, engine.settings.body_mb)
        loaded = _loaded(engine, body)
        if engine.settings.log_prompts:
            LOG.info(json.dumps({"request_id": request.state.id, "prompt": body.prompt, "negative_prompt": body.negative_prompt}))
        format, as_json = format_for(body, request.headers.get("accept", ""))
        asked = await run_in_threadpool(wanted, engine.settings, loaded, body)
        sounds = await _made(request, engine, engine.submit(loaded, asked))
        keep = store if engine.settings.keep else None
        files = [await run_in_threadpool(file_of, loaded, body, a, s, format, keep) for a, s in zip(asked, sounds)]
        if not as_json:
            data, record = files[0]
            return Response(data, media_type=MEDIA_TYPES[format], headers=headers_of(record))
        return JSONResponse({"generations": [_entry(data, record) for data, record in files]})

    @app.get("/v1/sounds/{digest}", summary="A sound that was made, by its digest", dependencies=reads)
    def sound(digest: str) -> Response:
        record = _record(store, digest)
        try:
            data = store.fetch(record.blob).read_bytes()
        except NotInStoreError:
            raise Problem(404, "the sound is no longer kept") from None
        return Response(data, media_type=MEDIA_TYPES[record.format], headers=headers_of(record))

    @app.get("/v1/sounds/{digest}/lineage", summary="Who is in a sound: its release, recordings and people", dependencies=reads)
    def lineage(digest: str) -> dict[str, Any]:
        record = _record(store, digest)
        release = registry.get(record.release, record.version)
        return {
            "generation": record.model_dump(mode="json"),
            "contributors": release.lineage.contributors,
            "lineage": release.lineage.model_dump(mode="json"),
        }

    @app.get("/v1/releases", summary="The releases of this service, newest first", dependencies=reads)
    def releases() -> dict[str, Any]:
        return {"releases": _releases(engine)}

    @app.get("/v1/health", summary="Ready or not, and why")
    def health() -> JSONResponse:
        return _health(engine)

    @app.get("/metrics", include_in_schema=False)
    def numbers() -> PlainTextResponse:
        return PlainTextResponse(metrics.text({"ready": engine.current is not None, "waiting": engine.waiting}))

    return app


def _form_schema() -> dict[str, Any]:
    """The same fields as a form, with the init audio as a file."""
    schema = GenerationRequest.model_json_schema()
    return {**schema, "properties": {**schema["properties"], "init_audio": {"type": "string", "format": "binary"}}}


def _loaded(engine: Engine, body: GenerationRequest) -> Loaded:
    loaded = engine.loaded()
    if body.release and body.release != loaded.release.name:
        raise Problem(
            404, f"release {body.release[:80]!r} is not served", errors=[{"field": "release", "message": loaded.release.name}]
        )
    return loaded


async def _made(request: Request, engine: Engine, job: Job) -> list[Any]:
    """Waits for the sounds; a client that leaves ends the work at the next denoising step."""
    future = asyncio.wrap_future(job.result)
    while not future.done():
        await asyncio.wait([future], timeout=0.25)
        if not future.done() and await request.is_disconnected():
            engine.leave(job)
            raise Problem(503, "the client left", code="client-left")
    return list(future.result())


def _entry(data: bytes, record: Generation) -> dict[str, Any]:
    facts = record.model_dump(mode="json", exclude={"blob", "made"})
    return {**facts, "url": f"/v1/sounds/{record.sound}", "audio": base64.b64encode(data).decode()}


def _record(store: Store, digest: str) -> Generation:
    if not _DIGEST.fullmatch(digest):
        raise Problem(404, "no such sound", errors=[{"field": "digest", "message": "64 hexadecimal digits"}])
    try:
        return Generation.model_validate_json(store.get(f"manifests/generations/{digest}.json"))
    except NotInStoreError:
        raise Problem(404, "no such sound") from None


def _releases(engine: Engine) -> list[dict[str, Any]]:
    names = [engine.settings.release_name] if engine.settings.release else registry.names()
    serving = engine.current.release if engine.current else None
    found = []
    for name in names:
        aliases = registry.aliases(name)
        for release in registry.releases(name):
            found.append(
                {
                    "name": name,
                    "version": release.version,
                    "digest": release.digest,
                    "aliases": sorted(alias for alias, version in aliases.items() if version == release.version),
                    "serving": serving is not None and (serving.name, serving.version) == (name, release.version),
                    "made": release.made.isoformat(),
                    "licence": release.licence,
                    "notice": release.notice,
                    "contributors": release.lineage.contributors,
                    "gate": "passed" if release.evaluation.passed else "; ".join(release.evaluation.reasons),
                }
            )
    return found


def _health(engine: Engine) -> JSONResponse:
    current = engine.current
    body: dict[str, Any] = {"ready": current is not None, "reason": engine.trouble, "waiting": engine.waiting}
    if current is not None:
        from audiotune.stable_audio import samplers

        body |= {
            "release": current.release.name,
            "version": current.release.version,
            "digest": current.release.digest,
            "max_seconds": round(current.longest_s, 3),
            "samplers": list(samplers.names(current.model.objective)),
        }
    return JSONResponse(body, 200 if current is not None else 503)


def _answer_problems(app: FastAPI) -> None:
    def answer(request: Request, problem: Problem) -> JSONResponse:
        return problem.answer(getattr(request.state, "id", ""), request.url.path)

    @app.exception_handler(Problem)
    def problem(request: Request, e: Problem) -> JSONResponse:
        return answer(request, e)

    @app.exception_handler(BusyError)
    def busy(request: Request, e: BusyError) -> JSONResponse:
        return answer(request, Problem(429, str(e), code="busy", headers={"Retry-After": str(e.retry_s)}))

    @app.exception_handler(NotReadyError)
    def not_ready(request: Request, e: NotReadyError) -> JSONResponse:
        return answer(request, Problem(503, str(e), code="not-ready", headers={"Retry-After": "5"}))

    @app.exception_handler(AudioTuneError)
    def ours(request: Request, e: AudioTuneError) -> JSONResponse:
        return answer(request, Problem(503, str(e), code=type(e).__name__.removesuffix("Error").lower()))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, e: RequestValidationError) -> JSONResponse:
        faults = [{"field": ".".join(map(str, x["loc"][1:])), "message": x["msg"]} for x in e.errors()]
        return answer(request, Problem(422, "the request does not fit", errors=faults, code="invalid-request"))

    @app.exception_handler(HTTPException)
    def http(request: Request, e: HTTPException) -> JSONResponse:
        return answer(request, Problem(e.status_code, str(e.detail), headers=e.headers))

    @app.exception_handler(Exception)
    def bug(request: Request, e: Exception) -> JSONResponse:
        LOG.exception("bug")
        return answer(request, Problem(500, "something broke here; the log knows more", code="bug"))
