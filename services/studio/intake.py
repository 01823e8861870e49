"""Intake: from an upload to segments, told as it goes. Knows no gradio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from audiotune.errors import AudioTuneError
from services.studio import inbox
from services.studio.desk import Desk
from services.studio.inbox import Refused, Upload
from services.studio.markup import Markup, joined, page_in_frame, say, tag

_SHOWN_LINES = 6


def take_in(desk: Desk, paths: list[Path], said: Mapping[str, object]) -> Iterator[tuple[Markup, Markup]]:
    """Keeps the files, then runs the steps; yields (news, report) as they come."""
    if not said.get("uploaded_by"):
        yield say("Choose who you are at the top of the page first.", "bad"), Markup()
        return
    if not paths:
        yield say("Choose at least one file first.", "bad"), Markup()
        return
    yield say("Keeping the files …"), Markup()
    refused: list[Refused] = []
    try:
        named = [(path, path.name) for path in paths]
        upload, refused = inbox.keep(desk.store, named, said, desk.agreement(), desk.settings.upload_limit_mb)
        if upload is None:
            yield joined(say("Nothing was kept.", "bad"), _refusals(refused)), Markup()
            return
        yield from _follow(desk, upload, refused)
    except AudioTuneError as e:
        words = f"{str(e)[:1].upper()}{str(e)[1:]}."
        yield joined(say(words, "bad"), _refusals(refused)), Markup()


def _follow(desk: Desk, upload: Upload, refused: list[Refused]) -> Iterator[tuple[Markup, Markup]]:
    share, lines = 0.0, [f"{len(upload.files)} kept; the steps run {desk.launcher.place}"]
    for news in desk.launcher.prepare(upload):
        share = share if news.share is None else news.share
        lines = [*lines, news.words][-_SHOWN_LINES:]
        pages = joined(*(joined(tag("h3", step), page_in_frame(page, step)) for step, page in news.reports.items()))
        if news.done:
            segments = len(desk.shelves.current().segments)
            yield joined(say(f"Done. {segments} segments wait on the Annotate page.", "good"), _refusals(refused)), pages
        else:
            yield joined(_bar(share, lines), _refusals(refused)), pages


def _bar(share: float, lines: list[str]) -> Markup:
    percent = f"{share:.0%}"
    bar = tag(
        "div", tag("i", class_="at-bar-me", style=f"width:{percent}"), class_="at-bar", role="progressbar",
        aria_valuenow=percent.rstrip("%"), aria_valuemin="0", aria_valuemax="100", aria_label="Progress",
    )  # fmt: skip
    return tag("div", bar, *(tag("p", line) for line in lines), class_="at-progress")


def _refusals(refused: list[Refused]) -> Markup:
    if not refused:
        return Markup()
    items = (tag("li", tag("b", r.name), f": {r.reason}") for r in refused)
    return joined(tag("h3", "Not kept"), tag("ul", *items, class_="at-list"))
