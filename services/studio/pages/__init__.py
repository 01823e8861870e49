"""The studio's pages, one module each; its build function creates the components and returns how they are refreshed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class PageRefresh:
    """How a page is refreshed when it is opened or another member is chosen.

    Attributes:
        load_values: takes the member id, returns one value for each of `outputs`.
        cleared_outputs: sound lists that are emptied for another member. Opening the page does not empty them: a refresh that
            answers late must not remove a sound that was just made.
        when_opened: whether opening the page refreshes it. Not for a form, which would lose its input.
        by_account: `load_values` takes the account that signed in instead, also one that the agreement does not name.
    """

    load_values: Callable[[str], Any]
    outputs: Sequence[Any]
    cleared_outputs: Sequence[Any] = ()
    when_opened: bool = True
    by_account: bool = False


PagePart = tuple[gr.Tab, PageRefresh]  # an inner tab of a page, and how it is refreshed when it is opened
