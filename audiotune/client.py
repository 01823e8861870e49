"""A client of the generation service's HTTP API, for scripts, the demo and plug-ins. Needs only Python and this package.

from audiotune.client import Client
made = Client("http://localhost:3000").generate(prompt="low drone", seconds=2, seed=7)
Path("drone.wav").write_bytes(made.audio)
"""

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
from audiotune.outside.proxies import build_opener

_HEADER = "x-audio-tune-"
State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class DownloadedSound:
    """The bytes of a sound file, and what the service says about it: seed, seconds, release, digest, sound, ..."""

    audio: bytes
    info: dict[str, Any]

    @property
    def seed(self) -> int:
        return int(self.info["seed"])


@dataclass(frozen=True)
class RemoteJob:
    """A job in the state that the service last reported.

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
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class Client:
    """A generation service.

    Args:
        url: its address, as in http://localhost:3000.
        token: a member's `at_...`, where the service asks for one.
        timeout_s: longest to wait for one answer.

    All methods raise GenerationError when the service does not answer or refuses; the message names the field.
    """

    def __init__(self, url: str, token: str = "", timeout_s: float = 600) -> None:
        self.url, self._token, self._timeout_s = url.rstrip("/"), token, timeout_s

    def generate(self, **fields: Any) -> DownloadedSound:
        """One sound, waiting for it. `fields` are those of `audiotune.domain.generation.GenerationRequest`."""
        return _parse_sound(*self._send_request("POST", "/v1/generations", fields))

    def submit(self, id: str = "", **fields: Any) -> RemoteJob:
        """Makes a job. The same id and request again, after a lost answer or a crash, is the same job."""
        id = id or uuid.uuid4().hex
        return RemoteJob(id=id, state=self._request_json("PUT", _job_path(id), fields)["state"])

    def job(self, id: str) -> RemoteJob:
        return _parse_job(self._request_json("GET", _job_path(id)))

    def wait(self, id: str, on_progress: Callable[[RemoteJob], None] | None = None, every_s: float = 0.5) -> RemoteJob:
        """The job when it has ended. Calls `on_progress` with the job each time it was read."""
        while True:
            job = self.job(id)
            if on_progress is not None:
                on_progress(job)
            if job.ended:
                return job
            time.sleep(every_s)

    def cancel(self, id: str) -> RemoteJob:
        """Stops a job before its next denoising step."""
        return _parse_job(self._request_json("DELETE", _job_path(id)))

    def jobs(self, limit: int = 20) -> list[RemoteJob]:
        """Your newest jobs."""
        return [_parse_job(found) for found in self._request_json("GET", f"/v1/jobs?limit={limit}")["jobs"]]

    def sound(self, digest: str) -> DownloadedSound:
        """A sound that was made before."""
        return _parse_sound(*self._send_request("GET", f"/v1/sounds/{digest}"))

    def releases(self) -> list[dict[str, Any]]:
        """The releases that the service knows; `serving` marks the one that answers."""
        return list(self._request_json("GET", "/v1/releases", timeout_s=15)["releases"])

    def adapters(self) -> list[dict[str, Any]]:
        """The LoRA adapters that a request's `adapters` may name, and the releases that each `fits`."""
        return list(self._request_json("GET", "/v1/releases", timeout_s=15).get("adapters", []))

    def health(self) -> dict[str, Any]:
        """`ready` and, when it is not, the `reason` in words."""
        return self._request_json("GET", "/v1/health", timeout_s=5, any_status=True)

    def _request_json(self, method: str, path: str, fields: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        return _parse_json(self._send_request(method, path, fields, **options)[0])

    def _send_request(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        any_status: bool = False,
    ) -> tuple[bytes, dict[str, str]]:
        """The body and the headers of the answer."""
        body = None if fields is None else json.dumps(dict(fields)).encode()
        headers = {"Content-Type": "application/json", "Accept": "*/*"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        try:
            opener = build_opener(self.url, _KeepTokenHome())
            with opener.open(request, timeout=timeout_s or self._timeout_s) as answer:
                return answer.read(), {name.lower(): value for name, value in answer.headers.items()}
        except urllib.error.HTTPError as e:
            data = e.read()
            if any_status:
                return data, {}
            raise GenerationError(_describe_error(e.code, data), where=self.url, cure="") from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as e:
            reason = getattr(e, "reason", e)
            cure = "start it with `make serve`; on a cluster look at its pods"
            raise GenerationError(f"the generation service does not answer: {reason}", where=self.url, cure=cure) from e


class AsyncClient:
    """The same for asyncio: every call runs in a thread, so that none blocks the event loop."""

    def __init__(self, url: str, token: str = "", timeout_s: float = 600) -> None:
        self._client = Client(url, token, timeout_s)

    async def generate(self, **fields: Any) -> DownloadedSound:
        return await asyncio.to_thread(self._client.generate, **fields)

    async def submit(self, id: str = "", **fields: Any) -> RemoteJob:
        return await asyncio.to_thread(self._client.submit, id, **fields)

    async def job(self, id: str) -> RemoteJob:
        return await asyncio.to_thread(self._client.job, id)

    async def wait(self, id: str, every_s: float = 0.5) -> RemoteJob:
        while not (found := await self.job(id)).ended:
            await asyncio.sleep(every_s)
        return found

    async def cancel(self, id: str) -> RemoteJob:
        return await asyncio.to_thread(self._client.cancel, id)

    async def sound(self, digest: str) -> DownloadedSound:
        return await asyncio.to_thread(self._client.sound, digest)

    async def health(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._client.health)


Made, Job = DownloadedSound, RemoteJob  # their names until 0.1, for scripts that use them in 0.2


def generate(url: str, request: Mapping[str, Any], *, token: str = "", timeout_s: float = 600) -> tuple[bytes, dict[str, Any]]:
    """`Client.generate` in one call: the file's bytes, and what the service says about it (seed, release, digest, ...)."""
    sound = Client(url, token, timeout_s).generate(**request)
    return sound.audio, sound.info


def releases(url: str, *, token: str = "") -> list[dict[str, Any]]:
    """`Client.releases` in one call."""
    return Client(url, token).releases()


def health(url: str, *, token: str = "") -> dict[str, Any]:
    """`Client.health` in one call."""
    return Client(url, token).health()


class _KeepTokenHome(urllib.request.HTTPRedirectHandler):
    """Follows redirects, as to https, but carries the token to no other server."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.get_method() != "GET" and code in (301, 302, 303):
            return None  # a sign-in page in front of the service: GET of another page is no answer
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and _find_host(newurl) != _find_host(req.full_url):
            following.remove_header("Authorization")
        return following


def _find_host(url: str) -> tuple[str, int | None]:
    """(host, port) of an address; the usual ports of http and https count as one, so that https may follow http."""
    parts = urllib.parse.urlsplit(url)
    return parts.hostname or "", None if parts.port in (None, 80, 443) else parts.port


def _job_path(id: str) -> str:
    return f"/v1/jobs/{urllib.parse.quote(id, safe='')}"


def _parse_sound(data: bytes, headers: dict[str, str]) -> DownloadedSound:
    kind = headers.get("content-type", "").partition(";")[0].strip()
    if not kind.startswith("audio/") and kind != "application/octet-stream":
        raise GenerationError(
            f"the answer is no sound but {kind or 'of an unknown kind'}",
            cure="is this the generation service's address, and is there a sign-in page in front of it?",
        )
    info: dict[str, Any] = {name[len(_HEADER) :]: value for name, value in headers.items() if name.startswith(_HEADER)}
    if "seed" in info:
        info["seed"] = int(info["seed"])
    return DownloadedSound(data, info)


def _parse_job(answer: dict[str, Any]) -> RemoteJob:
    fields = {name: answer[name] for name in ("id", "state", "step", "steps", "position", "eta_s", "problem") if name in answer}
    return RemoteJob(**fields, sounds=tuple(answer.get("sounds", ())))


def _describe_error(status: int, data: bytes) -> str:
    try:
        return describe_problem(status, _parse_json(data))
    except GenerationError:
        return f"the service answers {status}"


def describe_problem(status: int, problem: Mapping[str, Any]) -> str:
    """problem+json in words: what is wrong, and with which field, unless the sentence has said it."""
    words = str(problem.get("detail") or problem.get("title") or f"the service answers {status}")
    errors = (error for error in problem.get("errors", []) if isinstance(error, dict))
    faults = [f"{error.get('field', '')}: {error.get('message', '')}".strip(": ") for error in errors]
    more = "; ".join(fault for fault in faults if fault not in words)
    return f"{words} ({more})" if more else words


def _parse_json(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise GenerationError("the service's answer is no JSON object", cure="is this the generation service's address?")
    return answer
