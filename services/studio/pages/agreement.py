"""The agreement page. Its parts are inner tabs; the first has the members, what their recordings may be used for, and who gave what."""

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from audiotune.domain.member_notices import MemberNotice, MemberNoticeReader
from audiotune.errors import AudioTuneError
from audiotune.governance import Agreement
from audiotune.governance.agreement_words import KIND_WORDS, describe_licence, describe_rule
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.use_texts import USE_WORDS
from audiotune.reporting.html import Markup, join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import format_sentence, render_message, render_table
from services.studio.member_events import MemberAct, MemberActs
from services.studio.member_export import count_contribution
from services.studio.pages import PagePart, PageRefresh
from services.studio.pages.agreement_editor import build_editor
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
    builders: dict[str, Callable[[], PageRefresh]] = {"Agreement": lambda: _build_terms_part(context, me)}
    builders["My recordings"] = lambda: _build_recordings_part(context, me)
    builders["Decisions"] = lambda: build_decisions_part(context, me)
    builders["Keys"] = lambda: build_keys_part(context)
    builders["Leaving"] = lambda: build_leaving_part(context, me)
    parts: list[PagePart] = []
    with gr.Tabs(elem_id="at-parts"):
        for title, build_part in builders.items():
            with gr.Tab(title, id=title.lower().replace(" ", "-")) as tab:
                parts.append((tab, build_part()))
                if title == "Agreement":
                    parts.append((tab, build_editor(context, me)))
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


def _build_terms_part(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    reader = MemberNoticeReader(context.store)
    told, plan, shown = gr.HTML(elem_id="at-told"), gr.HTML(elem_id="at-agreement"), gr.State("")
    sign = gr.Button("I have read it, and sign it", variant="primary", visible=False, elem_id="at-sign")
    news = gr.HTML(elem_id="at-sign-news")
    outputs = [plan, shown, sign]

    def load_terms(member: str) -> tuple[Any, ...]:
        try:
            agreement, signed = context.find_agreement(), read_signatures(context)
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), "", gr.Button(visible=False)
        if agreement is None:
            return Markup(), "", gr.Button(visible=False)
        active = [one.id for one in agreement.active_members]
        return (
            render_agreement(context, agreement, signed),
            agreement.digest,
            gr.Button(visible=member in active and member not in signed),
        )

    def on_sign(act: MemberAct, digest: str) -> tuple[Any, ...]:
        member = act.find_member()
        try:
            act.record("agreement_signed", {"agreement": digest})
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad"), *load_terms(member)
        return render_message("Signed.", "good"), *load_terms(member)

    MemberActs(context, me).connect(
        sign, lambda digest: ("agreement_signed", {"agreement": digest}), on_sign, [shown], [news, *outputs]
    )
    return PageRefresh(lambda member: (render_notices(context, reader, member), *load_terms(member)), [told, *outputs])


def read_signatures(context: StudioContext) -> Mapping[str, int]:
    """Member -> number of the event in which they signed the version in force."""
    state = open_ledger(context.store).read_state()
    return state.signatures.get(state.agreement.digest, {}) if state.agreement else {}


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


def render_agreement(context: StudioContext, agreement: Agreement, signed: Mapping[str, int]) -> Markup:
    """The terms, who has signed them, and who gave what."""
    try:
        library = context.library.current()
        given = [(member, count_contribution(context.store, library, member.id)) for member in agreement.members]
        agreed_by = describe_member_words(context.store, agreement)
    except AudioTuneError as e:
        return render_message(f"{e}.", "bad")
    rows = [
        (member.name, f"{gave.recordings} ({gave.seconds / 60:.1f} min)", str(gave.segments), str(gave.answers))
        for member, gave in given
    ]
    contributions = render_table(("Member", "Recordings", "Segments", "Answers"), rows)
    members = _render_members(agreement, signed, agreed_by)
    return join_markup(_render_terms(agreement), members, tag("h2", "Who gave what"), contributions)


def _render_members(agreement: Agreement, signed: Mapping[str, int], agreed_by: Mapping[str, str]) -> Markup:
    """Everybody in it: whether they signed this version, and what they agree to."""
    missing = [member.name for member in agreement.active_members if member.id not in signed]
    words = f"Not signed yet by {', '.join(missing)}." if missing else "Everybody has signed it."
    rows = []
    for member in agreement.members:
        word = "left the group" if member.left else f"yes, event {signed[member.id]}" if member.id in signed else "not yet"
        rows.append((member.name, word, "" if member.left else agreed_by[member.id]))
    table = render_table(("Member", "Signed", "Agrees to"), rows)
    return join_markup(tag("h2", "Who is in it"), tag("p", words, class_="at-intro", id="at-unsigned"), table)


def _render_terms(agreement: Agreement) -> Markup:
    facts = [
        ("The group may", ", ".join(USE_WORDS[use] for use in agreement.allowed_uses) or "nothing"),
        ("Recordings are", describe_licence(agreement.recordings_licence)),
        ("Releases are", describe_licence(agreement.weights_licence)),
        ("From outside we take", ", ".join(map(describe_licence, agreement.accepted_licences)) or "nothing"),
        *((f"To {KIND_WORDS[kind]}", describe_rule(rule)) for kind, rule in agreement.decisions.items()),
        ("A recording waits", f"{agreement.answer_within_days:g} days for those who ask for each one; then it is deleted"),
    ]
    if agreement.withdrawal_grace_days:
        facts.append(("What is taken back", f"may be used for {agreement.withdrawal_grace_days:g} more days"))
    rows = (join_markup(tag("dt", name), tag("dd", value)) for name, value in facts)
    version = tag("p", f"agreement, version {agreement.version}", class_="at-about")
    return tag("article", tag("h2", agreement.group), version, tag("dl", *rows), class_="at-card")
