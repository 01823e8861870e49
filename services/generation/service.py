"""What BentoML serves: its server, workers and metrics around our own application."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta

import bentoml

from audiotune import access
from audiotune.errors import AudioTuneError
from audiotune.stable_audio.sample import generate_alike
from audiotune.store import open_store
from services.generation import wire
from services.generation.adapters import Adapters
from services.generation.api import create_app
from services.generation.engine import Engine
from services.generation.following import Following
from services.generation.gate import Gate
from services.generation.hooks import Hooks
from services.generation.jobs.book import Book
from services.generation.jobs.making import EngineMaker
from services.generation.jobs.runner import Runner
from services.generation.models import RegisteredModels
from services.generation.parts import Parts
from services.generation.routes_jobs import told
from services.generation.settings import Settings
from services.generation.shelf import Shelf
from services.generation.work import BusyError, NotReadyError


def log() -> None:
    """One line each on stderr, whatever BentoML has made of the root logger (it takes only warnings)."""
    ours, lines = logging.getLogger("audiotune"), logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter("%(message)s"))
    ours.handlers, ours.propagate = [lines], False
    ours.setLevel(logging.INFO)


def wired() -> tuple[Parts, Hooks]:
    """All parts of one worker process, not started yet."""
    settings, store = Settings(), open_store()
    models = RegisteredModels(settings, store)
    engine, book, adapters = Engine(settings, Shelf(), generate_alike), Book(store), Adapters(settings, models)
    runner = Runner(
        book, EngineMaker(engine, store, adapters), lease_s=settings.lease_s, poll_s=settings.jobs_poll_s, cancel_s=settings.cancel_s,
        keep=timedelta(days=settings.keep_days), again=(BusyError, NotReadyError),
    )  # fmt: skip
    following = Following(settings, models, engine, generate_alike)
    parts = Parts(settings, store, engine, Gate(store, members=access.asked()), book, adapters, following, runner)
    return parts, Hooks(book, settings, lambda job: told(parts, job))


log()
PARTS, HOOKS = wired()
wire.guard(PARTS.settings.head_s)
wire.without_clocks()


@bentoml.service(
    name="audio-tune-generation", workers=1, metrics={"enabled": False},
    traffic={"timeout": 86_400},  # bounds of time and number are ours, and say when to come back: PATIENCE_S, OPEN_REQUESTS
    logging={"access": {"enabled": False}},  # doors.py has a line for each request
)  # fmt: skip
@bentoml.asgi_app(create_app(PARTS), path="/")
class GenerationService:
    """One engine a worker; it loads its release in the background and says in /v1/health how far it is."""

    def __init__(self) -> None:
        assert PARTS.following is not None
        assert PARTS.runner is not None
        PARTS.engine.start()
        PARTS.following.start()
        PARTS.runner.start()
        HOOKS.start()
        PARTS.allowance.start()
        PARTS.leaving.start(PARTS.runner.refuse, wire.LISTENING.leave)

    def __is_ready__(self) -> bool:
        return PARTS.open  # BentoML answers /readyz by this, before our application is asked

    def __is_alive__(self) -> bool:
        return PARTS.engine.alive

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Hands back what has not ended, so that another worker takes it on at once."""
        PARTS.leaving.close()
        wire.LISTENING.end()  # again, for who stops BentoML without a notice
        assert PARTS.runner is not None
        try:
            PARTS.runner.close()
        except AudioTuneError as e:
            logging.getLogger("audiotune.generation").warning(str(e))
        PARTS.engine.stop()
