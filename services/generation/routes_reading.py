"""What can be asked: sounds and their people, releases, health, metrics; and the registry's word that an alias has moved."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from audiotune.errors import NotInStoreError
from audiotune.generation import MEDIA_TYPES
from audiotune.registry import releases as registry
from services.generation import bodies
from services.generation.files import headers_of
from services.generation.listing import Listing, Registry
from services.generation.parts import Parts
from services.generation.problems import Problem
from services.generation.records import heard
from services.generation.work import Loaded

_FRESH_S = 300


def router(parts: Parts, registered: Registry = registry) -> APIRouter:
    routes, listing = APIRouter(), Listing(parts, registered)
    reads, moves = Depends(parts.gate.needs("read")), Depends(parts.gate.needs("releases"))

    @routes.get("/v1/sounds/{digest}", summary="A sound that was made, by its digest")
    def sound(digest: str, member: str = reads) -> Response:
        record = heard(parts.store, digest, member)
        try:
            data = parts.store.get(record.blob)
        except NotInStoreError:
            raise Problem(410, "the sound is no longer kept", code="no-longer-kept") from None
        return Response(data, media_type=MEDIA_TYPES[record.format], headers=headers_of(record))

    @routes.get("/v1/sounds/{digest}/lineage", summary="Who is in a sound: its release, recordings and people")
    def lineage(digest: str, member: str = reads) -> dict[str, Any]:
        record = heard(parts.store, digest, member)
        release = registry.get(record.release, record.version)
        added = [(one, registry.get(one.release, one.version)) for one in record.adapters]
        people = {*release.lineage.contributors, *(who for _, other in added for who in other.lineage.contributors)}
        return {
            "generation": record.model_dump(mode="json"),
            "contributors": sorted(people),
            "lineage": release.lineage.model_dump(mode="json"),
            "adapters": [
                {**one.model_dump(mode="json"), "lineage": other.lineage.model_dump(mode="json")} for one, other in added
            ],
        }

    @routes.get("/v1/releases", summary="The releases of this service, newest first", dependencies=[reads])
    def releases() -> dict[str, Any]:
        return {"releases": listing.releases(), "adapters": listing.adapters()}

    @routes.post("/v1/releases/look", summary="Look at the registry now", dependencies=[moves], status_code=202)
    async def look() -> dict[str, Any]:
        return _look(parts, listing)

    @routes.post("/v1/webhooks/registry", summary="MLflow's signed webhook: an alias has moved", status_code=202)
    async def moved(request: Request) -> dict[str, Any]:
        _check_signature(request, await bodies.whole(request, 100_000, parts.settings.body_s), parts)
        return _look(parts, listing)

    @routes.get("/v1/health", summary="Ready or not, and why")
    async def health() -> JSONResponse:
        return JSONResponse(_health(parts), 200 if parts.ready else 503)

    @routes.get("/livez", include_in_schema=False)
    async def livez() -> PlainTextResponse:
        return PlainTextResponse("alive")

    @routes.get("/readyz", include_in_schema=False)
    async def readyz() -> PlainTextResponse:
        return PlainTextResponse("ready" if parts.open else "not ready", 200 if parts.open else 503)

    @routes.get("/metrics", include_in_schema=False)
    async def numbers() -> PlainTextResponse:
        return PlainTextResponse(parts.metrics.text(_gauges(parts)))

    return routes


def _look(parts: Parts, listing: Listing) -> dict[str, Any]:
    listing.forget()
    if parts.following is not None:
        parts.following.look_now()
    return {"looking": parts.following is not None}


def _check_signature(request: Request, body: bytes, parts: Parts) -> None:
    """MLflow signs "<delivery>.<time>.<body>" with HMAC-SHA256 (mlflow.org, webhooks); old deliveries are no news."""
    secret = parts.settings.registry_secret.get_secret_value()
    if not secret:
        raise Problem(404, "no webhook is expected here", code="no-webhook")
    id, at = (request.headers.get(name, "") for name in ("x-mlflow-delivery-id", "x-mlflow-timestamp"))
    right = base64.b64encode(hmac.digest(secret.encode(), f"{id}.{at}.".encode() + body, hashlib.sha256)).decode()
    given = request.headers.get("x-mlflow-signature", "").removeprefix("v1,")
    fresh = at.isascii() and at.isdigit() and len(at) < 12 and abs(time.time() - int(at)) < _FRESH_S
    if not hmac.compare_digest(given.encode(), right.encode()) or not fresh:
        raise Problem(401, "the signature does not fit", code="signature-invalid")


def _health(parts: Parts) -> dict[str, Any]:
    shelf, current = parts.engine.shelf, parts.engine.shelf.current
    jobs = parts.runner.trouble if parts.runner is not None else ""
    silence = parts.following.silence if parts.following is not None else ""
    troubles = filter(None, (shelf.reason, silence, f"jobs: {jobs}" if jobs else ""))
    reason = "it is stopping" if parts.leaving else "; ".join(troubles)
    body: dict[str, Any] = {"ready": parts.ready, "reason": reason, "waiting": parts.engine.waiting}
    if current is not None:
        body |= _facts(current)
        body["releases"] = [_facts(loaded) for loaded in shelf.all.values()]
    return body


def _facts(loaded: Loaded) -> dict[str, Any]:
    from audiotune.stable_audio import samplers

    release = loaded.release
    facts: dict[str, Any] = {"release": release.name, "version": release.version, "digest": release.digest}
    model = loaded.model
    return facts | {"max_seconds": round(loaded.longest_s, 3), "samplers": list(samplers.names(model.objective)) if model else []}


def _gauges(parts: Parts) -> dict[str, float]:
    found: dict[str, float] = {"ready": parts.ready, "waiting": parts.engine.waiting}
    if parts.following is not None:
        found |= {f"swaps_{kind}": number for kind, number in parts.following.swaps.items()}
    if parts.runner is not None:
        found["jobs_held"] = len(parts.runner.held)
    return found
