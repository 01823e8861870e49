"""Withdrawals as the studio shows and makes them. Does not import gradio."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from audiotune.domain.recording import Digest
from audiotune.domain.release import Release
from audiotune.errors import GenerationError
from audiotune.governance.agreement_record import Agreement
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.reporting.html import Markup, join_markup, tag
from audiotune.store.port import Store
from audiotune.withdrawal.preview import WithdrawalPreview
from audiotune.withdrawal.retraining import build_retraining, find_stopped_releases, require_retraining_form
from audiotune.withdrawal.words import describe_preview, describe_withdrawal
from services.studio.context import StudioContext

LOG = logging.getLogger("audiotune.studio")


class ServedAliases:
    """The aliases as the generation service lists them to a member; none while it is away."""

    def __init__(self, context: StudioContext, member: str) -> None:
        try:
            self._listed = context.generation.list_releases(member)
        except GenerationError as e:
            LOG.warning("aliases are not known: %s", e)
            self._listed = []

    def list_aliases(self, name: str) -> Mapping[str, str]:
        own = (entry for entry in self._listed if entry.get("name") == name)
        return {str(alias): str(entry.get("version", "")) for entry in own for alias in entry.get("aliases") or [] if alias}


def list_own_recordings(context: StudioContext, member: str) -> list[tuple[str, Digest]]:
    """(name, id) of all recordings that a member is heard in and has not taken back altogether."""
    state, known = open_ledger(context.store).read_state(), context.library.current().recordings
    own = (id for id, people in state.consents.items() if member in people and people[member].heard and people[member].uses)
    return sorted((known[id].name if id in known else id[:12], id) for id in own)


def list_choices(store: Store, agreement: Agreement | None) -> list[tuple[str, int]]:
    """(number, member and day in words; number) of every withdrawal, the newest first."""
    every = sorted(open_ledger(store).read_state().withdrawals.values(), key=lambda one: -one.number)
    names = {one.id: one.name for one in agreement.members} if agreement else {}
    return [(f"{one.number}, {names.get(one.member, one.member)}, {one.time:%d %B %Y}", one.number) for one in every]


def start_retraining(context: StudioContext, member: str, number: int) -> Release:
    """Starts a training without what was taken back; of the newest release that it stopped. Raises AudioTuneError."""
    stopped = find_stopped_releases(context.store, number)
    if not stopped:
        raise GenerationError(f"withdrawal {number} stopped no release", cure="there is nothing to train again")
    values = build_retraining(context.store, stopped[0])
    require_retraining_form(context.training_runs.runner)
    context.training_runs.start_run(member, values)
    return stopped[0]


def render_preview(preview: WithdrawalPreview) -> Markup:
    return join_markup(
        tag("h3", "What follows"),
        tag("ul", *(tag("li", sentence) for sentence in describe_preview(preview)), class_="at-list", id="at-preview"),
    )


def render_withdrawals(state: GovernanceState, names: Mapping[str, str]) -> Markup:
    """All withdrawals with what was done about them."""
    if not state.withdrawals:
        return Markup()
    cards = []
    for one in sorted(state.withdrawals.values(), key=lambda one: -one.number):
        head, *rest = describe_withdrawal(state, one)
        who = names.get(one.member, one.member)
        lines = [sentence.strip() for sentence in rest]
        title = tag("h3", f"Withdrawal {one.number}, by {who}")
        body = tag("ul", *(tag("li", sentence) for sentence in (head.split("  ")[-1], *lines)), class_="at-list")
        cards.append(tag("article", title, tag("p", f"{one.time:%d %B %Y}", class_="at-about"), body, class_="at-card"))
    return join_markup(tag("h2", "What was taken back"), *cards)
