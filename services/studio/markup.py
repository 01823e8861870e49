"""HTML of the studio's own look, over `audiotune.reporting.html`."""

from collections.abc import Sequence

from audiotune.reporting.html import Markup, tag


def embed_page(page: str, title: str) -> Markup:
    """A self-contained report in a frame, which may run its scripts and cannot reach the studio."""
    return tag("iframe", srcdoc=page, title=title, sandbox="allow-scripts", loading="lazy", class_="at-report")


def render_message(words: str, kind: str = "") -> Markup:
    """A line for people; `kind` is "", "good" or "bad"."""
    classes = f"at-message at-{kind}" if kind else "at-message"
    return tag("p", words, class_=classes, role="alert" if kind == "bad" else "status")


def format_sentence(words: object) -> str:
    """Words or an error as a sentence: a capital letter first, a full stop last."""
    text = str(words).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def render_table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Markup:
    """A table that becomes a list on a narrow screen: every cell has the name of its column."""
    head = tag("thead", tag("tr", *(tag("th", h, scope="col") for h in headers)))
    body = (tag("tr", *(tag("td", cell, data_label=h) for h, cell in zip(headers, row, strict=True))) for row in rows)
    return tag("table", head, tag("tbody", *body), class_="at-table")
