"""Everything that is read: sounds and their people, releases, health, metrics. And the registry's webhook that an alias has moved."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from audiotune.domain.lineage import LineageChecker
from audiotune.domain.release import Lineage, find_card
from audiotune.errors import AudioTuneError, LineageError, NotInStoreError
from audiotune.governance.sound_marks import WithdrawnMakers
from audiotune.registry import releases as registry
from audiotune.store.port import Store
from services.generation.engine.release_catalogue import ReleaseCatalogue, ReleaseRegistry
from services.generation.engine.sound_records import read_sound_record
from services.generation.http import request_parsing
from services.generation.http.context import GenerationContext
from services.generation.http.health import classify_trouble, describe_health
from services.generation.http.problems import ProblemError
from services.generation.http.responses import WITHDRAWN_HEADER
from services.generation.http.sound_answers import answer_sound

_FRESH_S = 300
_NAMES = {"releases": "name", "adapters": "release"}  # list in an answer -> the field with the release's name


def build_router(context: GenerationContext, registered: ReleaseRegistry = registry) -> APIRouter:
    routes = APIRouter()
    lineages, withdrawn = LineageChecker(context.store), WithdrawnMakers(context.store, registered.find_release)
    listing = ReleaseCatalogue(context.engine.loaded_releases, context.adapters, registered, lineages.require)
    reads, moves = Depends(context.authenticator.require_scope("read")), Depends(context.authenticator.require_scope("releases"))

    @routes.head("/v1/sounds/{digest}", include_in_schema=False)
    @routes.get("/v1/sounds/{digest}", summary="A sound that was made, by its digest; also a part of it (Range)")
    def get_sound(request: Request, digest: str, member: str = reads) -> Response:
        record, store = read_sound_record(context.store, digest, member), context.store
        try:
            answer = answer_sound(request, record, store.size(record.blob), lambda: store.get(record.blob))
        except NotInStoreError:
            raise ProblemError(410, "the sound is no longer kept", code="no-longer-kept") from None
        with suppress(AudioTuneError):  # the sound is given also where nobody can say
            if withdrawn.find_reasons(record.makers):
                answer.headers[WITHDRAWN_HEADER] = "true"
        return answer

    @routes.get("/v1/sounds/{digest}/lineage", summary="Who is in a sound: its release, recordings and people")
    def get_lineage(digest: str, member: str = reads) -> dict[str, Any]:
        record = read_sound_record(context.store, digest, member)
        own = _read_lineage(context.store, lineages, registered, record.release, record.version, record.digest)
        added = [
            (adapter, _read_lineage(context.store, lineages, registered, adapter.release, adapter.version, adapter.digest))
            for adapter in record.adapters
        ]
        people = {name for lineage in (own, *(lineage for _, lineage in added)) for name in lineage.contributors}
        return {
            "generation": record.model_dump(mode="json"),
            "contributors": sorted(people),
            "withdrawn": [
                {"release": name, "version": version, "reason": reason}
                for (name, version), reason in withdrawn.find_reasons(record.makers).items()
            ],
            "lineage": own.model_dump(mode="json"),
            "adapters": [{**one.model_dump(mode="json"), "lineage": lineage.model_dump(mode="json")} for one, lineage in added],
        }

    @routes.get("/v1/releases", summary="The releases of this service, newest first", dependencies=[reads])
    def list_releases() -> dict[str, Any]:
        found = {"releases": listing.list_releases(), "adapters": listing.list_adapters()}
        makers = {kind: [(str(row[name]), str(row["version"])) for row in found[kind]] for kind, name in _NAMES.items()}
        reasons = withdrawn.find_reasons([maker for rows in makers.values() for maker in rows])
        return {
            kind: [{**row, "withdrawn": reasons.get(maker, "")} for row, maker in zip(rows, makers[kind], strict=True)]
            for kind, rows in found.items()
        }

    @routes.post("/v1/releases/look", summary="Look at the registry now", dependencies=[moves], status_code=202)
    async def check_registry() -> dict[str, Any]:
        return _trigger_check(context, listing)

    @routes.post("/v1/webhooks/registry", summary="MLflow's signed webhook: an alias has moved", status_code=202)
    async def receive_registry_webhook(request: Request) -> dict[str, Any]:
        _check_signature(request, bytes(await request_parsing.read_body(request, 100_000, context.settings.body_s)), context)
        return _trigger_check(context, listing)

    @routes.get(
        "/v1/health", summary="Ready or not, and the class of reason; with a token of the scope `releases` every reason in words"
    )
    async def get_health(request: Request) -> JSONResponse:
        detailed = await context.authenticator.has_scope(request, "releases")
        return JSONResponse(describe_health(context, detailed=detailed), 200 if context.is_ready else 503)

    @routes.get("/livez", include_in_schema=False)
    async def get_livez() -> PlainTextResponse:
        return PlainTextResponse("alive")

    @routes.get("/readyz", include_in_schema=False)
    async def get_readyz() -> PlainTextResponse:
        return PlainTextResponse("ready" if context.accepts_traffic else "not ready", 200 if context.accepts_traffic else 503)

    @routes.get("/metrics", include_in_schema=False)
    async def get_metrics() -> Response:
        return Response(
            context.engine.metrics.render_text(_read_gauges(context), classify_trouble(context)),
            media_type=CONTENT_TYPE_PLAIN_0_0_4,
        )

    return routes


def _read_lineage(
    store: Store, lineages: LineageChecker, registered: ReleaseRegistry, name: str, version: str, digest: str
) -> Lineage:
    """The lineage of a sound's release or adapter; of one that was erased, as its card in the store says.

    Raises LineageError when the registry has other weights or another lineage by now.
    """
    release = registered.find_release(name, version) or find_card(store, name, version)
    if release is None:
        raise LineageError(
            f"{name} version {version} is not known any more", where="the registry", cure="restore it from a backup"
        )
    if digest not in (release.digest, release.weights.adapter_digest):
        what = f"{name} version {version} is not what the sound was made with"
        raise LineageError(what, where="the registry", cure="look who else can write to MLflow")
    lineages.require(release)
    return release.lineage


def _trigger_check(context: GenerationContext, listing: ReleaseCatalogue) -> dict[str, Any]:
    listing.forget()
    context.release_watcher.check_now()
    return {"looking": True}


def _check_signature(request: Request, body: bytes, context: GenerationContext) -> None:
    """MLflow signs "<delivery>.<time>.<body>" with HMAC-SHA256 (mlflow.org, webhooks); old deliveries are refused."""
    secret = context.settings.registry_secret.get_secret_value()
    if not secret:
        raise ProblemError(404, "no webhook is expected here", code="no-webhook")
    id, at = (request.headers.get(name, "") for name in ("x-mlflow-delivery-id", "x-mlflow-timestamp"))
    right = base64.b64encode(hmac.digest(secret.encode(), f"{id}.{at}.".encode() + body, hashlib.sha256)).decode()
    given = request.headers.get("x-mlflow-signature", "").removeprefix("v1,")
    fresh = at.isascii() and at.isdigit() and len(at) < 12 and abs(time.time() - int(at)) < _FRESH_S
    if not hmac.compare_digest(given.encode(), right.encode()) or not fresh:
        raise ProblemError(401, "the signature does not fit", code="signature-invalid")


def _read_gauges(context: GenerationContext) -> dict[str, float]:
    swaps = {f"swaps_{kind}": number for kind, number in context.release_watcher.swaps.items()}
    jobs_held = len(context.job_worker.claimed_jobs)
    return {"ready": context.is_ready, "waiting": context.engine.queue_length, "jobs_held": jobs_held, **swaps}
