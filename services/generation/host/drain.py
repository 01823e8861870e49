"""How a worker hears that it will be stopped, before BentoML is told: words in a file that the process above it writes.

notice   answers say that they end their connection, /readyz says no, no new job is begun
deaf     nobody can connect any more; who has connected is still answered
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

VARIABLE = "AUDIOTUNE_GENERATION_STOPPING"  # names the file
NOTICE, REFUSING = "notice", "deaf"
REFUSING_S = 1.0  # from the word to the end: hearing it, taking in who waits, and reading what they ask
_LOOK_S = 0.1


class ShutdownNotice:
    """Follows the file.

    Args:
        file: as named by the process above; none when nobody announces the end.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._noticed, self._closed = threading.Event(), threading.Event()

    @classmethod
    def from_environment(cls) -> ShutdownNotice:
        """By the environment."""
        named = os.environ.get(VARIABLE)
        return cls(Path(named) if named else None)

    def __bool__(self) -> bool:
        """Whether the end was announced."""
        return self._noticed.is_set()

    def start(self, noticed: Callable[[], None], deaf: Callable[[], None]) -> None:
        """Looks in a thread of its own and calls each once."""
        if self._file is not None:
            threading.Thread(target=self._watch_file, args=(noticed, deaf), name="leaving", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _watch_file(self, noticed: Callable[[], None], deaf: Callable[[], None]) -> None:
        assert self._file is not None
        while not self._closed.wait(_LOOK_S):
            try:
                word = self._file.read_text()
            except OSError:  # not written yet, or removed with the process above
                continue
            if not self._noticed.is_set():
                self._noticed.set()
                noticed()
            if word == REFUSING:
                deaf()
                return
