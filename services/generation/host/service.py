"""What BentoML serves: its server, workers and metrics around our own application."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta

import bentoml

from audiotune import access
from audiotune.errors import AudioTuneError
from audiotune.stable_audio.sample import generate_batch
from audiotune.store import open_store
from services.generation.engine.adapters import AdapterResolver
from services.generation.engine.engine import Engine
from services.generation.engine.loaded_releases import LoadedReleases
from services.generation.engine.release_loader import ReleaseLoader
from services.generation.engine.release_watcher import ReleaseWatcher
from services.generation.errors import BusyError, NotReadyError
from services.generation.host import connections
from services.generation.http.app import create_app
from services.generation.http.auth import Authenticator
from services.generation.http.context import GenerationContext
from services.generation.http.problems import describe_failure
from services.generation.http.routes_jobs import describe_job
from services.generation.jobs.engine_maker import EngineMaker
from services.generation.jobs.job_store import JobStore
from services.generation.jobs.webhooks import WebhookSender
from services.generation.jobs.worker import JobWorker
from services.generation.settings import GenerationSettings


def configure_log() -> None:
    """One line each on stderr, whatever BentoML has made of the root logger (it takes only warnings)."""
    ours, lines = logging.getLogger("audiotune"), logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter("%(message)s"))
    ours.handlers, ours.propagate = [lines], False
    ours.setLevel(logging.INFO)


def build_service() -> tuple[GenerationContext, WebhookSender]:
    """All parts of one worker process, not started yet."""
    settings, store = GenerationSettings(), open_store()
    models = ReleaseLoader(settings, store)
    engine, book, adapters = (
        Engine(settings, LoadedReleases(), generate_batch),
        JobStore(store),
        AdapterResolver(settings, models),
    )
    runner = JobWorker(
        book, EngineMaker(engine, store, adapters), lease_s=settings.lease_s, poll_s=settings.jobs_poll_s, cancel_s=settings.cancel_s,
        keep=timedelta(days=settings.keep_days), again=(BusyError, NotReadyError),
        describe_failure=describe_failure,
    )  # fmt: skip
    following = ReleaseWatcher(settings, models, engine, generate_batch)
    parts = GenerationContext(
        settings, store, engine, Authenticator(store, members=access.requires_authentication()), book, adapters, following, runner
    )
    return parts, WebhookSender(book, settings, lambda job: describe_job(parts, job))


configure_log()
CONTEXT, WEBHOOK_SENDER = build_service()
connections.install_head_guard(CONTEXT.settings.head_s)
connections.remove_request_timeouts()


@bentoml.service(
    name="audio-tune-generation", workers=1, metrics={"enabled": False},
    traffic={"timeout": 86_400},  # bounds of time and number are ours, and say when to come back: PATIENCE_S, OPEN_REQUESTS
    logging={"access": {"enabled": False}},  # doors.py has a line for each request
)  # fmt: skip
@bentoml.asgi_app(create_app(CONTEXT), path="/")
class GenerationService:
    """One engine a worker; it loads its release in the background and says in /v1/health how far it is."""

    def __init__(self) -> None:
        assert CONTEXT.release_watcher is not None
        assert CONTEXT.job_worker is not None
        CONTEXT.engine.start()
        CONTEXT.release_watcher.start()
        CONTEXT.job_worker.start()
        WEBHOOK_SENDER.start()
        CONTEXT.quotas.start()
        CONTEXT.shutdown_notice.start(CONTEXT.job_worker.stop_claiming, connections.LISTENING_SOCKETS.stop_listening)

    def __is_ready__(self) -> bool:
        return CONTEXT.accepts_traffic  # BentoML answers /readyz by this, before our application is asked

    def __is_alive__(self) -> bool:
        return CONTEXT.engine.is_alive

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Hands back what has not ended, so that another worker takes it on at once."""
        CONTEXT.shutdown_notice.close()
        connections.LISTENING_SOCKETS.close_sockets()  # again, for who stops BentoML without a notice
        assert CONTEXT.job_worker is not None
        try:
            CONTEXT.job_worker.close()
        except AudioTuneError as e:
            logging.getLogger("audiotune.generation").warning(str(e))
        CONTEXT.engine.stop()
