"""Annotate: the widget in static/annotate.js, and the functions it may call. Each answers {"error": words} when it cannot."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from audiotune.errors import AudioTuneError
from services.studio.desk import Desk
from services.studio.pages import Arrival
from services.studio.pages.calls import Given, callable_from_page
from services.studio.theme import script
from services.studio.waveform import peaks_of_file


def build(desk: Desk) -> Arrival:
    calls = _Calls(desk)
    widget = gr.HTML(
        {"member": ""},
        html_template='<section class="at-annotate" aria-label="Annotate"></section>',
        js_on_load=script("dom.js", "player.js", "chips.js", "annotate.js"),
        server_functions=[
            callable_from_page(desk, work)
            for work in (calls.start, calls.next_segment, calls.open_segment, calls.save_answer, calls.add_word)
        ],
        apply_default_css=False,
        elem_id="at-annotate",
    )
    calls.cache = widget.move_resource_to_block_cache
    return Arrival(lambda member: {"member": member}, [widget])


class _Calls:
    """What the widget asks. `cache` copies a file to where the browser may fetch it from and gives its path."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.cache: Callable[[str], str | None] = lambda path: path

    def start(self, member: str, given: Given) -> Given:
        """The first segment to hear."""
        return self._next(member, [])

    def next_segment(self, member: str, given: Given) -> Given:
        """The next unheard one; those left for later come last."""
        return self._next(member, [str(id) for id in given.get("leave", [])][:5000])

    def open_segment(self, member: str, given: Given) -> Given:
        """One segment by its id."""
        return {
            **self._standing(member),
            "segment": self._segment(member, str(given["segment"])),
            "facets": self._desk.words.facets(),
        }

    def save_answer(self, member: str, given: Given) -> Given:
        """Keeps an answer; then the next segment, or the same one with everybody's answers."""
        tags = {str(facet): [str(term) for term in terms] for facet, terms in dict(given.get("tags", {})).items()}
        segment = str(given["segment"])
        self._desk.listening.save(member, segment, tags, str(given.get("words", "")))
        if given.get("go_on"):
            return self._next(member, [str(id) for id in given.get("leave", [])][:5000])
        return {**self._standing(member), "segment": self._segment(member, segment)}

    def add_word(self, member: str, given: Given) -> Given:
        """A word of the member's own, for the whole group."""
        if not member:
            return {"error": "Choose who you are at the top of the page first."}
        term, label = self._desk.words.add(str(given.get("facet", "")), str(given.get("word", "")), member)
        return {"term": term, "label": label, "facets": self._desk.words.facets()}

    def _next(self, member: str, leave: list[str]) -> Given:
        id = self._desk.listening.next_for(member, leave)
        answer = self._standing(member)
        if id is not None:
            answer["segment"] = self._segment(member, id)
            answer["facets"] = self._desk.words.facets()
        return answer

    def _standing(self, member: str) -> Given:
        listening = self._desk.listening
        return {"progress": listening.progress(member).as_dict(), "heard": listening.heard_by(member)}

    def _segment(self, member: str, id: str) -> Given:
        """The view with its sound's address and peaks; a sound that cannot be read is said, not thrown."""
        view = self._desk.listening.view(member, id)
        row = self._desk.shelves.current().segments[id]
        try:
            path = self._desk.store.fetch(row.blob)
            view["peaks"] = list(peaks_of_file(path))
            view["url"] = f"gradio_api/file={self.cache(str(path))}"
        except AudioTuneError as e:
            view.update(peaks=[], url="", trouble=f"This sound cannot be played: {e}.")
        return view
