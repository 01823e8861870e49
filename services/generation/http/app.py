"""The HTTP API: a FastAPI application of our own inside BentoML's server, because its errors can then say what is wrong."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import Scope

from audiotune import __version__
from audiotune.errors import AudioTuneError
from audiotune.outside.path_prefix import PathPrefix
from audiotune.registry import releases as registry
from services.generation.engine.release_catalogue import ReleaseRegistry
from services.generation.http import routes_generations, routes_jobs, routes_reading
from services.generation.http.context import GenerationContext
from services.generation.http.docs_page import add_docs_page
from services.generation.http.middleware import RequestMiddleware
from services.generation.http.problems import ProblemError, problem_from_error
from services.generation.http.responses import SOUND_HEADERS, WITHDRAWN_HEADER

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
# headers that pages may read, besides those of a sound and those that they always may
_EXPOSED = ("X-Request-Id", "Location", "Retry-After", "Preference-Applied", "WWW-Authenticate", "Content-Disposition",
            "Content-Length", "Accept-Ranges", "Content-Range", "ETag")  # fmt: skip
LOG = logging.getLogger("audiotune.generation")


def create_app(context: GenerationContext, registered: ReleaseRegistry = registry) -> FastAPI:
    """The application of one service process; `registered`: what the registry holds."""
    root_path = context.settings.root_path
    app = FastAPI(
        title="Audio Tune generation",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        servers=[{"url": root_path}] if root_path else None,
        description="Sounds from the group's own releases. The same request with the same seed and release is the same sound.",
    )
    _add_error_handlers(app)
    metrics, most = context.engine.metrics, context.settings.open_requests
    app.add_middleware(RequestMiddleware, metrics=metrics, most=most, stopping=context.stopping)
    _allow_origins(app, context.settings.allowed_origins)
    app.add_middleware(PathPrefix, prefix=root_path)
    for routes in (routes_generations, routes_jobs):
        app.include_router(routes.build_router(context))
    app.include_router(routes_reading.build_router(context, registered))
    add_docs_page(app)
    return app


def _allow_origins(app: FastAPI, origins: list[str]) -> None:
    """Lets web pages of these origins use the API from a browser (CORS). Added later, it is asked earlier: also refusals can be read."""
    if origins:
        exposed = (*SOUND_HEADERS, WITHDRAWN_HEADER, *_EXPOSED)
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=_METHODS, allow_headers=("*",), expose_headers=exposed
        )


def _list_methods(app: FastAPI, scope: Scope) -> list[str]:
    """The methods that the path of a request has."""
    asked = {method: {**scope, "method": method} for method in _METHODS}
    return [method for method, one in asked.items() if any(route.matches(one)[0] is Match.FULL for route in app.routes)]


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
    def answer_http_error(request: Request, e: HTTPException) -> Response:
        headers = dict(e.headers or {})
        if e.status_code == 405:  # the framework names the methods of one route of the path alone
            headers["Allow"] = ", ".join([*_list_methods(app, request.scope), "OPTIONS"])
            if request.method == "OPTIONS":  # also a page's preflight; without the headers of CORS the browser refuses the page
                return Response(status_code=204, headers=headers)
        return make_response(request, ProblemError(e.status_code, str(e.detail), headers=headers))

    @app.exception_handler(Exception)
    def answer_bug(request: Request, e: Exception) -> JSONResponse:
        LOG.exception("bug")
        return make_response(request, ProblemError(500, "something broke here; the log knows more", code="bug"))
