"""The generation service over HTTP, behind the port `making.Maker`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx

from audiotune.errors import GenerationError
from services.studio.making import Made, Wish

_QUICK_S = 3.0  # a page must not wait longer to learn that nobody answers


class ServiceMaker:
    """Asks the generation service.

    Args:
        url: its address.
        limit_s: longest to wait for a sound, in seconds.
    """

    def __init__(self, url: str, limit_s: int) -> None:
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=httpx.Timeout(limit_s, connect=5))

    def make(self, wish: Wish, init: Path | None) -> list[Made]:
        body = wish.model_dump(exclude_none=True, exclude={"strength"})
        if not wish.sampler:
            body.pop("sampler")
        if init is not None:
            body.update(init_audio=base64.b64encode(init.read_bytes()).decode(), init_strength=wish.strength)
        found = self._call("POST", "/v1/generations", json=body, headers={"Accept": "application/json"})
        return [_made(wish, entry) for entry in found.get("generations", [])]

    def releases(self) -> list[dict[str, Any]]:
        return [
            entry for entry in self._call("GET", "/v1/releases", timeout=_QUICK_S).get("releases", []) if isinstance(entry, dict)
        ]

    def limits(self) -> dict[str, Any]:
        return self._call("GET", "/v1/health", timeout=_QUICK_S)

    def _call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **given)
        except httpx.TimeoutException:
            raise GenerationError("the generation service did not answer in time", cure="try fewer steps, or later") from None
        except httpx.HTTPError:
            raise GenerationError("the generation service is away", cure="start it, or try again in a minute") from None
        try:
            found = answer.json()
        except ValueError:
            found = {}
        if answer.is_error:
            raise GenerationError(_problem(answer.status_code, found if isinstance(found, dict) else {}))
        return found if isinstance(found, dict) else {}


def _made(wish: Wish, entry: dict[str, Any]) -> Made:
    return Made(
        audio=base64.b64decode(entry["audio"]), format=str(entry.get("format", wish.format)), seed=int(entry["seed"]),
        release=str(entry.get("release", "")), digest=str(entry.get("digest", "")), wish=wish,
    )  # fmt: skip


def _problem(status: int, found: dict[str, Any]) -> str:
    """problem+json in words: what is wrong, and with which field."""
    faults = [f"{e.get('field', '')}: {e.get('message', '')}".strip(": ") for e in found.get("errors", []) if isinstance(e, dict)]
    words = found.get("detail") or found.get("title") or f"it answers {status}"
    return f"the service says: {words}{' (' + '; '.join(faults) + ')' if faults else ''}"
