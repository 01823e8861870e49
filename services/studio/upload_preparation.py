"""Intake: from an upload to segments, told as it goes. Knows no gradio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from audiotune.errors import AudioTuneError
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio import uploads
from services.studio.context import StudioContext
from services.studio.markup import embed_page, render_message
from services.studio.uploads import RejectedFile, Upload

_SHOWN_LINES = 6


def prepare_uploaded_files(desk: StudioContext, paths: list[Path], said: Mapping[str, object]) -> Iterator[tuple[Markup, Markup]]:
    """Keeps the files, then runs the steps; yields (news, report) as they come."""
    if not said.get("uploaded_by"):
        yield render_message("Choose who you are at the top of the page first.", "bad"), Markup()
        return
    if not paths:
        yield render_message("Choose at least one file first.", "bad"), Markup()
        return
    yield render_message("Keeping the files …"), Markup()
    refused: list[RejectedFile] = []
    try:
        named = [(path, path.name) for path in paths]
        upload, refused = uploads.store_upload(desk.store, named, said, desk.require_agreement(), desk.settings.upload_limit_mb)
        if upload is None:
            yield join_markup(render_message("Nothing was kept.", "bad"), _render_rejected_files(refused)), Markup()
            return
        yield from _follow_preparation(desk, upload, refused)
    except AudioTuneError as e:
        words = f"{str(e)[:1].upper()}{str(e)[1:]}."
        yield join_markup(render_message(words, "bad"), _render_rejected_files(refused)), Markup()


def _follow_preparation(desk: StudioContext, upload: Upload, refused: list[RejectedFile]) -> Iterator[tuple[Markup, Markup]]:
    share, lines = 0.0, [f"{len(upload.files)} kept; the steps run {desk.prepare_runner.place}"]
    for news in desk.prepare_runner.prepare_upload(upload):
        share = share if news.share is None else news.share
        lines = [*lines, news.words][-_SHOWN_LINES:]
        pages = join_markup(*(join_markup(tag("h3", step), embed_page(page, step)) for step, page in news.reports.items()))
        if news.done:
            segments = len(desk.library.current().segments)
            yield (
                join_markup(
                    render_message(f"Done. {segments} segments wait on the Annotate page.", "good"),
                    _render_rejected_files(refused),
                ),
                pages,
            )
        else:
            yield join_markup(_render_progress_bar(share, lines), _render_rejected_files(refused)), pages


def _render_progress_bar(share: float, lines: list[str]) -> Markup:
    percent = f"{share:.0%}"
    bar = tag(
        "div", tag("i", class_="at-bar-me", style=f"width:{percent}"), class_="at-bar", role="progressbar",
        aria_valuenow=percent.rstrip("%"), aria_valuemin="0", aria_valuemax="100", aria_label="Progress",
    )  # fmt: skip
    return tag("div", bar, *(tag("p", line) for line in lines), class_="at-progress")


def _render_rejected_files(refused: list[RejectedFile]) -> Markup:
    if not refused:
        return Markup()
    items = (tag("li", tag("b", r.name), f": {r.reason}") for r in refused)
    return join_markup(tag("h3", "Not kept"), tag("ul", *items, class_="at-list"))
