"""Errors as problem+json (RFC 9457): what is wrong, with which field, the bound and the cure, and a request id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import ValidationError

from audiotune.errors import AudioTuneError, ConsentError, RegistryError, StoreError
from services.generation.engine.work import AdapterLookupError, BusyError, DeadlineError, MemoryFullError, NotReadyError

_CODES: dict[type[AudioTuneError], str] = {
    NotReadyError: "not-ready",
    DeadlineError: "deadline-passed",
    MemoryFullError: "out-of-memory",
    ConsentError: "consent",
}
Fault = dict[str, str]


class ProblemError(Exception):
    """Anything that ends a request early."""

    def __init__(
        self, status: int, detail: str, *, errors: Sequence[Fault] = (), code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, list(errors)
        self.code = code or HTTPStatus(status).phrase.lower().replace(" ", "-")
        self.headers = dict(headers or {})

    def to_body(self, request_id: str, path: str) -> dict[str, Any]:
        """As problem+json has it."""
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
        return body

    def to_response(self, request_id: str, path: str) -> JSONResponse:
        return JSONResponse(
            self.to_body(request_id, path), self.status, headers=self.headers, media_type="application/problem+json"
        )


def problem_from_error(e: AudioTuneError) -> ProblemError:
    """Our own errors: the line is full, nothing is ready, the store is away, ..."""
    if isinstance(e, BusyError):
        return ProblemError(429, str(e), code="busy", headers={"Retry-After": str(e.retry_s)})
    code = "away" if isinstance(e, StoreError | RegistryError | AdapterLookupError) else _CODES.get(type(e), "failed")
    return ProblemError(503, str(e), code=code, headers={"Retry-After": "5"})


def problem_from_validation(e: ValidationError) -> ProblemError:
    """Every field that does not fit, with its bound."""
    faults = [{"field": ".".join(map(str, x["loc"])) or "body", "message": x["msg"]} for x in e.errors(include_input=False)]
    code = "not-json" if any(x["type"] == "json_invalid" for x in e.errors(include_input=False)) else "invalid-request"
    status = 400 if code == "not-json" else 422
    return ProblemError(status, "; ".join(f"{f['field']}: {f['message']}" for f in faults)[:2000], errors=faults, code=code)
