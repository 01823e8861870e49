"""The engine: one release loaded, one thread that makes sounds, one that watches the alias and the people's consent.

A new version is loaded beside the old one, tried, then put in its place between two jobs. A broken one leaves the old one serving.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from audiotune.errors import AudioTuneError, GenerationError
from audiotune.release import Release
from audiotune.sound import Sound
from services.generation.line import Job, Line, Loaded
from services.generation.settings import Settings

_SILENCE_DBFS = -70.0


class NotReadyError(GenerationError):
    """No release is loaded."""


class Models:
    """Where releases come from: the port that the real registry and the tests' fake stand behind."""

    def version(self) -> tuple[str, str] | None:
        """(name, version) that should be served, or None when nothing is registered."""
        raise NotImplementedError

    def load(self, name: str, version: str) -> Loaded:
        """Checks digest and consent, then loads. Raises AudioTuneError."""
        raise NotImplementedError

    def consent(self, release: Release) -> None:
        """Raises ConsentError when somebody in it has withdrawn."""
        raise NotImplementedError


class Engine:
    """See the module. `generate(model, requests, on_step)` makes the sounds."""

    def __init__(self, settings: Settings, models: Models, generate: Callable[..., list[Sound]]) -> None:
        self.settings, self._models, self._generate = settings, models, generate
        self.current: Loaded | None = None
        self.trouble = "loading"
        self._step_s = 0.1  # of one denoising step; measured as work is done
        self._line = Line(settings.queue, lambda job: job.steps * self._step_s)
        self._broken: tuple[tuple[str, str], float, float] | None = None  # version, when to try again, after how long
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in (self._work, self._watch)]

    def start(self) -> Engine:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._line.close()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def loaded(self) -> Loaded:
        """The release that serves. Raises NotReadyError with the reason."""
        current = self.current
        if current is None:
            raise NotReadyError(f"no release is served: {self.trouble}", cure="see /v1/health")
        return current

    def submit(self, loaded: Loaded, requests: list[Any]) -> Job:
        """Queues a job. Raises BusyError."""
        job = Job(requests, loaded)
        self._line.join(job)
        return job

    def leave(self, job: Job) -> None:
        """Nobody waits for the job any more."""
        self._line.leave(job)

    def _work(self) -> None:
        while (job := self._line.next()) is not None:
            if job.cancelled.is_set() or not job.result.set_running_or_notify_cancel():
                continue
            began = time.monotonic()
            try:
                job.result.set_result(self._generate(job.loaded.model, job.requests, job.on_step))
            except BaseException as e:  # whatever it is, the one who waits must hear of it
                job.result.set_exception(e)
            else:
                self._step_s += 0.3 * ((time.monotonic() - began) / max(1, job.steps) - self._step_s)

    def _watch(self) -> None:
        consent_at = 0.0
        while not self._stop.is_set():
            try:
                self._follow()
                if self.current and time.monotonic() - consent_at > self.settings.consent_s:
                    self._ask_consent(self.current)
                    consent_at = time.monotonic()
            except AudioTuneError as e:
                self.trouble = str(e)
            except Exception as e:  # a bug must not end the watch; health tells it
                self.trouble = f"{type(e).__name__}: {e}"
            self._stop.wait(self.settings.poll_s)

    def _follow(self) -> None:
        wanted = self._models.version()
        if wanted is None:
            self.trouble = "nothing is registered under the alias"
            return
        serving = (self.current.release.name, self.current.release.version) if self.current else None
        if wanted == serving:
            self.trouble = ""
            return
        if self._broken and self._broken[0] == wanted and time.monotonic() < self._broken[1]:
            return  # a broken version is tried again, but not at every look
        try:
            loaded = self._models.load(*wanted)
            self._try(loaded)
        except Exception:
            self._remember(wanted)
            raise
        self.current, self.trouble, self._broken = loaded, "", None

    def _remember(self, wanted: tuple[str, str]) -> None:
        known = self._broken[2] if self._broken and self._broken[0] == wanted else self.settings.poll_s / 2
        wait_s = min(60.0, 2 * known)
        self._broken = (wanted, time.monotonic() + wait_s, wait_s)

    def _try(self, loaded: Loaded) -> None:
        """A short sound, made and measured, before anybody hears the release."""
        from audiotune.stable_audio.sample import Request

        sound = self._generate(loaded.model, [Request("a test", seconds=min(0.5, loaded.longest_s), steps=4)], None)[0]
        if not sound.peak_dbfs >= _SILENCE_DBFS:
            raise GenerationError("its first sound is silent", where=f"{loaded.release.name} version {loaded.release.version}")

    def _ask_consent(self, loaded: Loaded) -> None:
        try:
            self._models.consent(loaded.release)
        except AudioTuneError:
            self.current = None
            raise
