"""Whose page each of Gradio's session hashes is. A stream or state of a page is for the member who opened it, and nobody else."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable

from services.studio.http.refusals import RequestRefusedError


class OpenPages:
    """The open pages of each member, least recently used first. Used by the event loop's thread only.

    Args:
        most: pages of one member; the oldest that waits for nothing is closed for a new one.
        is_busy: whether a page waits for an event.
        close_page: frees what is kept for a page.
    """

    def __init__(self, most: int, is_busy: Callable[[str], bool], close_page: Callable[[str], None]) -> None:
        self._most, self._is_busy, self._close_page = most, is_busy, close_page
        self._owners: dict[str, str] = {}
        self._pages: defaultdict[str, OrderedDict[str, None]] = defaultdict(OrderedDict)

    def open(self, page: str, member: str) -> None:
        """Opens the page for a member, or uses one that is theirs. Raises RequestRefusedError for another's, and for too many."""
        if page not in self._owners:
            self._make_room(member)
            self._owners[page] = member
        self.require(page, member)
        self._pages[member][page] = None
        self._pages[member].move_to_end(page)

    def require(self, page: str, member: str) -> None:
        """Raises RequestRefusedError for a page that is not this member's; the same for one that is not open."""
        if self._owners.get(page) != member:
            raise RequestRefusedError(404, "This page is not open here. Load it again.")

    def _make_room(self, member: str) -> None:
        pages = self._pages[member]
        while len(pages) >= self._most:
            oldest = next((page for page in pages if not self._is_busy(page)), None)
            if oldest is None:
                raise RequestRefusedError(429, "Too many pages wait for an answer. Close some of them.", retry_after_s=5)
            del pages[oldest], self._owners[oldest]
            self._close_page(oldest)
