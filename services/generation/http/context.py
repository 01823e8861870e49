"""What the HTTP routes share: the wiring of one service process."""

from __future__ import annotations

from dataclasses import dataclass, field

from audiotune.store.port import Store
from services.generation.engine.adapters import AdapterResolver
from services.generation.engine.engine import Engine
from services.generation.engine.quotas import MemberQuotas
from services.generation.engine.release_watcher import ReleaseWatcher
from services.generation.host.drain import ShutdownNotice
from services.generation.http.auth import Authenticator
from services.generation.jobs.job_store import JobStore
from services.generation.jobs.worker import JobWorker
from services.generation.metrics import Metrics
from services.generation.settings import GenerationSettings


@dataclass
class GenerationContext:
    """See the module. `following` and `runner` may be missing in a process that only answers."""

    settings: GenerationSettings
    store: Store
    engine: Engine
    authenticator: Authenticator
    job_store: JobStore
    adapters: AdapterResolver
    release_watcher: ReleaseWatcher | None = None
    job_worker: JobWorker | None = None
    metrics: Metrics = field(default_factory=Metrics)
    shutdown_notice: ShutdownNotice = field(default_factory=ShutdownNotice.from_environment)
    quotas: MemberQuotas = field(init=False)

    def __post_init__(self) -> None:
        self.quotas = MemberQuotas(self.settings, self.store)

    @property
    def is_ready(self) -> bool:
        """Whether a request that comes now will probably be met."""
        shelf = self.engine.loaded_releases
        return shelf.default_release is not None and not shelf.exhausted and not self.shutdown_notice

    @property
    def accepts_traffic(self) -> bool:
        """Whether traffic may come: ready, or a fresh installation that has no release yet and says so to whoever asks."""
        return self.is_ready or (self.engine.loaded_releases.waits_for_first and not self.shutdown_notice)
