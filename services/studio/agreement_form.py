"""The form in which the agreement is written: its fields, filled from an agreement and read back. Does not import gradio."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from audiotune.domain.member import is_member_id, suggest_member_id
from audiotune.errors import AgreementError
from audiotune.governance.agreement_record import FIRST_USES, Agreement, DecisionRule, Member, ProposalKind, Use

_LINE = re.compile(r"(?P<name>.*?)\s*\(\s*(?P<id>[^()]*?)\s*\)")
_FIRST_RULES: dict[ProposalKind, str] = {"agreement": "two_thirds", "champion": "majority", "publish_release": "two_thirds"}


@dataclass(frozen=True)
class AgreementForm:
    """What a page shows and gives back.

    Attributes:
        members: one a line, as in `Ana (ana)`; the id in brackets is suggested where it is missing.
        standing: what everybody says yes to beforehand; counts for members who are new.
        rules: kind of proposal -> its rule's `needs`; empty: no decision needed.
        quorum: in percent; with `days` it counts for every rule that is new or changed.
    """

    group: str = ""
    members: str = ""
    recordings_licence: str = "LicenseRef-members-only"
    weights_licence: str = "LicenseRef-co-owned-by-the-members"
    accepted_licences: list[str] = field(default_factory=lambda: ["CC0-1.0"])
    uses: list[Use] = field(default_factory=lambda: list(FIRST_USES))
    standing: list[Use] = field(default_factory=list)
    rules: Mapping[ProposalKind, str] = field(default_factory=lambda: dict(_FIRST_RULES))
    quorum: float = 50
    days: float = 7
    answer_within_days: float = 14
    withdrawal_grace_days: float = 0


def fill_form(agreement: Agreement | None) -> AgreementForm:
    """The form of an agreement; what is suggested where there is none."""
    if agreement is None:
        return AgreementForm()
    quorum, days = _find_common_terms(agreement)
    return AgreementForm(
        group=agreement.group,
        members="\n".join(f"{member.name} ({member.id})" for member in agreement.active_members),
        recordings_licence=agreement.recordings_licence,
        weights_licence=agreement.weights_licence,
        accepted_licences=list(agreement.accepted_licences),
        uses=list(agreement.allowed_uses),
        rules={kind: rule.needs for kind, rule in agreement.decisions.items()},
        quorum=quorum,
        days=days,
        answer_within_days=agreement.answer_within_days,
        withdrawal_grace_days=agreement.withdrawal_grace_days,
    )


def read_form(form: AgreementForm, base: Agreement | None) -> Agreement:
    """The agreement that a form says.

    Args:
        base: what the form was filled from: it keeps what the form does not show.

    Raises AgreementError: something is missing or does not fit, in words.
    """
    if not form.group.strip():
        raise AgreementError("the group has no name", cure="write one")
    members = _read_members(form, base)
    fields = {
        "group": form.group.strip(),
        "version": base.version if base else 1,
        "members": members,
        "recordings_licence": (form.recordings_licence or "").strip(),
        "weights_licence": (form.weights_licence or "").strip(),
        "accepted_licences": tuple(dict.fromkeys(licence.strip() for licence in form.accepted_licences if licence.strip())),
        "allowed_uses": tuple(form.uses),
        "base_model_notices": base.base_model_notices if base else {},
        "decisions": _read_rules(form, base),
        "answer_within_days": form.answer_within_days,
        "withdrawal_grace_days": form.withdrawal_grace_days,
    }
    try:
        return Agreement.model_validate({**(base.model_dump() if base else {}), **fields})
    except ValidationError as e:
        fault = e.errors()[0]
        where = " ".join(str(part) for part in fault["loc"]).replace("_", " ") or "the agreement"
        raise AgreementError(f"{where}: {fault['msg']}", cure="mend that field") from e


def complete_members(text: str) -> str:
    """The lines of members with an id each."""
    return "\n".join(f"{name} ({id})" for name, id in _parse_members(text))


def _read_members(form: AgreementForm, base: Agreement | None) -> tuple[Member, ...]:
    parsed = _parse_members(form.members)
    if not parsed:
        raise AgreementError("nobody is a member", cure="write their names, one a line")
    members = []
    for name, id in parsed:
        known = base.find_member(id) if base else None
        new = Member(id=id, name=name, consents_to=tuple(form.standing))
        members.append(known.model_copy(update={"name": name, "left": False}) if known else new)
    named = {member.id for member in members}
    former = [member for member in base.members if member.id not in named] if base else []
    return (*members, *(member.model_copy(update={"left": True}) for member in former))


def _parse_members(text: str) -> list[tuple[str, str]]:
    """(name, id) of each line. Raises AgreementError: an id in another form, or twice."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    found = [_LINE.fullmatch(line) for line in lines]
    taken = {match["id"] for match in found if match and match["id"]}
    parsed: list[tuple[str, str]] = []
    for line, match in zip(lines, found, strict=True):
        name, id = (match["name"], match["id"]) if match else (line, "")
        if not id:
            id = suggest_member_id(name, taken)
            taken.add(id)
        if not is_member_id(id):
            cure = "small letters, digits, '_' and '-' only: it stands in file names"
            raise AgreementError(f"{id[:64]!r} is no member id, in the line {line[:80]!r}", cure=cure)
        parsed.append((name or id, id))
    twice = [id for id, count in Counter(id for _, id in parsed).items() if count > 1]
    if twice:
        raise AgreementError(f"two members have the id {', '.join(twice)}", cure="give one of them another id")
    return parsed


def _read_rules(form: AgreementForm, base: Agreement | None) -> dict[ProposalKind, DecisionRule]:
    """A rule that the form did not touch keeps its own quorum and days."""
    before = base.decisions if base else {}
    terms_changed = base is None or (form.quorum, form.days) != _find_common_terms(base)
    rules = {}
    for kind, needs in form.rules.items():
        if needs and kind in before and before[kind].needs == needs and not terms_changed:
            rules[kind] = before[kind]
        elif needs:
            try:
                rules[kind] = DecisionRule.model_validate({"needs": needs, "quorum": form.quorum / 100, "days": form.days})
            except (ValidationError, TypeError) as e:
                raise AgreementError("days or share of the votes do not fit", cure="days: up to 366; share: 0 to 100 %") from e
    return rules


def _find_common_terms(agreement: Agreement) -> tuple[float, float]:
    """Quorum in percent and days that most rules have."""
    terms = Counter((rule.quorum * 100, rule.days) for rule in agreement.decisions.values())
    return terms.most_common(1)[0][0] if terms else (50, 7)
