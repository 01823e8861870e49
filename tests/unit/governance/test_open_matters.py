"""What waits for a member: everything that is theirs to answer, nothing that is not, and news for some days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audiotune.governance import Consent, publish_agreement, record_consent
from audiotune.governance.ledger.keys import generate_key
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.open_matters import NEWS_DAYS, StoredNews, list_open_matters
from audiotune.governance.waiting_record import ASKED
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement, digest
from tests.fakes.layout_store import LayoutStore

NOW = datetime.now(UTC)
OPENED: dict[str, Any] = {"kind": "other", "title": "Buy filters", "rule": {}}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = LayoutStore(tmp_path / "store")
    publish_agreement(made, agreement())
    for who in ("ana", "ben", "chi"):
        append_member_event(made, who, "agreement_signed", {"agreement": agreement().digest})
    return made


def state_of(store: FolderStore) -> GovernanceState:
    return open_ledger(store).read_state()


def ids(store: FolderStore, member: str, now: datetime = NOW, *stored: StoredNews) -> list[str]:
    return [one.id for one in list_open_matters(state_of(store), member, now, stored)]


def test_nothing_waits_for_who_has_done_everything_or_is_outside(store: FolderStore) -> None:
    append_member_event(store, "ana", "proposal_opened", OPENED)
    assert ids(store, "mallory") == []
    assert ids(store, "") == []
    assert list_open_matters(GovernanceState(), "ana", NOW) == []


def test_a_proposal_waits_until_the_vote_or_its_end(store: FolderStore) -> None:
    number = append_member_event(store, "ana", "proposal_opened", OPENED)
    assert ids(store, "ana") == ids(store, "ben") == [f"proposal-{number}"]
    append_member_event(store, "ben", "vote_cast", {"proposal": number, "choice": "abstain"})
    assert ids(store, "ben") == []
    (matter,) = list_open_matters(state_of(store), "ana", NOW)
    assert "“Buy filters”" in matter.words
    assert ids(store, "ana", state_of(store).proposals[number].ends) == []


def test_an_agreement_waits_for_its_signature_and_so_does_its_next_version(store: FolderStore) -> None:
    publish_agreement(store, agreement().model_copy(update={"version": 2, "withdrawal_grace_days": 3}))
    assert ids(store, "ana") == ["agreement-2"]
    append_member_event(store, "ana", "agreement_signed", {"agreement": state_of(store).agreement.digest})  # type: ignore[union-attr]
    assert (ids(store, "ana"), ids(store, "ben")) == ([], ["agreement-2"])


def test_recordings_wait_for_the_one_who_was_asked(store: FolderStore) -> None:
    for name in ("one", "two"):
        record_consent(store, Consent(recording=digest(name), contributor="ben", uses=(), basis=f"{ASKED}", agreement="0" * 64))
    (matter,) = list_open_matters(state_of(store), "ben", NOW)
    assert (matter.kind, matter.count, matter.words) == ("recording", 2, "2 recordings wait for your word")
    assert ids(store, "ana") == []


def test_a_lost_key_waits_for_the_others(store: FolderStore) -> None:
    key = generate_key()
    append_member_event(store, "ana", "member_key_registered", {"key": key.public.hex()})
    append_member_event(store, "ana", "member_key_lost", {"key_id": key.id})
    assert (ids(store, "ana"), ids(store, "ben")) == ([], [f"key-{key.id}"])
    append_member_event(store, "chi", "key_loss_confirmed", {"key_id": key.id})
    assert ids(store, "ben") == []


def test_news_is_new_for_some_days_and_waits_for_nothing(store: FolderStore) -> None:
    record_consent(store, Consent(recording=digest("one"), contributor="ana", uses=("store",), basis="x", agreement="0" * 64))
    number = append_member_event(store, "ana", "withdrawal_recorded", {"recordings": [digest("one")]})
    release = StoredNews("release-x", "release", NOW, "jam 3 is a new release")
    run = StoredNews("run-1", "run", NOW, "your training is done", for_member="ben")
    assert ids(store, "ben", NOW, release, run) == [f"withdrawal-{number}", "release-x", "run-1"]
    assert ids(store, "ana", NOW, release, run) == ["release-x"]  # ana knows that she withdrew, and it was not her run
    assert all(one.is_news for one in list_open_matters(state_of(store), "ben", NOW, [release, run]))
    assert ids(store, "ben", NOW + timedelta(days=NEWS_DAYS, minutes=5), release, run) == []
