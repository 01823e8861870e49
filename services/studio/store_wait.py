"""Waiting for the store at the start: on a fresh installation its bucket and its users are made while the studio starts."""

from __future__ import annotations

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
    """Does what asks the store, again until it answers. Says what it waits for, again when that changes or takes long.

    Raises:
        StoreError: it refuses still, or is away, after `most_s` seconds; or what it holds is damaged, which no waiting mends.
    """
    ends, said, words = clock() + most_s, float("-inf"), ""
    while True:
        try:
            done = do()
        except DamagedBlobError:
            raise
        except StoreError as e:
            left_s = ends - clock()
            if left_s <= 0:
                raise
            if str(e) != words or clock() - said >= _REMIND_S:
                LOG.warning("waiting for the store, %.0f s at most: %s", left_s, e)
                said, words = clock(), str(e)
            sleep(min(_EVERY_S, left_s))
        else:
            if words:
                LOG.warning("the store answers")
            return done
