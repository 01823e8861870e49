"""The annotate page: the widget in widgets/annotate.js, and the server functions that it calls."""

from collections.abc import Callable
from dataclasses import asdict

from audiotune.errors import AudioTuneError
from services.studio.context import StudioContext
from services.studio.pages import PageRefresh
from services.studio.pages.server_functions import Payload, create_server_function
from services.studio.theme import build_widget
from services.studio.waveform import read_file_peaks


def build_annotate_page(context: StudioContext) -> PageRefresh:
    calls = _AnnotateFunctions(context)
    works = (calls.start_annotating, calls.next_segment, calls.open_segment, calls.save_answer, calls.add_word)
    functions = [create_server_function(context, work) for work in works]
    element, scripts = '<section class="at-annotate" aria-label="Annotate"></section>', ("player.js", "chips.js", "annotate.js")
    widget = build_widget("at-annotate", element, {"member": ""}, *scripts, functions=functions)
    calls.cache = widget.move_resource_to_block_cache
    return PageRefresh(lambda member: {"member": member}, [widget])


class _AnnotateFunctions:
    """The functions that the widget calls. `cache` copies a file to a folder that browsers may fetch from, and returns its path."""

    def __init__(self, context: StudioContext) -> None:
        self._context = context
        self.cache: Callable[[str], str | None] = lambda path: path

    def start_annotating(self, member: str, payload: Payload) -> Payload:
        """The first segment to hear."""
        return self._answer_with_next(member, [])

    def next_segment(self, member: str, payload: Payload) -> Payload:
        """The next segment without this member's answer; those left for later come last."""
        return self._answer_with_next(member, [str(id) for id in payload.get("leave", [])][:5000])

    def open_segment(self, member: str, payload: Payload) -> Payload:
        """One segment by its id."""
        return self._describe_progress(member) | self._load_with_facets(member, str(payload["segment"]))

    def save_answer(self, member: str, payload: Payload) -> Payload:
        """Saves an answer; then gives the next segment, or the same one with everybody's answers."""
        tags = {str(facet): [str(term) for term in terms] for facet, terms in dict(payload.get("tags", {})).items()}
        segment = str(payload["segment"])
        self._context.annotation_queue.save_answer(member, segment, tags, str(payload.get("words", "")))
        if payload.get("go_on"):
            return self.next_segment(member, payload)
        return {**self._describe_progress(member), "segment": self._load_segment(member, segment)}

    def add_word(self, member: str, payload: Payload) -> Payload:
        """Adds a member's own word to the group's vocabulary."""
        if not member:
            return {"error": "Choose who you are at the top of the page first."}
        term, label = self._context.vocabulary.add_term(str(payload.get("facet", "")), str(payload.get("word", "")), member)
        return {"term": term, "label": label, "facets": self._context.vocabulary.list_facets()}

    def _answer_with_next(self, member: str, leave: list[str]) -> Payload:
        id = self._context.annotation_queue.choose_next_segment(member, leave)
        return self._describe_progress(member) | ({} if id is None else self._load_with_facets(member, id))

    def _load_with_facets(self, member: str, id: str) -> Payload:
        return {"segment": self._load_segment(member, id), "facets": self._context.vocabulary.list_facets()}

    def _describe_progress(self, member: str) -> Payload:
        queue = self._context.annotation_queue
        return {"progress": asdict(queue.count_progress(member)), "heard": queue.list_answered_by(member)}

    def _load_segment(self, member: str, id: str) -> Payload:
        """The segment with its sound's address and peaks, or with the reason why its sound cannot be read."""
        view = self._context.annotation_queue.view_segment(member, id)
        row = self._context.library.current().segments[id]
        try:
            path = self._context.store.fetch(row.blob)
            view["peaks"] = list(read_file_peaks(path))
            view["url"] = f"gradio_api/file={self.cache(str(path))}"
        except AudioTuneError as e:
            view.update(peaks=[], url="", trouble=f"This sound cannot be played: {e}.")
        return view
