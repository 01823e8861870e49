"""The form of the agreement: filled and read back it says the same, and what does not fit is said in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audiotune.domain.member import is_member_id, suggest_member_id
from audiotune.errors import AgreementError
from audiotune.governance.agreement_record import DecisionRule, Member
from services.studio.agreement_form import AgreementForm, complete_members, fill_form, read_form
from tests.fakes.described_store import agreement

FIRST = AgreementForm(group="The Five", members="Ana Kos\nBen (ben)\n\n  Ana   Müller \nЮля")


def test_a_first_agreement_comes_from_a_few_words() -> None:
    made = read_form(FIRST, None)
    assert [(m.id, m.name) for m in made.members] == [
        ("ana-kos", "Ana Kos"),
        ("ben", "Ben"),
        ("ana-muller", "Ana Müller"),
        ("member", "Юля"),
    ]
    assert (made.version, made.group, set(made.decisions)) == (1, "The Five", {"agreement", "champion", "publish_release"})
    assert complete_members("Ana\nana (ana)") == "Ana (ana-2)\nana (ana)"


def test_what_was_read_fills_the_same_form() -> None:
    made = read_form(FIRST, None)
    assert read_form(fill_form(made), made) == made


def test_a_change_keeps_what_the_form_does_not_show() -> None:
    rules = {"champion": DecisionRule(needs="veto", quorum=0.25, days=3), "other": DecisionRule(), "exclude": DecisionRule()}
    base = agreement().model_copy(update={"decisions": rules, "base_model_notices": {"a": "b"}, "version": 4})
    form = fill_form(base)
    changed = read_form(replace(form, rules={**form.rules, "exclude": "everybody"}, group="x"), base)
    assert changed.decisions == {**rules, "exclude": DecisionRule(needs="everybody", quorum=0.5, days=7)}
    assert (changed.version, changed.base_model_notices, changed.members) == (4, {"a": "b"}, base.members)
    assert read_form(replace(form, rules={}), base).decisions == {}
    assert read_form(replace(form, days=9), base).decisions["champion"].days == 9


def test_a_line_that_is_gone_is_somebody_who_leaves() -> None:
    base = agreement()
    first, *_ = base.members
    fewer = read_form(replace(fill_form(base), members=f"{first.name} ({first.id})"), base)
    assert [m.left for m in fewer.members] == [False] + [True] * (len(base.members) - 1)
    again = read_form(replace(fill_form(fewer), members=fill_form(base).members), fewer)
    assert again == base
    assert read_form(replace(fill_form(base), members=f"{fill_form(base).members}\nFay", standing=["train"]), base).members[
        -1
    ] == Member(id="fay", name="Fay", consents_to=("train",))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"group": " "}, "the group has no name"),
        ({"members": "\n"}, "nobody is a member"),
        ({"members": "Ana (Ana)"}, "'Ana' is no member id, in the line 'Ana \\(Ana\\)'"),
        ({"members": "Ana (a)\nBen (a)"}, "two members have the id a"),
        ({"recordings_licence": ""}, "recordings licence"),
        ({"days": 0}, "days or share of the votes"),
        ({"quorum": None}, "days or share of the votes"),
        ({"answer_within_days": 0}, "answer within days"),
        ({"answer_within_days": None}, "answer within days"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, object], says: str) -> None:
    with pytest.raises(AgreementError, match=says):
        read_form(replace(FIRST, **change), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("Ana", "ana"),
        ("Øystein Łoś", "oystein-los"),
        ("Æsa Þór", "aesa-thor"),
        ("", "member"),
        ("x" * 99, "x" * 40),
        ("–", "member"),
    ],
)
def test_an_id_is_suggested_from_a_name(name: str, id: str) -> None:
    assert suggest_member_id(name) == id
    assert suggest_member_id(name, {id, f"{id}-2"}) == f"{id}-3"
    assert is_member_id(suggest_member_id(name, {id}))
