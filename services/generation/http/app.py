"""The HTTP API: a FastAPI application of our own inside BentoML's server, because its errors can then say what is wrong."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from audiotune import __version__
from audiotune.errors import AudioTuneError
from audiotune.registry import releases as registry
from services.generation.engine.release_catalogue import ReleaseRegistry
from services.generation.http import routes_generations, routes_jobs, routes_reading
from services.generation.http.context import GenerationContext
from services.generation.http.middleware import RequestMiddleware
from services.generation.http.problems import ProblemError, problem_from_error

LOG = logging.getLogger("audiotune.generation")


def create_app(context: GenerationContext, registered: ReleaseRegistry = registry) -> FastAPI:
    """The application of one service process; `registered`: what the registry holds."""
    app = FastAPI(
        title="Audio Tune generation",
        version=__version__,
        description="Sounds from the group's own releases. The same request with the same seed and release is the same sound.",
    )
    _add_error_handlers(app)
    metrics, most = context.engine.metrics, context.settings.open_requests
    app.add_middleware(RequestMiddleware, metrics=metrics, most=most, stopping=context.stopping)
    for routes in (routes_generations, routes_jobs):
        app.include_router(routes.build_router(context))
    app.include_router(routes_reading.build_router(context, registered))
    return app


def _add_error_handlers(app: FastAPI) -> None:
    def make_response(request: Request, problem: ProblemError) -> JSONResponse:
        return problem.to_response(getattr(request.state, "id", ""), request.url.path)

    @app.exception_handler(ProblemError)
    def answer_problem(request: Request, e: ProblemError) -> JSONResponse:
        return make_response(request, e)

    @app.exception_handler(AudioTuneError)
    def answer_own_error(request: Request, e: AudioTuneError) -> JSONResponse:
        problem = problem_from_error(e)
        if not hasattr(request.state, "member"):  # a stranger, or a member whose token could not be looked up
            LOG.warning("%s: %s", problem.code, e)
            problem.detail = "the service cannot answer now. Its log says why"
        return make_response(request, problem)

    @app.exception_handler(RequestValidationError)
    def answer_invalid_request(request: Request, e: RequestValidationError) -> JSONResponse:
        faults = [{"field": ".".join(map(str, x["loc"][1:])), "message": x["msg"]} for x in e.errors()]
        return make_response(request, ProblemError(422, "the request does not fit", errors=faults, code="invalid-request"))

    @app.exception_handler(HTTPException)
    def answer_http_error(request: Request, e: HTTPException) -> JSONResponse:
        return make_response(request, ProblemError(e.status_code, str(e.detail), headers=e.headers))

    @app.exception_handler(Exception)
    def answer_bug(request: Request, e: Exception) -> JSONResponse:
        LOG.exception("bug")
        return make_response(request, ProblemError(500, "something broke here; the log knows more", code="bug"))
