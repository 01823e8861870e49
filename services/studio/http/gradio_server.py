"""What the studio asks of the Gradio app behind it: which events and widgets it has, what a page has in work, and to forget a page.

Gradio has no public functions for this; it is written for the version that pyproject.toml names.
"""

from __future__ import annotations

import gradio as gr


class GradioServer:
    """The Gradio app of the studio's pages. Used by the event loop's thread only."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self._blocks = blocks

    def has_event(self, number: int) -> bool:
        return number in self._blocks.fns

    def has_widget(self, number: int) -> bool:
        return number in self._blocks.blocks

    def count_events(self, member: str) -> int:
        """Events of a member that wait or run."""
        return sum((event.username or "") == member for event in self._blocks._queue.event_ids_to_events.values())

    def is_busy(self, page: str) -> bool:
        """Whether an event of the page waits or runs."""
        return any(event.session_hash == page for event in self._blocks._queue.event_ids_to_events.values())

    def count_unread(self, page: str) -> int:
        """Messages that the page has not read yet."""
        messages = self._blocks._queue.pending_messages_per_session
        return messages[page].qsize() if page in messages else 0

    def close_page(self, page: str) -> None:
        """Forgets the state and the messages of a page that is not busy."""
        queue, states = self._blocks._queue, self._blocks.state_holder
        queue.pending_messages_per_session.pop(page, None)
        queue.pending_event_ids_session.pop(page, None)
        states.session_data.pop(page, None)
        states.time_last_used.pop(page, None)
