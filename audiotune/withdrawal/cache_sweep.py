"""Drops what was erased from a program's own cache on disk: the erasure reaches only the cache of the machine it runs on."""

from __future__ import annotations

import logging
import threading

from audiotune.errors import AudioTuneError
from audiotune.store.layout import ERASURES
from audiotune.store.port import Store
from audiotune.store.s3 import S3Store
from audiotune.withdrawal.erasure_plan import ErasurePlan

LOG = logging.getLogger("audiotune.withdrawal")


class CacheSweep:
    """Looks for new lists of erased keys, in a thread of its own. A store in a folder has no cache.

    Args:
        every_s: seconds between two looks.
    """

    def __init__(self, store: Store, every_s: float = 600.0) -> None:
        self._store, self._every_s = store, every_s
        self._seen = set[str]()
        self._stopped = threading.Event()

    def start(self) -> None:
        if isinstance(self._store, S3Store):
            threading.Thread(target=self._run_loop, daemon=True, name="cache sweep").start()

    def stop(self) -> None:
        self._stopped.set()

    def sweep(self) -> None:
        """Drops the keys of all lists that are new. Raises StoreError, ValueError: a list cannot be read."""
        if not isinstance(self._store, S3Store):
            return
        for entry in self._store.list(ERASURES.path):
            if entry.key not in self._seen:
                for one in ErasurePlan.model_validate_json(self._store.get(entry.key)).objects:
                    self._store.forget(one.key)
                self._seen.add(entry.key)

    def _run_loop(self) -> None:
        while True:
            try:
                self.sweep()
            except (AudioTuneError, ValueError) as e:
                LOG.warning("what was erased may still be in this machine's cache: %s", e)
            if self._stopped.wait(self._every_s):
                return
