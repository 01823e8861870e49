"""A small generation service of our own: the documented HTTP API in front of plain tones."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from pydantic import ValidationError

from audiotune.domain.generation import GenerationRecord, GenerationRequest
from audiotune.store import compute_digest
from tests.fakes.http_server import answering
from tests.fakes.seeded_store import tone

RELEASE: dict[str, Any] = {"name": "patch-bay", "version": "1", "digest": "d" * 64, "aliases": ["champion"], "serving": True}


class FakeGeneration:
    """State of the service.

    Attributes:
        asked: the bodies that came, in order.
        gave: the audio bytes that went out, in order.
        trouble: "" answers, "refuse" answers 422 naming the prompt, "away" answers 503.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.gave: list[bytes] = []
        self.trouble = ""

    def generations(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(body)
        if self.trouble == "refuse":
            return 422, _problem(422, "the request does not fit", [{"field": "prompt", "message": "one letter is too short"}])
        if self.trouble == "away":
            return 503, _problem(503, "the service is still loading its release", [])
        try:
            request = GenerationRequest.model_validate(body)
        except ValidationError as e:
            faults = [{"field": ".".join(map(str, x["loc"])), "message": x["msg"]} for x in e.errors()]
            return 422, _problem(422, "the request does not fit", faults)
        first = request.seed if request.seed is not None else 1000 + len(self.asked)
        return 200, {"generations": [self._entry(request, seed) for seed in range(first, first + request.count)]}

    def _entry(self, request: GenerationRequest, seed: int) -> dict[str, Any]:
        audio = tone(110 + seed % 400, request.seconds or 1.0).to_bytes("WAV")
        self.gave.append(audio)
        record = GenerationRecord(
            sound=compute_digest(audio), blob="", format="wav", prompt=request.prompt, negative_prompt=request.negative_prompt,
            seconds=request.seconds or 1.0,
            steps=request.steps or 8, guidance=1.0 if request.guidance is None else request.guidance, seed=seed, sampler="euler",
            release=RELEASE["name"], version=RELEASE["version"], digest=RELEASE["digest"],
        )  # fmt: skip
        return {**record.model_dump(mode="json", exclude={"blob", "made"}), "audio": base64.b64encode(audio).decode()}


def _problem(status: int, detail: str, errors: list[dict[str, str]]) -> dict[str, Any]:
    return {"type": "about:blank", "title": detail, "status": status, "detail": detail, "errors": errors}


@contextmanager
def serving(fake: FakeGeneration) -> Iterator[str]:
    """The fake behind real HTTP on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/v1/releases":
                self._answer(200, {"releases": [RELEASE]})
            elif self.path == "/v1/health":
                self._answer(200, {"ready": True, "reason": "", "max_seconds": 4.0, "samplers": ["euler", "dpmpp-3m-sde"]})
            else:
                self._answer(404, _problem(404, "no such page", []))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self._answer(*fake.generations(body))

        def _answer(self, status: int, found: dict[str, Any]) -> None:
            data = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with answering(Handler) as url:
        yield url
