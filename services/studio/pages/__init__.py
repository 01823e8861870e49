"""The studio's pages, one module each; `build(desk, me)` makes the parts and says what to refresh when somebody arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PageRefresh:
    """What a page brings up to date when it is opened or somebody else sits down.

    Attributes:
        call: takes the member id, gives one value for each of `parts`.
        parts: gradio components.
        cleared: sound lists that are emptied when somebody else sits down. Opening the room leaves them alone: what was
            made a moment ago must not be wiped by a refresh that answers late.
        by_account: `call` takes the account that signed in instead, also one that the agreement does not name.
        when_opened: opening the room calls it too. Not for a form, which would lose what was filled in.
    """

    load_values: Callable[[str], Any]
    outputs: Sequence[Any]
    cleared_outputs: Sequence[Any] = ()
    when_opened: bool = True
    by_account: bool = False
