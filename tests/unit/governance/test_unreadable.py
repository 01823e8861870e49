"""What lies under `governance/` and is no record of ours: keys of another form are passed over, what cannot be read closes the gates."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.errors import AgreementError, ConsentError, LedgerError, UnreadableAgreementError, UnreadableConsentError
from audiotune.governance import (
    Consent,
    Member,
    publish_agreement,
    read_consents,
    read_current_agreement,
    record_consent,
    require_permission,
)
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement, digest
from tests.fakes.layout_store import LayoutStore

TAKE, OTHER = digest("take"), digest("other")
NUMBER_ONE = f"governance/consents/{TAKE}/ana/00000001.json"


@pytest.fixture
def earlier(tmp_path: Path) -> FolderStore:
    """A store of 0.2, without a ledger, in which ana agreed to everything."""
    store = FolderStore(tmp_path / "earlier")
    store.put("governance/agreements/000001.json", agreement().model_dump_json().encode())
    store.put(NUMBER_ONE, consent("ana", *ALL_USES).to_bytes())
    return store


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = LayoutStore(tmp_path / "store")
    publish_agreement(store, agreement())
    record_consent(store, consent("ana", *ALL_USES))
    return store


def consent(who: str, *uses: Use, recording: str = TAKE) -> Consent:
    return Consent(recording=recording, contributor=who, uses=uses, basis="by hand", agreement="0" * 64)


def passes(store: FolderStore) -> bool:
    try:
        require_permission(store, "generate", {TAKE: ["ana"]})
    except ConsentError:
        return False
    return True


@pytest.mark.parametrize(
    "key",
    [
        "governance/agreements/000001.json.bak",
        "governance/agreements/000009.JSON",
        "governance/agreements/9.json",
        "governance/agreements/0000009.json",
        "governance/agreements/old/000009.json",
        "governance/agreements/read me",
        "governance/agreements/9999999999.json",
        f"governance/consents/{TAKE}/ana/00000002.json.bak",
        f"governance/consents/{TAKE}/ana/2.json",
        f"governance/consents/{TAKE}/ana/notes/00000002.json",
        f"governance/consents/{TAKE}/Ana/00000002.json",
        f"governance/consents/{TAKE}/00000002.json",
        f"governance/consents/{TAKE}/.DS_Store",
        "governance/consents/about.txt",
    ],
)
def test_a_stray_object_changes_nothing(store: FolderStore, key: str) -> None:
    store.put(key, b"a note")
    assert passes(store)
    record_consent(store, consent("ana"))
    assert not passes(store)
    publish_agreement(store, agreement().model_copy(update={"version": 2}))


NEWER = consent("ana", *ALL_USES).model_dump_json().replace('"basis"', '"colour":"red","basis"').encode()


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"\xff\xfe", b"[]", NEWER, consent("ben", *ALL_USES).to_bytes(),
                                  consent("ana", *ALL_USES, recording=OTHER).to_bytes()])  # fmt: skip
def test_a_record_that_cannot_be_read_closes_every_gate(earlier: FolderStore, data: bytes) -> None:
    earlier.put(NUMBER_ONE, data)
    with pytest.raises(UnreadableConsentError, match="recording consent") as caught:
        require_permission(earlier, "finetune", {TAKE: ["ana"]})
    assert caught.value.where == NUMBER_ONE
    record_consent(earlier, consent("ben", *ALL_USES, recording=OTHER))  # it opens the ledger
    assert not passes(earlier)
    record_consent(earlier, consent("ana", *ALL_USES))  # the cure that it names
    assert passes(earlier)


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"\xff", agreement().model_copy(update={"version": 7}).model_dump_json().encode(),
                                  agreement().model_dump_json().replace('"group"', '"colour":3,"group"').encode()])  # fmt: skip
@pytest.mark.parametrize("opened", [False, True])
def test_an_agreement_that_cannot_be_read_closes_every_gate(earlier: FolderStore, data: bytes, opened: bool) -> None:
    earlier.put("governance/agreements/000002.json", data)
    if opened:
        record_consent(earlier, consent("ben", *ALL_USES, recording=OTHER))
    with pytest.raises(UnreadableAgreementError, match="ublish version 3") as caught:
        require_permission(earlier, "finetune", {TAKE: ["ana"]})
    assert caught.value.where == "governance/agreements/000002.json"
    third = agreement().model_copy(update={"version": 3})
    with pytest.raises(AgreementError, match="version 2 .* in force"):
        publish_agreement(earlier, third.model_copy(update={"version": 2}))
    publish_agreement(earlier, third)
    assert read_current_agreement(earlier) == third


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"\xff\xfe", b"[]", b'{"kind": "party"}'])
def test_an_event_that_cannot_be_read_closes_every_gate(store: FolderStore, data: bytes) -> None:
    key = max(entry.key for entry in store.list("governance/ledger/"))
    store.put(key, data)
    fresh = FolderStore(store.root)  # another process; this one has read the event before
    with pytest.raises(LedgerError, match="cannot be read") as caught:
        require_permission(fresh, "finetune", {TAKE: ["ana"]})
    assert caught.value.where == key
    with pytest.raises(LedgerError):
        read_current_agreement(fresh)
    with pytest.raises(LedgerError):
        record_consent(fresh, consent("ana"))


def test_versions_are_numbers_and_not_text(store: FolderStore) -> None:
    for version in (999_999, 1_000_000, 1_000_001):
        publish_agreement(store, agreement().model_copy(update={"version": version}))
        assert getattr(read_current_agreement(store), "version", 0) == version
    with pytest.raises(AgreementError, match="Set version = 1000002"):
        publish_agreement(store, agreement(Member(id="eve", name="Eve")).model_copy(update={"version": 999_999}))


def test_a_record_names_a_recording_and_a_member(store: FolderStore) -> None:
    for one in (consent("../ben", "store"), consent("Ben", "store"), consent("ben", "store", recording="take")):
        with pytest.raises(ConsentError, match="names no recording and member"):
            record_consent(store, one)
    assert set(read_consents(store, [TAKE])) == {(TAKE, "ana")}
