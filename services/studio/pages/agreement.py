"""The agreement page: the members, the allowed uses of their recordings, decisions, each contribution, and the export of it."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from audiotune.domain.member_notices import MemberNotice, MemberNoticeReader
from audiotune.errors import AudioTuneError
from audiotune.governance import Agreement
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import render_message, render_table
from services.studio.member_export import count_contribution, export_member_data
from services.studio.pages import PageRefresh
from services.studio.pages.consent_forms import USE_WORDS, ConsentForms
from services.studio.pages.decisions import DecisionForms
from services.studio.pages.header import find_present_member
from services.studio.releases import list_releases

_NOTICES = 30  # shown at once


def build_agreement_page(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    reader = MemberNoticeReader(context.store)
    told, plan = gr.HTML(elem_id="at-told"), gr.HTML(elem_id="at-agreement")
    decisions = DecisionForms(context, me)
    forms = ConsentForms(context) if context.requires_sign_in else None
    words = "Everything you gave stays yours. Take it with you whenever you like, and the weights you co-own with it."
    gr.HTML(join_markup(tag("h2", "Take away my data"), tag("p", words, class_="at-intro")))
    weights = gr.Checkbox(label="with the weights of our releases (can be large)", value=False)
    pack = gr.Button("Pack everything of mine", variant="primary", elem_id="at-pack")
    news = gr.HTML()
    download = gr.DownloadButton("Download", visible=False, elem_id="at-download")

    def on_pack(chosen: str, with_weights: bool, request: gr.Request) -> tuple[Any, Any]:
        member = find_present_member(context, chosen, request)
        if not member:
            return render_message("Choose who you are at the top of the page first.", "bad"), gr.DownloadButton(visible=False)
        try:
            path = export_member_data(
                context.store,
                context.library.current(),
                context.require_agreement(),
                member,
                list_releases(context.store),
                Path(download.GRADIO_CACHE) / secrets.token_hex(16),  # nobody else can guess this folder
                weights=with_weights,
            )
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.DownloadButton(visible=False)
        label = f"Download {path.name} ({path.stat().st_size / 1e6:.1f} MB)"
        return render_message("Packed.", "good"), gr.DownloadButton(label, value=str(path), visible=True)

    pack.click(on_pack, [me, weights], [news, download])

    def load_values(member: str) -> tuple[Any, ...]:
        own = forms.load_values(member) if forms else ()
        return (render_notices(context, reader, member), _render_agreement(context), *decisions.load_values(), *own)

    return PageRefresh(load_values, [told, plan, *decisions.outputs, *(forms.outputs if forms else ())])


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
        rows = []
        for member in agreement.members:
            contribution = count_contribution(context.store, library, member.id)
            agreed = "left the group" if member.left else ", ".join(member.consents_to) or "asks for each recording"
            minutes = f"{contribution.recordings} ({contribution.seconds / 60:.1f} min)"
            rows.append((member.name, agreed, minutes, str(contribution.segments), str(contribution.answers)))
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
