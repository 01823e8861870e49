"""HTML elements that are escaped by type, and the steps' reports: self-contained pages under 3 MB with players and pictures.

Every text that is no `Markup` is escaped. Viewers show reports in frames that may not load anything, so everything is inline.
`audiotune.audio.figures` draws the pictures.
"""

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence

import soundfile as sf
from markupsafe import Markup as Markup
from markupsafe import escape as escape

from audiotune.audio.figures import format_clock_time
from audiotune.audio.files_and_tags import choose_rate
from audiotune.audio.sound import Sound

PAGE_BYTES = 2_900_000  # Kubeflow's viewer takes 3 MB
_PLAYER_RATE_HZ = 32_000  # keeps 16 kHz of band; a third smaller than 48 kHz at the same quality
_VOID_ELEMENTS = frozenset(("br", "img", "input", "meta"))
_LEFT_OUT = '<p class="quiet">left out to keep this page small</p>'
_HEAVY = re.compile(r"<!--heavy-->.*?<!--/heavy-->", re.DOTALL)


def tag(name: str, *children: str | None, **attributes: str | bool | None) -> Markup:
    """An element. Children that are no `Markup` are escaped, attributes always. `class_` writes `class`; True has no value."""
    start = f"<{name}{''.join(_render_attribute(key, value) for key, value in attributes.items())}>"
    return Markup(start if name in _VOID_ELEMENTS else f"{start}{join_markup(*children)}</{name}>")


def join_markup(*children: str | None) -> Markup:
    """Children joined; plain text is escaped."""
    return Markup().join(child for child in children if child)


