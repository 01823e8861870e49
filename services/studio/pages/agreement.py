"""The agreement page. Its parts are inner tabs; the first has the members, what their recordings may be used for, and who gave what."""

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from audiotune.domain.member_notices import MemberNotice, MemberNoticeReader
from audiotune.errors import AudioTuneError
from audiotune.governance import Agreement
from audiotune.governance.use_texts import USE_WORDS
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import render_message, render_table
from services.studio.member_export import count_contribution
from services.studio.pages import PagePart, PageRefresh
from services.studio.pages.consent_forms import build_heard_form
from services.studio.pages.decisions import build_decisions_part
from services.studio.pages.excepted import build_excepted_form
from services.studio.pages.keys import build_keys_part
from services.studio.pages.leaving import build_leaving_part
from services.studio.pages.my_recordings import build_my_recordings_section
from services.studio.pages.waiting import build_waiting_section
from services.studio.recording_consents import describe_member_words

_NOTICES = 30  # shown at once


def build_agreement_page(context: StudioContext, me: gr.BrowserState) -> list[PagePart]:
    """The inner tabs. Each part has a module of its own and a line here; what it shows is refreshed as a page is."""
    builders: dict[str, Callable[[], PageRefresh]] = {"Agreement": lambda: _build_terms_part(context)}
    builders["My recordings"] = lambda: _build_recordings_part(context, me)
    builders["Decisions"] = lambda: build_decisions_part(context, me)
    builders["Keys"] = lambda: build_keys_part(context)
    builders["Leaving"] = lambda: build_leaving_part(context, me)
    parts: list[PagePart] = []
    with gr.Tabs(elem_id="at-parts"):
        for title, build_part in builders.items():
            with gr.Tab(title, id=title.lower().replace(" ", "-")) as tab:
                parts.append((tab, build_part()))
    return parts


def _build_recordings_part(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    """What waits for the member's word first, then what they agreed to and leave out; for owners, who is heard in a recording."""
    sections = [build_waiting_section(context), build_my_recordings_section(context)]
    forms = [build_excepted_form(context, me), *([build_heard_form(context)] if context.requires_sign_in else [])]
    outputs = [output for part in (*sections, *forms) for output in part.outputs]

    def load_values(member: str) -> tuple[Any, ...]:
        values = [section.load_values(member) for section in sections]
        return (*values, *(value for form in forms for value in form.load_values(member)))

    return PageRefresh(load_values, outputs)


def _build_terms_part(context: StudioContext) -> PageRefresh:
    reader = MemberNoticeReader(context.store)
    told, plan = gr.HTML(elem_id="at-told"), gr.HTML(elem_id="at-agreement")

    def load_values(member: str) -> tuple[Any, ...]:
        return render_notices(context, reader, member), _render_agreement(context)

    return PageRefresh(load_values, [told, plan])


def render_notices(context: StudioContext, reader: MemberNoticeReader, member: str) -> Markup:
    """What others did in the member's name; nothing where there is no such thing."""
    if not member:
        return Markup()
    try:
        names = {m.id: m.name for m in context.require_agreement().members}
        notices = reader.list_notices(member)
    except AudioTuneError as e:
        return render_message(f"{e}.", "bad")
    if not notices:
        return Markup()
    rows = [(f"{notice.time:%d %b %Y}", _describe_notice(notice, names)) for notice in notices[:_NOTICES]]
    words = "What others said or did as you. If something is not so, tell an owner of the group."
    more = f"The newest {_NOTICES} of {len(notices)}." if len(notices) > _NOTICES else ""
    heads = (tag("h2", "In your name"), tag("p", f"{words} {more}".strip(), class_="at-intro"))
    return join_markup(*heads, render_table(("When", "What"), rows))


def _describe_notice(notice: MemberNotice, names: Mapping[str, str]) -> str:
    files = ", ".join(notice.files[:3]) + (f" and {len(notice.files) - 3} more" if len(notice.files) > 3 else "")
    if notice.annotations:
        return f"{notice.annotations} annotations were taken in from the file {files} as yours"
    return f"{names.get(notice.by, notice.by)} named you as a player when they uploaded {files}"


def _render_agreement(context: StudioContext) -> Markup:
    try:
        agreement, library = context.require_agreement(), context.library.current()
        agreed_by = describe_member_words(context.store, agreement)
        rows = []
        for member in agreement.members:
            contribution = count_contribution(context.store, library, member.id)
            minutes = f"{contribution.recordings} ({contribution.seconds / 60:.1f} min)"
            rows.append((member.name, agreed_by[member.id], minutes, str(contribution.segments), str(contribution.answers)))
    except AudioTuneError as e:
        return render_message(f"{e}.", "bad")
    headers = ("Member", "Agrees to", "Recordings", "Segments", "Answers")
    return join_markup(_render_terms(agreement), tag("h2", "Who gave what"), render_table(headers, rows))


def _render_terms(agreement: Agreement) -> Markup:
    uses = ", ".join(USE_WORDS[use] for use in agreement.allowed_uses) or "nothing"
    facts = [
        ("The group may", uses),
        ("Recordings are", agreement.recordings_licence),
        ("Weights are", agreement.weights_licence),
        ("From outside we take", ", ".join(agreement.accepted_licences) or "nothing"),
    ]
    rows = (join_markup(tag("dt", name), tag("dd", value)) for name, value in facts)
    version = tag("p", f"agreement, version {agreement.version}", class_="at-about")
    return tag("article", tag("h2", agreement.group), version, tag("dl", *rows), class_="at-card")
