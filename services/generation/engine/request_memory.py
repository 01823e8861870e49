"""How much memory requests may take while they are open: their bodies, and the sounds that they start from.

The number of open requests alone does not bound it: one body has a few hundred bytes, another 24 MB. What is needed is taken before it
is read or decoded, and given back when the request ends. One member may take half, so that there is room for the others.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from services.generation.errors import BusyError
from services.generation.settings import GenerationSettings

BODY_COPIES = 3  # bytes, text and decoded file of an init sound, while a request is parsed
FREE_BYTES = 64_000  # of a request: not counted, for the number of open requests bounds it
_RETRY_S = 2


class MemoryShare:
    """What one request has taken."""

    def __init__(self, memory: RequestMemory, member: str) -> None:
        self._memory, self._member = memory, member
        self.taken_bytes = 0

    def take(self, size: int) -> None:
        """Raises BusyError while other requests hold so much that this does not fit."""
        if size > FREE_BYTES:
            self._memory.add(self._member, size)
            self.taken_bytes += size


def measure_largest_request(settings: GenerationSettings) -> float:
    """Bytes of the largest request that may come: its body with the copies that parsing makes, and its decoded sound (48 kHz, stereo)."""
    return BODY_COPIES * settings.body_mb * 1e6 + settings.init_s * 48_000 * 2 * 4


class RequestMemory:
    """See the module. Many threads may use it.

    Args:
        most_bytes: of all requests together; each member may take half.
    """

    def __init__(self, most_bytes: float) -> None:
        self._most_bytes, self._taken, self._lock = most_bytes, Counter[str](), threading.Lock()

    @property
    def taken_bytes(self) -> int:
        return self._taken.total()

    @contextmanager
    def open_share(self, member: str) -> Iterator[MemoryShare]:
        """A request's share, given back at the end of the block."""
        share = MemoryShare(self, member)
        try:
            yield share
        finally:
            self.add(member, -share.taken_bytes)

    def add(self, member: str, size: int) -> None:
        """Raises BusyError where there is no room for `size` bytes more."""
        with self._lock:
            own, others = self._taken[member] + size, self.taken_bytes - self._taken[member]
            if size > 0 and (own > self._most_bytes / 2 or own + others > self._most_bytes):
                raise BusyError("requests with large bodies or init sounds fill the memory that is set aside for them", _RETRY_S)
            self._taken[member] = own
            if not own:
                del self._taken[member]
