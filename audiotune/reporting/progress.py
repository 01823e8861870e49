"""How a long task tells how far it is: a share in [0, 1] and a few words."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[float, str], None]


def ignore_progress(share: float, words: str) -> None:
    """Tells nobody."""
