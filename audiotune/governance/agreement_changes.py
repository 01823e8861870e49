"""What differs between two versions of an agreement: in words, and by which decisions it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from audiotune.governance.agreement_record import Agreement, DecisionRule, Member, ProposalKind
from audiotune.governance.agreement_words import KIND_WORDS, describe_licence, describe_rule
from audiotune.governance.use_texts import USE_WORDS

T = TypeVar("T", bound=str)
# Shown in sentences of their own; every other field is shown by its name.
_DESCRIBED = frozenset(
    {
        "version",
        "members",
        "group",
        "recordings_licence",
        "weights_licence",
        "accepted_licences",
        "allowed_uses",
        "decisions",
        "base_model_notices",
    }
)


def describe_changes(old: Agreement | None, new: Agreement) -> list[str]:
    """The difference in sentences; empty where only the version differs. Without `old`: nothing was agreed before."""
    if old is None:
        return [f"the first agreement of {new.group}"]
    lines = [f"the group is called {new.group} instead of {old.group}"] if old.group != new.group else []
    lines += _describe_members(old, new)
    for words, was, now in (
        ("members' recordings", old.recordings_licence, new.recordings_licence),
        ("releases", old.weights_licence, new.weights_licence),
    ):
        if was != now:
            lines.append(f"licence of {words}: {describe_licence(now)} instead of {describe_licence(was)}")
    lines += _describe_set("recordings from outside", old.accepted_licences, new.accepted_licences, describe_licence)
    lines += _describe_set("the group may", old.allowed_uses, new.allowed_uses, lambda use: USE_WORDS[use])
    lines += _describe_decisions(old, new)
    lines += _describe_notices(old, new)
    for name in Agreement.model_fields.keys() - _DESCRIBED:
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            lines.append(f"{name.replace('_', ' ')}: {now:g} instead of {was:g}")
    return lines


def _describe_members(old: Agreement, new: Agreement) -> Iterator[str]:
    before, after = ({member.id: member for member in one.members} for one in (old, new))
    for id, member in after.items():
        was = before.get(id)
        who = f"{member.name} ({id})"
        if was is None:
            yield f"{who} joins" if not member.left else f"{who} is named as somebody who has left"
            was = Member(id=id, name=member.name)
        elif was.left != member.left:
            yield f"{who} leaves" if member.left else f"{who} comes back"
        if was.name != member.name:
            yield f"{id} is called {member.name} instead of {was.name}"
        yield from _describe_set(
            f"{member.name} says yes beforehand to", was.consents_to, member.consents_to, USE_WORDS.__getitem__
        )
    yield from (f"{member.name} ({id}) leaves" for id, member in before.items() if id not in after and not member.left)


def _describe_set(about: str, old: Collection[T], new: Collection[T], name: Callable[[T], str]) -> Iterator[str]:
    added, removed = ([name(one) for one in ones if one not in others] for ones, others in ((new, old), (old, new)))
    if added:
        yield f"{about}: now also {', '.join(added)}"
    if removed:
        yield f"{about}: no longer {', '.join(removed)}"


def _describe_decisions(old: Agreement, new: Agreement) -> Iterator[str]:
    for kind in {**old.decisions, **new.decisions}:
        was, now = old.decisions.get(kind), new.decisions.get(kind)
        if now is None:
            yield f"to {KIND_WORDS[kind]} needs no decision any more"
        elif was != now:
            instead = f" instead of: {describe_rule(was)}" if was else ""
            yield f"to {KIND_WORDS[kind]} needs a decision: {describe_rule(now)}{instead}"


def _describe_notices(old: Agreement, new: Agreement) -> Iterator[str]:
    for base in {**old.base_model_notices, **new.base_model_notices}:
        was, now = old.find_notice(base), new.find_notice(base)
        if was != now:
            yield f"notice for releases on {base}: {now}" if now else f"no notice for releases on {base} any more"


def find_rule(agreement: Agreement, kind: ProposalKind) -> DecisionRule:
    """How a kind is decided. Who joins or is excluded is decided as any change of the agreement where no rule of its own is named."""
    return agreement.decisions.get(_find_deciding_kind(agreement, kind) or kind, DecisionRule())


def list_deciding_kinds(old: Agreement | None, new: Agreement) -> list[ProposalKind]:
    """The kinds of decision that a change needs by the agreement in force; empty where an owner may make it."""
    if old is None:
        return []
    touched: list[ProposalKind] = []
    active = [{member.id for member in one.members if not member.left} for one in (old, new)]
    if active[1] - active[0]:
        touched.append("take_in")
    if active[0] - active[1]:
        touched.append("exclude")
    if _strip_membership(old, new) != _strip_membership(new, old):
        touched.append("agreement")
    return list(dict.fromkeys(kind for one in touched if (kind := _find_deciding_kind(old, one))))


def _find_deciding_kind(agreement: Agreement, kind: ProposalKind) -> ProposalKind | None:
    """The kind whose rule decides this; None where the agreement names none."""
    if kind in agreement.decisions:
        return kind
    return "agreement" if kind in ("take_in", "exclude") and "agreement" in agreement.decisions else None


def _strip_membership(one: Agreement, other: Agreement) -> Agreement:
    """All but the version and who is in the group: the fields, and what both versions say about the same members."""
    both = {member.id for member in one.members} & {member.id for member in other.members}
    members = sorted((m.model_copy(update={"left": False}) for m in one.members if m.id in both), key=lambda m: m.id)
    nobody = (Member(id="nobody", name=""),)
    return one.model_copy(update={"version": 1, "members": tuple(members) or nobody})


def keep_former_members(old: Agreement | None, new: Agreement, settled: Collection[str] = ()) -> Agreement:
    """The new version with everybody whom the old one names: who is not in it any more has left.

    Args:
        settled: members whose coming or going was an event of its own; a text that does not know it changes nothing of it.
    """
    if old is None:
        return new
    before, after = ({member.id: member for member in one.members} for one in (old, new))
    members = [
        member.model_copy(update={"left": before[member.id].left}) if member.id in settled and member.id in before else member
        for member in new.members
    ]
    for id, member in before.items():
        if id not in after:
            members.append(member if id in settled else member.model_copy(update={"left": True}))
    return new.model_copy(update={"members": tuple(members)})
