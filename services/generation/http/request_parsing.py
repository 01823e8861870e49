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
from services.generation.http.problems import ProblemError, problem_from_validation
from services.generation.settings import GenerationSettings

_KINDS = ("application/json", "multipart/form-data")
_JOB_INIT_MB = 8.0


async def read_generation_request(request: Request, settings: GenerationSettings) -> GenerationRequest:
    """Raises ProblemError: 400 no JSON or no form, 408 too slow, 413 too large, 415 another type, 422 fields that do not fit."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in _KINDS:
        fault = {"field": "Content-Type", "message": " or ".join(_KINDS)}
        raise ProblemError(415, f"content type {kind[:80] or 'missing'}", errors=[fault])
    data = await read_body(request, int(settings.body_mb * 1e6), settings.body_s)
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


async def read_body(request: Request, limit: int, within_s: float) -> bytes:
    """The body, not read beyond `limit` bytes nor longer than `within_s`. Raises ProblemError 408, 413."""
    try:
        return await asyncio.wait_for(_read_bytes(request, limit), within_s)
    except TimeoutError:
        raise ProblemError(408, f"the body did not arrive within {within_s:g} s", code="body-too-slow") from None
    except ClientDisconnect:
        raise ProblemError(400, "the client left", code="client-left") from None


async def _read_bytes(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "")
    parts, size = [], 0
    if not (announced.isdigit() and int(announced[:20]) > limit):
        async for part in request.stream():
            size += len(part)
            if size > limit:
                break
            parts.append(part)
        else:
            return b"".join(parts)
    fault = {"field": "body", "message": f"at most {limit} bytes"}
    raise ProblemError(413, f"the body is larger than {limit / 1e6:g} MB", errors=[fault])


def _parse_json_field(text: str) -> Any:
    """A form's field that holds JSON; other text is left to the check of the fields."""
    try:
        return json.loads(text)
    except ValueError:
        return text


async def _read_form(request: Request, data: bytes) -> dict[str, Any]:
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
