"""From a request's body to a GenerationRequest: JSON, or a form with a file. Bodies too large are not read to their end."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from audiotune.domain.generation import GenerationRequest
from services.generation.engine.request_memory import BODY_COPIES, MemoryShare
from services.generation.http.problems import ProblemError, problem_from_validation
from services.generation.settings import GenerationSettings

_KINDS = ("application/json", "multipart/form-data")
_JOB_INIT_MB, _JOB_FIELDS_MB = 8.0, 0.1
_CHUNK_BYTES = 1_000_000  # how much of a body without a length is accounted for at once


async def read_generation_request(
    request: Request, settings: GenerationSettings, share: MemoryShare, *, for_job: bool = False
) -> GenerationRequest:
    """The request in a body, whose size is looked at before it is read.

    Args:
        share: of memory; the body takes its part of it.
        for_job: the request will be kept with a job, so it may hold no more than one may.

    Raises:
        ProblemError: 400 no JSON or no form, 408 too slow, 413 too large, 415 another type, 422 fields that do not fit.
        BusyError: other requests fill the memory.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in _KINDS:
        fault = {"field": "Content-Type", "message": " or ".join(_KINDS)}
        raise ProblemError(415, f"content type {kind[:80] or 'missing'}", errors=[fault])
    most_mb = min(settings.body_mb, _JOB_INIT_MB + _JOB_FIELDS_MB) if for_job else settings.body_mb
    data = await read_body(request, int(most_mb * 1e6), settings.body_s, share)
    try:
        if kind == "application/json":
            return GenerationRequest.model_validate_json(data)
        return GenerationRequest.model_validate(await _read_form(request, data))
    except ValidationError as e:
        raise problem_from_validation(e) from e


def check_job_size(request: GenerationRequest) -> None:
    """A job's request is kept with the job: init audio goes by the id of a kept sound, or is small. Raises ProblemError 413."""
    if request.init_audio and len(request.init_audio) > _JOB_INIT_MB * 1e6:
        fault = {"field": "init_audio", "message": f"at most {_JOB_INIT_MB:g} MB of base64; or give init_sound"}
        raise ProblemError(413, "the init audio is too large for a job", errors=[fault])


async def read_body(request: Request, limit: int, within_s: float, share: MemoryShare | None = None) -> bytearray:
    """The body, not read beyond `limit` bytes nor longer than `within_s`. Raises ProblemError 408, 413, BusyError."""
    announced = request.headers.get("content-length", "")
    size = min(int(announced[:20]), limit + 1) if announced.isascii() and announced.isdigit() else 0
    if size <= limit:
        try:
            return await asyncio.wait_for(_read_bytes(request, limit, size, share), within_s)
        except TimeoutError:
            raise ProblemError(408, f"the body did not arrive within {within_s:g} s", code="body-too-slow") from None
        except ClientDisconnect:
            raise ProblemError(400, "the client left", code="client-left") from None
    raise _too_large_problem(limit)


async def _read_bytes(request: Request, limit: int, announced: int, share: MemoryShare | None) -> bytearray:
    data, accounted = bytearray(), announced
    if share is not None:
        share.take(BODY_COPIES * announced)
    async for part in request.stream():
        if len(data) + len(part) > limit:
            raise _too_large_problem(limit)
        if share is not None and len(data) + len(part) > accounted:
            accounted += max(_CHUNK_BYTES, len(part))
            share.take(BODY_COPIES * max(_CHUNK_BYTES, len(part)))
        data += part
    return data


def _too_large_problem(limit: int) -> ProblemError:
    fault = {"field": "body", "message": f"at most {limit} bytes"}
    return ProblemError(413, f"the body is larger than {limit / 1e6:g} MB", errors=[fault])


def _parse_json_field(text: str) -> Any:
    """A form's field that holds JSON; other text is left to the check of the fields."""
    try:
        return json.loads(text)
    except ValueError:
        return text


async def _read_form(request: Request, data: bytearray) -> dict[str, Any]:
    """Fields of a form; a file becomes the base64 that the JSON body would carry."""

    async def receive() -> Message:
        return {"type": "http.request", "body": data, "more_body": False}

    found: dict[str, Any] = {}
    try:
        async with Request(request.scope, receive).form(max_files=1, max_fields=30, max_part_size=len(data) + 1) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    found[name] = base64.b64encode(await value.read()).decode()
                else:
                    found[name] = _parse_json_field(value) if name == "adapters" else value
    except HTTPException as e:
        raise ProblemError(400, f"the form cannot be read: {e.detail}", code="bad-form") from e
    return found
