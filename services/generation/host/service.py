"""The service as BentoML knows it: our own application, and what starts and stops with it.

`bentoml serve services.generation.host.service:GenerationService` serves it, too: without a time for heads, without a notice.
"""

import logging
import sys
from datetime import timedelta

import bentoml

from audiotune import access
from audiotune.stable_audio.sample import generate_batch
from audiotune.store import open_store
from audiotune.withdrawal.cache_sweep import CacheSweep
from services.generation.engine.adapters import AdapterResolver
from services.generation.engine.engine import Engine
from services.generation.engine.loaded_releases import LoadedReleases
from services.generation.engine.quotas import MemberQuotas
from services.generation.engine.release_loader import ReleaseLoader
from services.generation.engine.release_watcher import ReleaseWatcher
from services.generation.engine.sound_records import SoundIndexer
from services.generation.host.server import remove_request_timers
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
    """Writes our log to stderr, one line a record; BentoML sets the root logger to warnings only."""
    ours = logging.getLogger("audiotune")
    ours.handlers, ours.propagate = [logging.StreamHandler(sys.stderr)], False
    ours.setLevel(logging.INFO)


def build_context() -> GenerationContext:
    """All parts of the service, not started yet."""
    settings, store = GenerationSettings(), open_store()
    loader, job_store = ReleaseLoader(settings, store), JobStore(store)
    engine, adapters = Engine(settings, LoadedReleases(), generate_batch), AdapterResolver(settings, loader)
    worker = JobWorker(
        job_store,
        EngineMaker(engine, store, adapters),
        lease_s=settings.lease_s,
        poll_s=settings.jobs_poll_s,
        cancel_s=settings.cancel_s,
        keep=timedelta(days=settings.keep_days),
        describe_failure=describe_failure,
    )
    authenticator, quotas = Authenticator(store, members=access.requires_authentication()), MemberQuotas(settings, store)
    watcher = ReleaseWatcher(settings, loader, engine, generate_batch, adapters)
    return GenerationContext(settings, store, engine, authenticator, job_store, adapters, watcher, worker, quotas)


configure_log()
CONTEXT = build_context()
WEBHOOK_SENDER = WebhookSender(CONTEXT.job_store, CONTEXT.settings, lambda job: describe_job(CONTEXT, job))
remove_request_timers()


@bentoml.service(
    name="audio-tune-generation",
    workers=1,
    metrics={"enabled": False},  # they keep one series for every path that anybody makes up; ours are in metrics.py
    traffic={"timeout": 86_400},  # bounds of time and number are ours, and say when to come back: PATIENCE_S, OPEN_REQUESTS
    logging={"access": {"enabled": False}},  # http/middleware.py has a line for each request
)
@bentoml.asgi_app(create_app(CONTEXT), path="/")
class GenerationService:
    """One engine a process; it loads its release in the background and says in /v1/health how far it is."""

    def __init__(self) -> None:
        parts = (CONTEXT.engine, CONTEXT.release_watcher, CONTEXT.job_worker, WEBHOOK_SENDER, CONTEXT.quotas)
        for part in (*parts, CacheSweep(CONTEXT.store), SoundIndexer(CONTEXT.store)):
            part.start()

    def __is_ready__(self) -> bool:
        return CONTEXT.accepts_traffic  # BentoML answers /readyz by this, before our application is asked

    def __is_alive__(self) -> bool:
        return CONTEXT.engine.is_alive

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Hands back the jobs that have not ended, so that another worker takes them on at once."""
        CONTEXT.job_worker.close()
        WEBHOOK_SENDER.stop()
        CONTEXT.engine.stop()
        CONTEXT.engine.join()
