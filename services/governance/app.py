"""The service over HTTP: POST /v1/<operation> with a caller's key, GET /health and /ready.

An error's body is {"error": class in audiotune.errors, "what", "where", "cure"}.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from audiotune.errors import AccessError, AudioTuneError, ForbiddenError, SettingsError, StoreError
from audiotune.governance import read_current_agreement
from audiotune.governance.ledger.keys import load_signing_keys
from audiotune.store.port import Store
from services.governance.operations import OPERATIONS, Caller, GuardedWriters, Operation
from services.governance.settings import GovernanceSettings

LOG = logging.getLogger("audiotune.governance")
_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_STATUS: tuple[tuple[type[AudioTuneError], int], ...] = ((ForbiddenError, 403), (AccessError, 401), (StoreError, 503))
UPKEEP_S = 600.0
_REFUSED_BODY = "the request does not fit"


class GovernanceService:
    """Checks the caller, then the body, then does the work in a thread. Beside it, ends what waits too long.

    Args:
        upkeep_s: seconds between looks for recordings that wait no more, and whose bytes are to be deleted.
    """

    def __init__(self, store: Store, settings: GovernanceSettings, upkeep_s: float = UPKEEP_S) -> None:
        self._store, self._settings, self._writers = store, settings, GuardedWriters(store, settings)
        load_signing_keys()  # raises SettingsError now, and not at the first event
        self._keys: dict[Caller, bytes] = {
            "studio": settings.studio_key.get_secret_value().encode(),
            "ingest": settings.ingest_key.get_secret_value().encode(),
            "erasure": settings.erasure_key.get_secret_value().encode(),
        }
        self._upkeep_s = upkeep_s
        self._hashing = asyncio.Semaphore(settings.passwords_at_once)

    def build_app(self) -> Starlette:
        routes = [
            Route("/v1/{operation}", self._handle_operation, methods=["POST"]),
            Route("/health", lambda request: PlainTextResponse("OK")),
            Route("/ready", self._report_readiness),
        ]
        return Starlette(routes=routes, exception_handlers={AudioTuneError: _render_error}, lifespan=self._keep_waiting_in_order)

    @contextlib.asynccontextmanager
    async def _keep_waiting_in_order(self, app: Starlette) -> AsyncIterator[None]:
        upkeep = asyncio.create_task(self._repeat_upkeep())
        yield
        upkeep.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await upkeep

    async def _repeat_upkeep(self) -> None:
        while True:
            try:
                report = await run_in_threadpool(self._writers.end_due_waiting)
                for recording, outcome, people in report.ended:
                    LOG.info("recording %s waits no more: %s %s", recording[:12], outcome, " ".join(people))
            except AudioTuneError as e:  # the ledger says what is left to do; the next time
                LOG.warning("upkeep of recordings that wait: %s", e)
            await asyncio.sleep(self._upkeep_s)

    async def _handle_operation(self, request: Request) -> Response:
        caller, name = self._find_caller(request), request.path_params["operation"]
        operation = OPERATIONS.get(name)
        if operation is None or caller not in operation.callers:
            raise ForbiddenError(f"{caller} may not {name[:40]}", cure="each program has its own key and operations")
        body = _parse_body(operation, await self._read_body(request))
        try:
            result = await self._do(operation, body)
        except AudioTuneError as e:
            LOG.warning("%s: %s: refused: %s", caller, name, e.what)
            raise
        LOG.info("%s: %s: done", caller, name)
        return Response(_JSON.dump_json(result), media_type="application/json")

    def _find_caller(self, request: Request) -> Caller:
        """Whose key was sent. Every key is compared, in constant time."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        matches = [caller for caller, key in self._keys.items() if hmac.compare_digest(given, key) and key]
        if not matches:
            raise AccessError(
                "this is no key of the governance service", cure="set AUDIOTUNE_GOVERNANCE_KEY to this program's key"
            )
        return matches[0]

    async def _read_body(self, request: Request) -> bytes:
        """The body, up to its largest size. Raises SettingsError: too long, or too slow."""
        longest, body = self._settings.body_kb * 1000, b""
        try:
            async with asyncio.timeout(self._settings.body_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > longest:
                        raise SettingsError(_REFUSED_BODY, cure=f"send {self._settings.body_kb} kB at most")
        except (TimeoutError, ClientDisconnect):
            raise SettingsError(_REFUSED_BODY, cure=f"send it within {self._settings.body_s:g} seconds") from None
        return body

    async def _do(self, operation: Operation, body: Any) -> Any:
        async with self._hashing if operation.hashes else contextlib.nullcontext():
            return await run_in_threadpool(operation.work, self._writers, body)

    async def _report_readiness(self, request: Request) -> Response:
        try:
            await run_in_threadpool(read_current_agreement, self._store)
        except Exception as e:  # not ready, whatever the reason; the log has it
            LOG.error("not ready: %s", e)
            return PlainTextResponse("the store cannot be read", 503)
        return PlainTextResponse("OK")


def _parse_body(operation: Operation, body: bytes) -> Any:
    try:
        return operation.body.model_validate_json(body)
    except ValidationError as e:  # the values stay out of the answer and the log: they may be passwords
        faults = "; ".join(f"{'.'.join(map(str, x['loc'])) or 'body'}: {x['msg']}" for x in e.errors(include_input=False)[:8])
        raise SettingsError(f"{_REFUSED_BODY}: {faults}", cure="send what this version of the service knows") from None


def _render_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AudioTuneError)
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 422)
    told = {"error": type(error).__name__, "what": error.what, "where": error.where, "cure": error.cure}
    return Response(_JSON.dump_json(told), status, media_type="application/json")
