"""Sounds over HTTP with a member's token: one, or one after another while something else happens."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from audiotune.client import Client
from audiotune.errors import GenerationError
from tests.e2e.cluster_namespace import ClusterError

_SMALL = {"prompt": "low drone", "seconds": 1, "steps": 4, "format": "wav"}
_CLIENTS = 2


@dataclass
class LoadResult:
    """What the clients got while something else happened.

    Attributes:
        heard: release version -> sounds it made.
        failed: the error of each request that got no sound.
        longest_s: the longest time that one request took.
    """

    heard: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    longest_s: float = 0.0


class MemberClient:
    """A member's client of the generation service.

    Args:
        url: address of the generation service.
        token: the member's.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self._token = url, token

    @property
    def _client(self) -> Client:
        """Made anew for each call: the address may have changed since."""
        return Client(self.url, self._token, timeout_s=120)

    def version(self) -> str:
        """The version that answers now; "" while none does."""
        try:
            return next((str(found["version"]) for found in self._client.releases() if found.get("serving")), "")
        except GenerationError:
            return ""

    def generate_sound(self, seed: int = 1) -> bytes:
        """A sound. Raises GenerationError."""
        return self._client.generate(**_SMALL, seed=seed).audio

    def find_problem(self) -> str:
        """Why no sound is made now; "" where one is."""
        try:
            self.generate_sound()
        except GenerationError as e:
            return str(e)
        return ""

    def check_refused_without_token(self) -> None:
        try:
            Client(self.url, timeout_s=30).generate(**_SMALL)
        except GenerationError as e:
            if "token" in str(e):
                return
            raise ClusterError(f"without a token it says {e}") from e
        raise ClusterError("a request without a token made a sound")

    @contextmanager
    def under_load(self) -> Iterator[LoadResult]:
        """Two clients ask for sounds, one after another, until the block ends."""
        load, ended = LoadResult(), threading.Event()
        clients = [threading.Thread(target=self._ask, args=(load, ended, 1000 * n), daemon=True) for n in range(_CLIENTS)]
        for client in clients:
            client.start()
        try:
            yield load
        finally:
            ended.set()
            for client in clients:
                client.join(130)

    def _ask(self, load: LoadResult, ended: threading.Event, seed: int) -> None:
        while not ended.is_set():
            began, seed = time.monotonic(), seed + 1
            try:
                made = self._client.generate(**_SMALL, seed=seed)
                load.heard[str(made.info.get("release", ""))] += 1
            except GenerationError as e:
                load.failed.append(str(e))
            load.longest_s = max(load.longest_s, time.monotonic() - began)
            ended.wait(0.2)
