"""The generation service over HTTP, for scripts, the demo and plug-ins. Needs nothing but Python and this package.

from audiotune.client import Client
made = Client("http://localhost:3000").generate(prompt="low drone", seconds=2, seed=7)
Path("drone.wav").write_bytes(made.audio)
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from audiotune.errors import GenerationError

_HEADER = "x-audio-tune-"
State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class DownloadedSound:
    """One sound.

    Attributes:
        audio: the file's bytes.
        info: what the service tells about it: seed, seconds, release, digest, sound, ...
    """

    audio: bytes
    info: dict[str, Any]

    @property
    def seed(self) -> int:
        return int(self.info["seed"])


@dataclass(frozen=True)
class RemoteJob:
    """A job as the service tells it.

    Attributes:
        step, steps: denoising steps done, and in all.
        position: sounds that will be made before it.
        eta_s: predicted seconds until it is done; None when it has ended.
        sounds: what is known of each sound, with its `url`, when it is done.
        problem: what went wrong, as problem+json, when it failed.
    """

    id: str
    state: State
    step: int = 0
    steps: int = 0
    position: int = 0
    eta_s: float | None = None
    sounds: tuple[dict[str, Any], ...] = ()
    problem: dict[str, Any] | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class Client:
    """A generation service.

    Args:
        url: its address, as in http://localhost:3000.
        token: a member's `at_...`, where the service asks for one.
        timeout_s: longest to wait for one answer.

    All methods raise GenerationError when the service is away or refuses; its words name the field.
    """

    def __init__(self, url: str, token: str = "", timeout_s: float = 600) -> None:
        self.url, self._token, self._timeout_s = url.rstrip("/"), token, timeout_s

    def generate(self, **fields: Any) -> DownloadedSound:
        """One sound, waiting for it. `fields` are those of `audiotune.domain.generation.GenerationRequest`."""
        return DownloadedSound(*generate(self.url, fields, token=self._token, timeout_s=self._timeout_s))

    def submit(self, id: str = "", **fields: Any) -> RemoteJob:
        """Makes a job. The same id and request again, after a lost answer or a crash, is the same job."""
        id = id or uuid.uuid4().hex
        found = self._request_json("PUT", f"/v1/jobs/{urllib.parse.quote(id, safe='')}", fields)
        return RemoteJob(id=id, state=found["state"])

    def job(self, id: str) -> RemoteJob:
        found = self._request_json("GET", f"/v1/jobs/{urllib.parse.quote(id, safe='')}")
        return _parse_job(found)

    def wait(self, id: str, on_progress: Callable[[RemoteJob], None] | None = None, every_s: float = 0.5) -> RemoteJob:
        """The job when it has ended. `on_progress` hears of every look."""
        while True:
            found = self.job(id)
            if on_progress is not None:
                on_progress(found)
            if found.has_ended:
                return found
            time.sleep(every_s)

    def cancel(self, id: str) -> RemoteJob:
        """Stops a job before its next denoising step."""
        return _parse_job(self._request_json("DELETE", f"/v1/jobs/{urllib.parse.quote(id, safe='')}"))

    def jobs(self, limit: int = 20) -> list[RemoteJob]:
        """Your newest jobs."""
        return [_parse_job(found) for found in self._request_json("GET", f"/v1/jobs?limit={limit}")["jobs"]]

    def sound(self, digest: str) -> DownloadedSound:
        """A sound that was made before."""
        return _parse_sound(*_send_request(self.url, f"/v1/sounds/{digest}", self._token, self._timeout_s))

    def releases(self) -> list[dict[str, Any]]:
        return releases(self.url, token=self._token)

    def adapters(self) -> list[dict[str, Any]]:
        """The LoRA adapters that a request's `adapters` may name, and the releases that each `fits`."""
        return list(_parse_json(_send_request(self.url, "/v1/releases", self._token, 15)[0]).get("adapters", []))

    def health(self) -> dict[str, Any]:
        return health(self.url, token=self._token)

    def _request_json(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = json.dumps(dict(fields)).encode() if fields is not None else None
        return _parse_json(_send_request(self.url, path, self._token, self._timeout_s, body, method=method)[0])


class AsyncClient:
    """The same for asyncio: every call runs in a thread, so that none holds the loop."""

    def __init__(self, url: str, token: str = "", timeout_s: float = 600) -> None:
        self._client = Client(url, token, timeout_s)

    async def generate(self, **fields: Any) -> DownloadedSound:
        return await asyncio.to_thread(self._client.generate, **fields)

    async def submit(self, id: str = "", **fields: Any) -> RemoteJob:
        return await asyncio.to_thread(self._client.submit, id, **fields)

    async def job(self, id: str) -> RemoteJob:
        return await asyncio.to_thread(self._client.job, id)

    async def wait(self, id: str, every_s: float = 0.5) -> RemoteJob:
        while not (found := await self.job(id)).has_ended:
            await asyncio.sleep(every_s)
        return found

    async def cancel(self, id: str) -> RemoteJob:
        return await asyncio.to_thread(self._client.cancel, id)

    async def sound(self, digest: str) -> DownloadedSound:
        return await asyncio.to_thread(self._client.sound, digest)

    async def health(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._client.health)


def generate(url: str, request: Mapping[str, Any], *, token: str = "", timeout_s: float = 600) -> tuple[bytes, dict[str, Any]]:
    """One sound: the file's bytes, and what the service tells about it (seed, release, digest, ...).

    Args:
        url: address of the service, as in http://localhost:3000.
        request: fields of `audiotune.domain.generation.GenerationRequest`.

    Raises:
        GenerationError: the service is away or refuses; its words name the field.
    """
    body = json.dumps(dict(request)).encode()
    made = _parse_sound(*_send_request(url, "/v1/generations", token, timeout_s, body))
    return made.audio, made.info


def releases(url: str, *, token: str = "") -> list[dict[str, Any]]:
    """The releases the service knows; `serving` marks the one that answers."""
    return list(_parse_json(_send_request(url, "/v1/releases", token, 15)[0])["releases"])


def health(url: str, *, token: str = "") -> dict[str, Any]:
    """`ready` and, when it is not, the `reason` in words."""
    return _parse_json(_send_request(url, "/v1/health", token, 5, any_status=True)[0])


def _parse_sound(data: bytes, headers: dict[str, str]) -> DownloadedSound:
    info: dict[str, Any] = {name[len(_HEADER) :]: value for name, value in headers.items() if name.startswith(_HEADER)}
    if "seed" in info:
        info["seed"] = int(info["seed"])
    return DownloadedSound(data, info)


def _parse_job(found: dict[str, Any]) -> RemoteJob:
    known = {name: found[name] for name in ("id", "state", "step", "steps", "position", "eta_s", "problem") if name in found}
    return RemoteJob(**known, sounds=tuple(found.get("sounds", ())))


def _send_request(
    url: str,
    path: str,
    token: str,
    timeout_s: float,
    body: bytes | None = None,
    *,
    method: str | None = None,
    any_status: bool = False,
) -> tuple[bytes, dict[str, str]]:
    request = urllib.request.Request(
        url.rstrip("/") + path, data=body, headers={"Content-Type": "application/json", "Accept": "*/*"}, method=method
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
        raise GenerationError(_describe_error(e.code, data), where=url, cure="") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as e:
        reason = getattr(e, "reason", e)
        cure = "start it with `make serve`; on a cluster look at its pods"
        raise GenerationError(f"the generation service does not answer: {reason}", where=url, cure=cure) from e


def _describe_error(status: int, data: bytes) -> str:
    try:
        found = _parse_json(data)
    except GenerationError:
        return f"the service answers {status}"
    faults = "; ".join(f"{e.get('field', '')}: {e.get('message', '')}" for e in found.get("errors", []))
    return f"{found.get('detail') or found.get('title') or status}{f' ({faults})' if faults else ''}"


def _parse_json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise GenerationError("the service's answer is no JSON object", cure="is this the generation service's address?")
    return found
