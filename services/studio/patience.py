"""Waiting for the store at the start: on a fresh installation its bucket and its users are made while the studio starts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from audiotune.errors import DamagedBlobError, StoreError
from audiotune.governance import current_agreement
from audiotune.store.port import Store

LOG = logging.getLogger("audiotune.studio")
_EVERY_S = 2.0
_REMIND_S = 30.0


def wait_for(
    store: Store, most_s: float, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Comes back once the store answers what the pages will ask first. Says what it waits for, again when that changes or takes long.

    Raises:
        StoreError: it refuses still, or is away, after `most_s` seconds; or what it holds is damaged, which no waiting mends.
    """
    ends, said, words = clock() + most_s, float("-inf"), ""
    while True:
        try:
            current_agreement(store)
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
            return