def render_page(title: str, body: str, *, subtitle: str = "") -> str:
    """A whole page: doctype, inline style, responsive, light and dark by the reader's setting.

    Args:
        title: escaped.
        body: HTML. When the page would exceed 3 MB, the last players and pictures are left out, and the page says so there.
        subtitle: escaped; a sentence under the title.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(_STYLE)),
    )
    top = tag("header", tag("h1", title), tag("p", subtitle, class_="quiet") if subtitle else None)
    start = f'<!doctype html>\n<html lang="en">{head}<body><main>{top}'
    return f"{start}\n{_drop_heavy_parts(body, PAGE_BYTES - len(start.encode()) - 100)}\n</main></body></html>\n"


def render_section(title: str, *parts: str) -> Markup:
    """A titled part of a page. Parts that are no `Markup` become paragraphs."""
    return tag("section", tag("h2", title), *(part if isinstance(part, Markup) else tag("p", part) for part in parts))


def extract_section(page: str, title: str) -> Markup:
    """The section of a report that has this title, with its players and pictures; empty when there is none."""
    match = re.search(f"<section>{re.escape(tag('h2', title))}.*?</section>", page, re.DOTALL)
    return Markup(match[0] if match else "")


def render_note(words: str, *, kind: str = "plain") -> Markup:
    """A framed remark; `kind` is plain, good or bad."""
    return tag("p", words, class_=f"note {kind if kind in ('good', 'bad') else 'plain'}")


def render_key_figures(pairs: Iterable[tuple[str, object]]) -> Markup:
    """A row of key figures: (label, value)."""
    return tag("dl", *(tag("div", tag("dt", label), tag("dd", escape(value))) for label, value in pairs), class_="figures")


def render_table(headers: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """A table that scrolls sideways on small screens. Cells are escaped unless they are `Markup`; floats get 4 digits."""
    head = tag("thead", tag("tr", *(tag("th", escape(header)) for header in headers)))
    body = tag("tbody", *(tag("tr", *map(_render_cell, row)) for row in rows))
    return tag("div", tag("table", head, body), class_="wide")


def render_player(sound: Sound, *, max_s: float = 12, label: str = "") -> Markup:
    """An <audio> element with the sound inside: mono MP3 of about 64 kbit/s, 10 KB a second, at most `max_s` seconds.

    Very quiet sounds are amplified, and the label says by how much.
    """
    part = sound.cut(0, round(max_s * sound.sample_rate_hz)).to_mono()
    part = part.resample(min(_PLAYER_RATE_HZ, part.sample_rate_hz))
    gain_db = min(40.0, -12.0 - part.peak_dbfs) if -90.0 < part.peak_dbfs < -30.0 else 0.0
    cut = f"first {max_s:g} of {format_duration(sound.duration_s)}" if sound.duration_s > max_s else ""
    words = [w for w in (label, f"raised {gain_db:.0f} dB" if gain_db else "", cut) if w]
    data = base64.b64encode(_encode_mp3(part.apply_gain(gain_db) if gain_db else part)).decode()
    audio = tag("audio", controls=True, preload="metadata", src=f"data:audio/mpeg;base64,{data}")
    return _mark_heavy(tag("figure", audio, tag("figcaption", " · ".join(words)) if words else None, class_="sound"))


def render_picture(png: bytes, alt: str) -> Markup:
    """A PNG inside the page, with an alternative text for screen readers."""
    return _mark_heavy(tag("figure", tag("img", alt=alt, src=f"data:image/png;base64,{base64.b64encode(png).decode()}")))


def render_details(summary: str, *parts: str) -> Markup:
    """A part that opens on a click."""
    return tag("details", tag("summary", summary), *parts)


def format_duration(duration_s: float) -> str:
    """`2:05:09`, `3:04` or `0.42 s`."""
    if duration_s < 60:
        return f"{duration_s:.2f} s" if duration_s < 10 else f"{duration_s:.1f} s"
    return format_clock_time(duration_s)


def _encode_mp3(sound: Sound) -> bytes:
    rate_hz = choose_rate(sound.sample_rate_hz, "mp3")
    out = io.BytesIO()
    frames = sound.resample(rate_hz).data[0].clip(-1, 1)
    sf.write(out, frames, rate_hz, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.9)
    return out.getvalue()


def _render_attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def _render_cell(value: object) -> Markup:
    if isinstance(value, bool):
        return tag("td", "yes" if value else "no")
    if isinstance(value, int | float):
        return tag("td", f"{value:.4g}" if isinstance(value, float) else str(value), class_="number")
    return tag("td", escape("–" if value is None else value))


def _mark_heavy(part: Markup) -> Markup:
    """Marks a part that may be left out when the page becomes too large."""
    return Markup(f"<!--heavy-->{part}<!--/heavy-->")


def _drop_heavy_parts(body: str, limit: int) -> str:
    """Leaves out heavy parts, the last first, until the body has at most `limit` bytes."""
    excess = len(body.encode()) - limit
    spans = [match.span() for match in _HEAVY.finditer(body)]
    while excess > 0 and spans:
        start, end = spans.pop()
        body = f"{body[:start]}{_LEFT_OUT}{body[end:]}"
        excess -= end - start - len(_LEFT_OUT)
    return body


_STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--ink:#22282b;--quiet:#6b7478;--line:#dfe2e0;--tint:#f0f2ef;--accent:#24787a;
--good:#2f7d4f;--bad:#b0432f}
@media(prefers-color-scheme:dark){:root{--paper:#15191b;--ink:#e4e8e7;--quiet:#94a0a3;--line:#2c3336;--tint:#1d2325;--accent:#6cc0bd;
--good:#7cc796;--bad:#e58a73}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:1.5rem 1.25rem 4rem}
h1{font-size:1.7rem;line-height:1.2;font-weight:650;letter-spacing:-.01em;margin:.4rem 0 .2rem}
h2{font-size:1.15rem;font-weight:620;margin:2.2rem 0 .7rem}h3{font-size:1rem;margin:1.4rem 0 .4rem}
p{margin:.5rem 0;max-width:68ch}a{color:var(--accent)}
.quiet,figcaption{color:var(--quiet);font-size:.9rem}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.75rem;margin:1.2rem 0}
.figures div{background:var(--tint);border-radius:10px;padding:.7rem .9rem}
.figures dt{color:var(--quiet);font-size:.8rem}.figures dd{margin:.1rem 0 0;font-size:1.25rem;font-weight:600;
overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto;margin:.8rem 0}table{border-collapse:collapse;width:100%;font-size:.92rem}
th{text-align:left;color:var(--quiet);font-weight:550;font-size:.82rem}
th,td{padding:.45rem .7rem .45rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td{overflow-wrap:break-word}.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
figure{margin:.6rem 0}img{max-width:100%;height:auto;display:block;border-radius:8px}
audio{display:block;width:100%;min-width:13rem;max-width:26rem;height:2.4rem}td figure{margin:0}
.note{border-left:3px solid var(--accent);background:var(--tint);padding:.6rem .9rem;border-radius:0 8px 8px 0}
.note.good{border-color:var(--good)}.note.bad{border-color:var(--bad)}
details{border:1px solid var(--line);border-radius:10px;padding:.5rem .9rem;margin:.6rem 0}summary{cursor:pointer;font-weight:560}
@media(max-width:480px){main{padding:1rem .9rem 3rem}h1{font-size:1.4rem}}
@media print{body{background:#fff;color:#000}}
""".strip()
