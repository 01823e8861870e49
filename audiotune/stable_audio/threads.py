"""Chooses the number of CPU threads by the work of one layer.

Threads wait for each other after every layer. On an idle machine that costs microseconds. On a loaded one a thread that lost its
core delays the others by milliseconds, thousands of times per sound: small layers are then ten times slower on two threads than
on one, and no faster on an idle machine. So each thread needs a minimum of work.
"""

import contextlib
import logging
from collections.abc import Iterator

from audiotune.stable_audio.model import StableAudio

LEAST_SHARE = 12e6  # multiply-adds of one layer for each thread; from benchmarks/README.md, "Threads"
_LOG = logging.getLogger(__name__)
_logged: set[int] = set()


def choose_threads(sa: StableAudio, tokens: int) -> int:
    """Threads for the diffusion transformer with `tokens` tokens in all rows, at most torch's current number; unchanged on a GPU."""
    import torch

    most = torch.get_num_threads()
    if sa.device.type != "cpu" or most == 1:
        return most
    layers = [part.weight.numel() for part in sa.model.model.modules() if isinstance(part, torch.nn.Linear | torch.nn.Conv1d)]
    return count_threads(tokens * sum(layers) / max(1, len(layers)), most)


def count_threads(multiply_adds: float, most: int) -> int:
    """Threads for layers of `multiply_adds` on average, 1 to `most`; every thread has `LEAST_SHARE` at least."""
    return max(1, min(most, int(multiply_adds / LEAST_SHARE)))


@contextlib.contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Within the block torch computes with `count` threads, regardless of OMP_NUM_THREADS and the number of cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def log_threads(count: int, work: str) -> None:
    """Logs the number of threads when it is used for the first time."""
    if count not in _logged:
        _logged.add(count)
        _LOG.info(f"computing on {describe_threads(count)}, chosen by the work: {work}")


def describe_threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
