"""Waits for the store at the start: a fresh installation creates its bucket and its users while the studio starts."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from audiotune.errors import DamagedBlobError, StoreError

LOG = logging.getLogger("audiotune.studio")
_EVERY_S = 2.0
_REMIND_S = 30.0

T = TypeVar("T")


def wait_for_store(
    do: Callable[[], T],
    most_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Calls `do`, which reads the store, until the store answers. Logs the reason; again when it changes or after 30 seconds.

    Raises:
        StoreError: the store still refuses or is unreachable after `most_s` seconds; or it is damaged, which waiting cannot cure.
    """
    ends, warned_at, reason = clock() + most_s, float("-inf"), ""
    while True:
        try:
            result = do()
        except DamagedBlobError:
            raise
        except StoreError as e:
            left_s = ends - clock()
            if left_s <= 0:
                raise
            if str(e) != reason or clock() - warned_at >= _REMIND_S:
                LOG.warning("waiting for the store, %.0f s at most: %s", left_s, e)
                warned_at, reason = clock(), str(e)
            sleep(min(_EVERY_S, left_s))
        else:
            if reason:
                LOG.warning("the store answers")
            return result
