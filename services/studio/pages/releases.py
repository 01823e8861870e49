"""The releases page: every release of the group, its contributors, its gate's result, and its report."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from audiotune.domain.release import Release
from audiotune.errors import AudioTuneError
from audiotune.reporting.evaluation_words import describe_metrics
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import embed_page, format_sentence, render_message
from services.studio.pages import PageRefresh, training
from services.studio.pages.header import find_acting_member
from services.studio.recording_consents import explain_silent_releases
from services.studio.releases import find_aliases, list_releases, read_evaluation_report

_LEAD = "A release is what the group's sounds became: weights with a name, the people in them, and what they may be used for."

_TO_THE_REPORT = "() => document.querySelector('#at-report-frame')?.scrollIntoView({block: 'start'})"


def build_releases_page(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    gr.HTML(tag("p", _LEAD, class_="at-intro"))
    widget = training.build_training_widget(context)
    releases = gr.HTML(elem_id="at-releases")
    choice = gr.Dropdown([], label="Report of", elem_id="at-report-of")
    show = gr.Button("Show report", elem_classes="at-show-report")
    frame = gr.HTML(elem_id="at-report-frame")
    show.click(lambda digest: _render_report(context, digest), [choice], [frame], show_progress="hidden")

    def on_made(chosen: str, event: gr.EventData, request: gr.Request) -> tuple[Any, Any]:
        return _refresh_releases(context, find_acting_member(context, chosen, request))

    def on_report(event: gr.EventData) -> tuple[Any, Any]:
        digest = str(event.digest or "")
        return gr.Dropdown(value=digest), _render_report(context, digest)

    widget.made(on_made, [me], [releases, choice], show_progress="hidden")
    widget.report(on_report, None, [choice, frame], show_progress="hidden").then(None, js=_TO_THE_REPORT)
    return PageRefresh(lambda member: ({"member": member}, *_refresh_releases(context, member)), [widget, releases, choice])


def _refresh_releases(context: StudioContext, member: str) -> tuple[Any, Any]:
    try:
        releases = list_releases(context.store)
        recordings = {id: r.name for id, r in context.library.current().recordings.items()}
        silent = explain_silent_releases(context.store, releases)
    except AudioTuneError as e:
        return render_message(f"{e}.", "bad"), gr.Dropdown(choices=[])
    try:
        listed, note = context.generation.list_releases(member), Markup()
    except AudioTuneError as e:
        listed, note = [], render_message(f"{format_sentence(e)} The cards below come from the store.")
    names = context.annotation_queue.list_active_members()
    if not releases:
        words = "Annotate some segments, then make one with the button above. It appears here."
        empty = tag("div", tag("h2", "No release yet."), tag("p", words), class_="at-empty")
        return join_markup(note, empty), gr.Dropdown(choices=[], value=None)
    cards = (_render_release(r, find_aliases(listed, r), names, recordings, silent.get(r.weights.identity, ())) for r in releases)
    listing = tag("div", *cards, class_="at-release-list")
    with_report = [(f"{r.name} {r.version}", r.digest) for r in releases if r.evaluation.report]
    return join_markup(note, listing), gr.Dropdown(choices=with_report, value=with_report[0][1] if with_report else None)


def _render_release(
    release: Release, aliases: list[str], names: dict[str, str], recordings: dict[str, str], silent: Sequence[str]
) -> Markup:
    """`silent`: why it may not be played now, with who; empty where it may."""
    lineage, evaluation = release.lineage, release.evaluation
    gate_words, gate_class = ("gate passed", "at-good") if evaluation.passed else ("gate not passed", "at-bad")
    gate = tag("span", gate_words, class_=f"at-status {gate_class}")
    live = (tag("span", alias, class_="at-status at-alias") for alias in aliases)
    names_heard = sorted(recordings.get(id, id[:12]) for id in lineage.recordings)
    facts: list[tuple[str, str]] = [
        ("People", ", ".join(names.get(m, m) for m in lineage.contributors)),
        ("Recordings", tag("details", tag("summary", str(len(names_heard))), _render_list(names_heard))),
        ("Segments", str(len(lineage.segments))),
        ("Words by", ", ".join(names.get(m, m) for m in lineage.annotators) or "file names"),
        ("Tuned from", lineage.base),
        ("Training", f"{release.weights.step} steps"),
        ("Measured", "; ".join(describe_metrics(evaluation.metrics))),
        ("Licence", release.licence),
        ("Notice", release.notice),
        ("Digest", tag("span", release.digest[:16], title=release.digest, class_="at-mono")),
    ]
    rows = (join_markup(tag("dt", name), tag("dd", value)) for name, value in facts if value)
    reasons = _render_list(evaluation.reasons) if evaluation.reasons else None
    stopped = [tag("span", "not allowed to play", class_="at-status at-bad"), _render_list(silent)] if silent else []
    head = tag("h2", f"{release.name} {release.version}".strip())
    made = tag("p", f"made {release.made:%d %B %Y}", class_="at-about")
    return tag(
        "article", head, made, tag("div", *live, gate, *stopped[:1]), *stopped[1:], reasons, tag("dl", *rows), class_="at-card"
    )


def _render_list(items: Sequence[str]) -> Markup:
    return tag("ul", *(tag("li", item) for item in items), class_="at-list")


def _render_report(context: StudioContext, digest: str | None) -> Markup:
    try:
        page = read_evaluation_report(context.store, list_releases(context.store), digest or "")
    except AudioTuneError as e:
        return render_message(f"{e}.", "bad")
    return embed_page(page, "Evaluation report") if page else render_message("This release has no report in the store.")
