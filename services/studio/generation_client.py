"""The client of the generation service, over HTTP."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from pydantic import ValidationError

from audiotune.client import Client, describe_problem
from audiotune.domain.generation import GenerationRequest, parse_adapter
from audiotune.errors import GenerationError
from services.studio.history import ServiceSound, SoundRequest


class HttpGenerationClient:
    """The generation service as the studio uses it. Raises GenerationError.

    Args:
        url: its address.
        limit_s: longest to wait for sounds, in seconds.
        token_of: returns a member's token; None where the service needs none.
    """

    def __init__(self, url: str, limit_s: int, token_of: Callable[[str], str] | None = None) -> None:
        self._token_of = token_of or (lambda member: "")
        self._url = url.rstrip("/")
        self._http = httpx.Client(base_url=self._url, timeout=httpx.Timeout(limit_s, connect=5))

    def generate_sounds(self, request: SoundRequest, init: Path | None, member: str = "") -> list[ServiceSound]:
        """All variations in one call; `audiotune.client` asks for one sound at a time."""
        try:
            headers = {"Accept": "application/json"}
            if token := self._token_of(member):
                headers["Authorization"] = f"Bearer {token}"
            answer = self._http.post("/v1/generations", json=_build_body(request, init), headers=headers)
        except httpx.TimeoutException:
            raise GenerationError("the generation service did not answer in time", cure="try fewer steps, or later") from None
        except httpx.HTTPError:
            cure = "start it with `make serve`; on a cluster look at its pods"
            raise GenerationError("the generation service is away", cure=cure) from None
        body = _parse_object(answer)
        if answer.is_error:
            raise GenerationError(f"the service says: {describe_problem(answer.status_code, body)}")
        return [_parse_sound(request, entry) for entry in body.get("generations", [])]

    def list_releases(self, member: str = "") -> list[dict[str, Any]]:
        return Client(self._url, self._token_of(member)).releases()

    def read_limits(self) -> dict[str, Any]:
        """`max_seconds`, `samplers` and `defaults` of the served release, as far as the service names them."""
        health = Client(self._url).health()
        if not health.get("ready", True):
            reason = str(health.get("reason") or "it is loading its release")
            raise GenerationError(f"the generation service is not ready: {reason}", cure="try again in a minute")
        return health


def _build_body(request: SoundRequest, init: Path | None) -> dict[str, Any]:
    unset = set() if request.sampler else {"sampler"}
    fields: dict[str, Any] = request.model_dump(exclude_none=True, exclude={"strength", "adapters", *unset})
    if init is not None:
        fields.update(init_audio=base64.b64encode(init.read_bytes()).decode(), init_strength=request.strength)
    try:
        fields["adapters"] = [parse_adapter(part) for part in request.adapters.split(",") if part.strip()]
    except ValueError:
        cure = "write them as in grit=0.7, tape=0.3"
        raise GenerationError(f"the adapters cannot be read: {request.adapters[:100]}", cure=cure) from None
    try:
        return GenerationRequest.model_validate(fields).model_dump(exclude_none=True)
    except ValidationError as e:
        faults = "; ".join(f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in e.errors())
        raise GenerationError(f"this cannot be asked for ({faults})", cure="change the field named") from e


def _parse_sound(request: SoundRequest, entry: dict[str, Any]) -> ServiceSound:
    return ServiceSound(
        audio=base64.b64decode(entry["audio"]),
        format=entry["format"],
        seed=entry["seed"],
        release=f"{entry['release']} {entry.get('version', '')}".strip(),
        digest=entry["digest"],
        makers=[(str(made["release"]), str(made.get("version", ""))) for made in (entry, *(entry.get("adapters") or ()))],
        wish=request.model_copy(update={name: entry[name] for name in ("steps", "guidance") if name in entry}),
    )


def _parse_object(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
