"""HTML for the studio's plain pages. Whatever comes from people or files is escaped here, once."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


class Markup(str):
    """Text that is HTML already. Only this module makes it out of plain text."""

    __slots__ = ()


def tag(name: str, *children: str | None, **attributes: str | bool | None) -> Markup:
    """An element; children that are no Markup are escaped, attributes always. `class_` writes `class`; True has no value."""
    written = "".join(_render_attribute(key, value) for key, value in attributes.items())
    return Markup(f"<{name}{written}>{join_markup(*children)}</{name}>")


def join_markup(*children: str | None) -> Markup:
    """Children one after another, escaped where they are plain text."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children if child))


def embed_page(page: str, title: str) -> Markup:
    """A self-contained report in a frame of its own that can run its scripts and reach nothing of the studio."""
    return tag("iframe", srcdoc=page, title=title, sandbox="allow-scripts", loading="lazy", class_="at-report")


def render_message(words: str, kind: str = "") -> Markup:
    """A line for people; `kind` is "", "good" or "bad"."""
    return tag(
        "p", words, class_=f"at-message {f'at-{kind}' if kind else ''}".strip(), role="alert" if kind == "bad" else "status"
    )


def render_table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Markup:
    """A table that turns into cards on a narrow screen: every cell knows its column's name."""
    head = tag("thead", tag("tr", *(tag("th", h, scope="col") for h in headers)))
    body = (tag("tr", *(tag("td", cell, data_label=h) for h, cell in zip(headers, row, strict=True))) for row in rows)
    return tag("table", head, tag("tbody", *body), class_="at-table")


def _render_attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value), quote=True)}"'
