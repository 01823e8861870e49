"""Asks while a training runs whether everybody in its dataset still agrees, so that one who takes it back stops it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from types import TracebackType

from audiotune.domain.recording import Digest
from audiotune.errors import AudioTuneError, ConsentError, TrainingError, UnreadableConsentError
from audiotune.governance import require_permission
from audiotune.store.port import Store

EVERY_S = 5.0


class PermissionWatch:
    """Asks in a thread of its own, so that no step waits for the store.

    Args:
        recordings: of the dataset: recording id -> contributors.
        every_s: seconds between two questions; 0 asks only when it is called.
    """

    def __init__(self, store: Store, recordings: Mapping[Digest, tuple[str, ...]], every_s: float = EVERY_S) -> None:
        self._store, self._recordings, self._every_s = store, recordings, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run_loop, daemon=True, name="permission")
        self.is_refused = False

    def __enter__(self) -> PermissionWatch:
        if self._every_s:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()

    def ask(self) -> bool:
        """Whether somebody does not agree now. Raises AudioTuneError where nobody can say: the gate is closed then, too."""
        try:
            require_permission(self._store, "finetune", self._recordings)
        except UnreadableConsentError:
            raise
        except ConsentError:
            self.is_refused = True
        return self.is_refused

    def require(self) -> None:
        """Raises ConsentError with the reason. Called where it is known that somebody does not agree."""
        try:
            require_permission(self._store, "finetune", self._recordings)
        except ConsentError as e:
            cure = "run the pipeline again: its dataset leaves those recordings out"
            raise ConsentError(f"the training was stopped: {e.what}", where=e.where, cure=cure) from e
        raise TrainingError("the training was stopped: somebody took their consent back for a moment", cure="run it again")

    def _run_loop(self) -> None:
        while not self.is_refused and not self._stopped.wait(self._every_s):
            with contextlib.suppress(AudioTuneError):  # nobody can say: it is asked again, at the latest before a checkpoint
                self.ask()
