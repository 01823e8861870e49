"""Errors as problem+json (RFC 9457): what is wrong, with which field, the bound and the cure, and a request id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import ValidationError

Fault = dict[str, str]


class Problem(Exception):
    """Anything that ends a request early."""

    def __init__(
        self, status: int, detail: str, *, errors: Sequence[Fault] = (), code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, list(errors)
        self.code = code or HTTPStatus(status).phrase.lower().replace(" ", "-")
        self.headers = dict(headers or {})

    def answer(self, request_id: str, path: str) -> JSONResponse:
        body: dict[str, Any] = {
            "type": f"urn:audio-tune:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": path[:200],
            "code": self.code,
            "request_id": request_id,
        }
        if self.errors:
            body["errors"] = self.errors
        return JSONResponse(body, self.status, headers=self.headers, media_type="application/problem+json")


def of_validation(e: ValidationError) -> Problem:
    """Every field that does not fit, with its bound."""
    faults = [{"field": ".".join(map(str, x["loc"])) or "body", "message": x["msg"]} for x in e.errors(include_input=False)]
    code = "not-json" if any(x["type"] == "json_invalid" for x in e.errors(include_input=False)) else "invalid-request"
    status = 400 if code == "not-json" else 422
    return Problem(status, "; ".join(f"{f['field']}: {f['message']}" for f in faults)[:2000], errors=faults, code=code)
