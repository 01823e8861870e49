"""From a request's body to a GenerationRequest: JSON, or a form with a file. Bodies too large are not read to their end."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from audiotune.generation import GenerationRequest
from services.generation.problems import Problem, of_validation

_KINDS = ("application/json", "multipart/form-data")


async def read(request: Request, body_mb: float) -> GenerationRequest:
    """Raises Problem: 400 no JSON or no form, 413 too large, 415 another content type, 422 fields that do not fit."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in _KINDS:
        fault = {"field": "Content-Type", "message": " or ".join(_KINDS)}
        raise Problem(415, f"content type {kind[:80] or 'missing'}", errors=[fault])
    data = await _bytes(request, int(body_mb * 1e6))
    try:
        if kind == "application/json":
            return GenerationRequest.model_validate_json(data)
        return GenerationRequest.model_validate(await _form(request, data))
    except ValidationError as e:
        raise of_validation(e) from e


async def _bytes(request: Request, limit: int) -> bytes:
    said = request.headers.get("content-length", "")
    parts, size = [], 0
    if not (said.isdigit() and int(said) > limit):
        async for part in request.stream():
            size += len(part)
            if size > limit:
                break
            parts.append(part)
        else:
            return b"".join(parts)
    fault = {"field": "body", "message": f"at most {limit} bytes"}
    raise Problem(413, f"the body is larger than {limit / 1e6:g} MB", errors=[fault])


async def _form(request: Request, data: bytes) -> dict[str, Any]:
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
                    found[name] = value
    except HTTPException as e:
        raise Problem(400, f"the form cannot be read: {e.detail}", code="bad-form") from e
    return found
