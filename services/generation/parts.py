"""What the HTTP routes share: the wiring of one service process."""

from __future__ import annotations

from dataclasses import dataclass, field

from audiotune.store.port import Store
from services.generation.adapters import Adapters
from services.generation.allowance import Allowance
from services.generation.engine import Engine
from services.generation.following import Following
from services.generation.gate import Gate
from services.generation.jobs.book import Book
from services.generation.jobs.runner import Runner
from services.generation.leaving import Leaving
from services.generation.metrics import Metrics
from services.generation.settings import Settings


@dataclass
class Parts:
    """See the module. `following` and `runner` may be missing in a process that only answers."""

    settings: Settings
    store: Store
    engine: Engine
    gate: Gate
    book: Book
    adapters: Adapters
    following: Following | None = None
    runner: Runner | None = None
    metrics: Metrics = field(default_factory=Metrics)
    leaving: Leaving = field(default_factory=Leaving.named)
    allowance: Allowance = field(init=False)

    def __post_init__(self) -> None:
        self.allowance = Allowance(self.settings, self.store)

    @property
    def ready(self) -> bool:
        """Whether a request that comes now will probably be met."""
        shelf = self.engine.shelf
        return shelf.current is not None and not shelf.exhausted and not self.leaving

    @property
    def open(self) -> bool:
        """Whether traffic may come: ready, or a fresh installation that has no release yet and says so to whoever asks."""
        return self.ready or (self.engine.shelf.waits_for_first and not self.leaving)
