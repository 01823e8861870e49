"""What the HTTP routes of one process share."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from audiotune.store.port import Store
from services.generation.engine.adapters import AdapterResolver
from services.generation.engine.engine import Engine
from services.generation.engine.quotas import MemberQuotas
from services.generation.engine.release_watcher import ReleaseWatcher
from services.generation.engine.request_memory import RequestMemory, measure_largest_request
from services.generation.http.auth import Authenticator
from services.generation.jobs.job_store import JobStore
from services.generation.jobs.worker import JobWorker
from services.generation.settings import GenerationSettings

_LARGEST_AT_ONCE = 2  # as much memory as so many of the largest requests need; most requests need a thousandth
_DECODERS = 2  # init sounds that are decoded at once
_RESOLVERS = 4  # webhooks whose hosts are looked up at once


@dataclass
class GenerationContext:
    """The parts of one process.

    Attributes:
        stopping: set once the service is about to stop. It answers on, is not ready, and each answer ends its connection.
        open_streams: member -> event streams that are open; touched by the event loop only.
        decoders, resolvers: the threads that decode init sounds and look up webhooks' hosts, apart from those of all other requests.
        request_memory: what bodies and init sounds of open requests may take.
    """

    settings: GenerationSettings
    store: Store
    engine: Engine
    authenticator: Authenticator
    job_store: JobStore
    adapters: AdapterResolver
    release_watcher: ReleaseWatcher
    job_worker: JobWorker
    quotas: MemberQuotas
    stopping: threading.Event = field(default_factory=threading.Event)
    open_streams: Counter[str] = field(default_factory=Counter)
    decoders: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_DECODERS, "decoding"))
    resolvers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_RESOLVERS, "resolving"))

    def __post_init__(self) -> None:
        self.request_memory = RequestMemory(_LARGEST_AT_ONCE * measure_largest_request(self.settings))

    def announce_stop(self) -> None:
        """The service will stop soon: it is not ready any more and begins no further job."""
        self.stopping.set()
        self.job_worker.stop_claiming()

    @property
    def is_ready(self) -> bool:
        """Whether a request that comes now will probably get its sound."""
        loaded = self.engine.loaded_releases
        return loaded.default_release is not None and not loaded.exhausted and not self.stopping.is_set()

    @property
    def accepts_traffic(self) -> bool:
        """Whether traffic may come: the service is ready, or it is new, has no release yet and says so."""
        return self.is_ready or (self.engine.loaded_releases.waits_for_first and not self.stopping.is_set())
