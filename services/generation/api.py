"""The HTTP API: a FastAPI application of our own inside BentoML's server, because its errors can then say what is wrong."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from audiotune import __version__
from audiotune.errors import AudioTuneError
from services.generation import routes_jobs, routes_making, routes_reading
from services.generation.doors import Door
from services.generation.parts import Parts
from services.generation.problems import Problem, of_error

LOG = logging.getLogger("audiotune.generation")


def create_app(parts: Parts) -> FastAPI:
    """The application of one service process."""
    app = FastAPI(
        title="Audio Tune generation",
        version=__version__,
        description="Sounds from the group's own releases. The same request with the same seed and release is the same sound.",
    )
    _answer_problems(app)
    app.add_middleware(Door, metrics=parts.metrics, most=parts.settings.open_requests, leaving=parts.leaving)
    for routes in (routes_making, routes_jobs, routes_reading):
        app.include_router(routes.router(parts))
    return app


def _answer_problems(app: FastAPI) -> None:
    def answer(request: Request, problem: Problem) -> JSONResponse:
        return problem.answer(getattr(request.state, "id", ""), request.url.path)

    @app.exception_handler(Problem)
    def problem(request: Request, e: Problem) -> JSONResponse:
        return answer(request, e)

    @app.exception_handler(AudioTuneError)
    def ours(request: Request, e: AudioTuneError) -> JSONResponse:
        return answer(request, of_error(e))

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
