"""Which version may take a withdrawn one's place: what passes every gate, and what the group accepted where the agreement asks for that."""

from __future__ import annotations

import pytest

from audiotune import governance
from audiotune.domain.release import Evaluation, Release
from audiotune.errors import StoreError
from audiotune.governance import Consent, publish_agreement, record_consent
from audiotune.governance.agreement_record import DecisionRule
from audiotune.governance.decisions import cast_vote, open_proposal
from audiotune.governance.ledger.ledger import open_ledger
from services.generation.engine.release_loader import ReleaseLoader
from services.generation.settings import GenerationSettings
from tests.fakes.described_store import PEOPLE, agreement
from tests.fakes.fake_models import a_release
from tests.fakes.memory_store import MemoryStore

ALL = ("store", "train", "release", "generate")


class TrueLineages(ReleaseLoader):
    """Takes every lineage for true: no dataset lies in this store."""

    def require_consent(self, release: Release) -> None:
        governance.require_permission(self._store, "generate", release.lineage.recordings)


def say(store: MemoryStore, *uses: str) -> None:
    facts = {"recording": "f" * 64, "contributor": "ana", "uses": uses, "basis": "x", "agreement": "0" * 64}
    record_consent(store, Consent.model_validate(facts))


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    publish_agreement(made, agreement())
    say(made, *ALL)
    return made


def may_play(store: MemoryStore, release: Release) -> bool:
    return TrueLineages(GenerationSettings(), store)._may_replace(open_ledger(store).read_state(), release)


@pytest.mark.parametrize("uses", [("generate",), ("release",), (), ALL])
def test_everybody_must_agree_to_release_and_to_generate(store: MemoryStore, uses: tuple[str, ...]) -> None:
    say(store, *uses)
    assert may_play(store, a_release()) is (uses == ALL)


def test_what_did_not_pass_its_evaluation_does_not_play(store: MemoryStore) -> None:
    judged = Evaluation(metrics={}, passed=False, reasons=("it copies",))
    assert not may_play(store, a_release().model_copy(update={"evaluation": judged}))


def test_where_the_agreement_asks_for_it_only_what_the_group_accepted_plays(store: MemoryStore) -> None:
    rule = DecisionRule(needs="majority", quorum=0.5, days=7)
    publish_agreement(store, agreement().model_copy(update={"version": 2, "decisions": {"champion": rule}}))
    assert not may_play(store, a_release("2"))
    proposal = open_proposal(store, "ana", "champion", "play it", change={"release": "patch-bay", "version": "2"})
    for member in PEOPLE:
        if not open_ledger(store).read_state().proposals[proposal.id].outcome:
            cast_vote(store, member, proposal.id, "yes")
    assert may_play(store, a_release("2"))
    assert not may_play(store, a_release("1"))


def test_a_store_that_is_away_says_neither_yes_nor_no(store: MemoryStore) -> None:
    state = open_ledger(store).read_state()
    store.away = True
    with pytest.raises(StoreError):
        TrueLineages(GenerationSettings(), store)._may_replace(state, a_release())
