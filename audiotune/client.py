"""The generation service over HTTP, for scripts, the demo and plug-ins. Needs nothing but Python."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from audiotune.errors import GenerationError

_HEADER = "x-audio-tune-"


def generate(url: str, request: Mapping[str, Any], *, token: str = "", timeout_s: float = 600) -> tuple[bytes, dict[str, Any]]:
    """One sound: the file's bytes, and what the service tells about it (seed, release, digest, ...).

    Args:
        url: address of the service, as in http://localhost:3000.
        request: fields of `audiotune.generation.GenerationRequest`.

    Raises:
        GenerationError: the service is away or refuses; its words name the field.
    """
    body = json.dumps(dict(request)).encode()
    data, headers = _ask(url, "/v1/generations", token, timeout_s, body)
    info: dict[str, Any] = {name[len(_HEADER) :]: value for name, value in headers.items() if name.startswith(_HEADER)}
    if "seed" in info:
        info["seed"] = int(info["seed"])
    return data, info


def releases(url: str, *, token: str = "") -> list[dict[str, Any]]:
    """The releases the service knows; `serving` marks the one that answers."""
    return list(_json(_ask(url, "/v1/releases", token, 15)[0])["releases"])


def health(url: str, *, token: str = "") -> dict[str, Any]:
    """`ready` and, when it is not, the `reason` in words."""
    return _json(_ask(url, "/v1/health", token, 5, any_status=True)[0])


def _ask(
    url: str, path: str, token: str, timeout_s: float, body: bytes | None = None, *, any_status: bool = False
) -> tuple[bytes, dict[str, str]]:
    request = urllib.request.Request(
        url.rstrip("/") + path, data=body, headers={"Content-Type": "application/json", "Accept": "*/*"}
    )
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.read(), {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as e:
        data = e.read()
        if any_status:
            return data, {}
        raise GenerationError(_words(e.code, data), where=url, cure="") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as e:
        reason = getattr(e, "reason", e)
        raise GenerationError(
            f"the generation service does not answer: {reason}", where=url, cure="start it with `make serve`"
        ) from e


def _words(status: int, data: bytes) -> str:
    try:
        found = _json(data)
    except GenerationError:
        return f"the service answers {status}"
    faults = "; ".join(f"{e.get('field', '')}: {e.get('message', '')}" for e in found.get("errors", []))
    return f"{found.get('detail') or found.get('title') or status}{f' ({faults})' if faults else ''}"


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise GenerationError("the service's answer is no JSON object", cure="is this the generation service's address?")
    return found
