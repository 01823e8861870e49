"""Errors as problem+json (RFC 9457): what is wrong, with which field, the bound and the cure, and a request id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import ValidationError

from audiotune.errors import AudioTuneError, ConsentError, RegistryError, StoreError
from services.generation import errors

# Error class -> (status, code of the problem). The nearest class counts.
_PROBLEMS: dict[type[Exception], tuple[int, str]] = {
    AudioTuneError: (503, "failed"),
    ConsentError: (503, "consent"),
    StoreError: (503, "away"),
    RegistryError: (503, "away"),
    errors.NotReadyError: (503, "not-ready"),
    errors.WithdrawnError: (503, "withdrawn"),
    errors.ReleaseWithdrawnError: (503, "withdrawn"),
    errors.MemberLeftError: (403, "member-left"),
    errors.AdapterLookupError: (503, "away"),
    errors.DeadlineError: (503, "deadline-passed"),
    errors.MemoryFullError: (503, "out-of-memory"),
    errors.BusyError: (429, "busy"),
    errors.RequestRateError: (429, "rate"),
    errors.DailySoundError: (429, "daily-sound"),
    errors.DailyBytesError: (429, "daily-bytes"),
    errors.OpenJobsError: (429, "too-many-jobs"),
    errors.OpenStreamsError: (429, "too-many-streams"),
    errors.OutOfBoundsError: (422, "out-of-bounds"),
    errors.InitAudioError: (422, "bad-init-audio"),
    errors.InitConsentError: (403, "consent"),
    errors.RepeatedAdapterError: (422, "invalid-request"),
    errors.UnfitAdapterError: (422, "adapter-does-not-fit"),
    errors.UnknownReleaseError: (404, "no-such-release"),
    errors.UnknownAdapterError: (404, "no-such-adapter"),
    errors.AdapterConsentError: (403, "consent"),
    errors.UnknownSoundError: (404, "no-such-sound"),
    errors.WebhookError: (422, "bad-webhook"),
    errors.AbandonedJobError: (500, "gave-up"),
    errors.DamagedJobError: (500, "damaged-job"),
}
_RETRY_S = 5  # after an outage of ours, whose end nobody can predict
Fault = dict[str, str]


class ProblemError(Exception):
    """A refusal, or a failure, as the client gets it."""

    def __init__(
        self, status: int, detail: str, *, errors: Sequence[Fault] = (), code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, list(errors)
        self.code = code or HTTPStatus(status).phrase.lower().replace(" ", "-")
        self.headers = dict(headers or {})

    def to_body(self, request_id: str, path: str) -> dict[str, Any]:
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


def problem_from_error(e: Exception) -> ProblemError:
    """An error of the service as a problem; any other error is a bug."""
    found = next((_PROBLEMS[kind] for kind in type(e).__mro__ if kind in _PROBLEMS), None)
    if found is None:
        return ProblemError(500, f"something broke here ({type(e).__name__})", code="bug")
    faults = [{"field": e.where, "message": e.cure}] if isinstance(e, errors.RequestError) and e.where else []
    retry_s = e.retry_s if isinstance(e, errors.RetryLaterError) else _RETRY_S
    headers = {"Retry-After": str(retry_s)} if found[0] in (429, 503) else {}
    return ProblemError(found[0], str(e), errors=faults, code=found[1], headers=headers)


def describe_failure(e: Exception) -> dict[str, Any]:
    """The problem that a failed job keeps."""
    return problem_from_error(e).to_body("", "")


def problem_from_validation(e: ValidationError) -> ProblemError:
    """Every field that does not fit, with its bound."""
    faults = [{"field": ".".join(map(str, x["loc"])) or "body", "message": x["msg"]} for x in e.errors(include_input=False)]
    code = "not-json" if any(x["type"] == "json_invalid" for x in e.errors(include_input=False)) else "invalid-request"
    status = 400 if code == "not-json" else 422
    return ProblemError(status, "; ".join(f"{f['field']}: {f['message']}" for f in faults)[:2000], errors=faults, code=code)
