"""The governance service over HTTP: which keys may do what, which bodies are refused, and what an error says."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from audiotune.access import accounts
from audiotune.errors import SettingsError, StoreError
from audiotune.governance import Member, publish_agreement, read_consents, read_current_agreement
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.waiting import hold_recording
from audiotune.store import FolderStore
from services.governance.app import GovernanceService
from services.governance.operations import OPERATIONS
from services.governance.settings import GovernanceSettings, load_governance_settings
from tests.fakes.governance_process import ERASURE_KEY, INGEST_KEY, STUDIO_KEY
from tests.fakes.seeded_store import agreement

PASSWORD = "patch cables"
RECORDING = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    accounts.create_account(made, "ana", PASSWORD, "owner", work=1)
    return made


class Caller:
    """A program that calls the service with a key."""

    def __init__(self, store: FolderStore, key: str = STUDIO_KEY, **settings: Any) -> None:
        keys: Any = {"studio_key": STUDIO_KEY, "ingest_key": INGEST_KEY, "erasure_key": ERASURE_KEY}
        service = GovernanceService(store, GovernanceSettings(**keys, **settings))
        self.http = TestClient(service.build_app(), headers={"Authorization": f"Bearer {key}"} if key else {})

    def call(self, operation: str, **fields: Any) -> tuple[int, Any]:
        answer = self.http.post(f"/v1/{operation}", json=fields)
        return answer.status_code, answer.json()


@pytest.mark.parametrize("key", ["", "guessed", STUDIO_KEY + "x", STUDIO_KEY[:-1], "é"])
@pytest.mark.parametrize("operation", [*OPERATIONS, "invented"])
def test_without_a_key_nothing_is_done(store: FolderStore, operation: str, key: str) -> None:
    answer = Caller(store, "").http.post(f"/v1/{operation}", headers=[(b"Authorization", f"Bearer {key}".encode())], json={})
    assert (answer.status_code, answer.json()["error"]) == (401, "AccessError")


def test_an_empty_key_in_the_settings_lets_nobody_in(store: FolderStore) -> None:
    http = TestClient(GovernanceService(store, GovernanceSettings()).build_app())
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": ""}):
        assert http.post("/v1/verify_password", json={}, headers=headers).status_code == 401


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_ingest_publishes_and_records_standing_consent_and_nothing_else(store: FolderStore, operation: str) -> None:
    status, told = Caller(store, INGEST_KEY).call(operation)
    allowed = operation in ("publish_agreement", "record_standing_consents", "hold_recording", "request_decision")
    if operation == "end_due_waiting":  # says nothing: the ledger decides
        assert (status, told) == (200, {"ended": [], "erased": {}, "failed": {}})
        return
    assert (status, told["error"]) == ((422, "SettingsError") if allowed else (403, "ForbiddenError"))


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_the_erasure_job_notes_erasures_and_nothing_else(store: FolderStore, operation: str) -> None:
    status, told = Caller(store, ERASURE_KEY).call(operation)
    expected = (422, "SettingsError") if operation == "record_erasure" else (403, "ForbiddenError")
    assert (status, told["error"]) == expected


def test_an_erasure_that_nobody_asked_for_is_not_noted(store: FolderStore) -> None:
    publish_agreement(store, agreement())
    asked = {"withdrawal": 1, "round": 1, "list": "0" * 64}
    status, told = Caller(store, ERASURE_KEY).call("record_erasure", done=asked)
    assert (status, told["what"]) == (422, "nobody asked for an erasure with event 1")
    status, told = Caller(store, ERASURE_KEY).call("record_erasure", done={"withdrawal": "one"})
    assert (status, told["error"]) == (422, "GovernanceError")


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_unknown_fields_are_refused_and_no_value_is_said_again(store: FolderStore, operation: str) -> None:
    key = ERASURE_KEY if operation == "record_erasure" else STUDIO_KEY
    status, told = Caller(store, key).call(operation, password="my secret words", ticket=7, more=1)
    assert status == 422
    assert "more" in told["what"]
    assert "my secret words" not in json.dumps(told)


def test_only_the_first_agreement_comes_from_a_program(store: FolderStore) -> None:
    ingest, first = Caller(store, INGEST_KEY), agreement()
    assert ingest.call("publish_agreement", agreement=first.model_dump(mode="json"))[0] == 200
    assert ingest.call("publish_agreement", agreement=first.model_dump(mode="json"))[0] == 200  # a run that is started again
    forged = first.model_copy(update={"version": 2, "allowed_uses": ("store",)})
    for caller in (ingest, Caller(store)):
        status, told = caller.call("publish_agreement", agreement=forged.model_dump(mode="json"))
        assert (status, told["error"]) == (403, "ForbiddenError")
        assert "agreement publish" in told["cure"]
    assert read_current_agreement(store) == first


def test_standing_consent_is_what_the_agreement_says_and_withdrawal_stays(store: FolderStore) -> None:
    group = agreement()
    publish_agreement(store, group)
    studio, ingest = Caller(store), Caller(store, INGEST_KEY)
    accounts.create_account(store, "ben", PASSWORD, work=1)
    asked = {"agreement": group.digest, "recording": RECORDING, "contributors": ["ana", "ben", "zoe", "mallory"]}
    status, records = ingest.call("record_standing_consents", **asked)
    assert (status, [record["contributor"] for record in records]) == (
        200,
        ["ana", "ben", "zoe"],
    )  # zoe has left, and stays named
    ticket = studio.call("verify_password", member="ben", password=PASSWORD)[1]["ticket"]
    assert studio.call("record_consent", ticket=ticket, recording=RECORDING, uses=[])[0] == 200
    assert ingest.call("record_standing_consents", **asked) == (200, [])
    assert read_consents(store, [RECORDING])[RECORDING, "ben"].uses == ()
    status, told = ingest.call("record_standing_consents", **{**asked, "agreement": "0" * 64})
    assert (status, told["error"]) == (422, "AgreementError")


def test_a_key_of_the_studio_alone_makes_no_owner(store: FolderStore) -> None:
    publish_agreement(store, agreement())
    before = sorted((entry.key, store.get(entry.key)) for entry in store.list("access/"))
    caller = Caller(store)
    assert caller.call("vouch_for", member="ana", id_token="")[0] == 403
    for ticket in ("", "ana", f"ana.9999999999.password.{'0' * 64}", f"ana.9999999999.provider.{'0' * 64}"):
        assert caller.call("issue_password", ticket=ticket, member="ana")[0] == 401
        assert caller.call("add_identity", ticket=ticket, member="ana", identity="m@evil.example")[0] == 401
        assert caller.call("change_password", ticket=ticket, old="", new="a password of mine")[0] == 401
        assert caller.call("record_consent", ticket=ticket, recording=RECORDING, uses=[])[0] == 401
    assert sorted((entry.key, store.get(entry.key)) for entry in store.list("access/")) == before


def test_large_and_slow_bodies_are_refused_before_they_are_kept(store: FolderStore) -> None:
    caller = Caller(store, body_kb=1)
    status, told = caller.call("verify_password", member="ana", password="x" * 2000)
    assert (status, told["cure"]) == (422, "send 1 kB at most")


def test_secrets_stand_in_no_log(store: FolderStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    caller = Caller(store)
    ticket = caller.call("verify_password", member="ana", password=PASSWORD)[1]["ticket"]
    caller.call("change_password", ticket=ticket, old=PASSWORD, new="short")
    assert "studio: verify_password: done" in caplog.text
    assert not [secret for secret in (PASSWORD, ticket, STUDIO_KEY) if secret in caplog.text]


class AwayStore(FolderStore):
    """A store that answers nothing."""

    away = False

    def list(self, prefix: str, after: str = "") -> Any:
        if self.away:
            raise StoreError("the store is away", where=prefix)
        return super().list(prefix, after)


def test_readiness_follows_the_store_and_health_does_not(tmp_path: Path) -> None:
    store = AwayStore(tmp_path / "store")
    http = Caller(store, "").http
    assert (http.get("/health").text, http.get("/ready").status_code) == ("OK", 200)
    store.away = True
    assert (http.get("/health").text, http.get("/ready").status_code) == ("OK", 503)


def test_a_short_key_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOTUNE_GOVERNANCE_STUDIO_KEY", "too short")
    with pytest.raises(SettingsError, match="STUDIO_KEY.*20 characters") as refusal:
        load_governance_settings()
    assert "too short" not in str(refusal.value)


def test_an_act_of_a_member_asks_for_their_ticket(store: FolderStore) -> None:
    publish_agreement(store, agreement())
    accounts.create_account(store, "ben", PASSWORD, work=1)
    caller, opened = Caller(store), {"kind": "other", "title": "Buy filters", "rule": {}}
    ticket = caller.call("verify_password", member="ben", password=PASSWORD)[1]["ticket"]
    status, number = caller.call("record_event", ticket=ticket, kind="proposal_opened", body=opened)
    assert status == 200
    state = open_ledger(store).read_state()
    assert (number, state.proposals[number].by) == (state.number, "ben")
    refused = [
        caller.call("record_event", ticket="", kind="proposal_opened", body=opened),
        caller.call("record_event", ticket=ticket, kind="earlier_records_taken", body={}),
        caller.call("record_event", ticket=ticket, kind="vote_cast", body={"proposal": number, "choice": "yes", "by": "ana"}),
        caller.call("record_event", ticket=ticket, kind="proposal_opened", body={**opened, "text": "x" * 300_000}),
    ]
    assert [status for status, _ in refused] == [401, 403, 422, 422]
    assert open_ledger(store).read_state().number == number


def test_people_are_asked_by_programs_and_only_the_ledger_ends_it(store: FolderStore) -> None:
    group = agreement().model_copy(update={"members": (*agreement().members, Member(id="dov", name="Dov"))})
    publish_agreement(store, group)
    key = f"waiting/{RECORDING}/one/sound.wav"
    store.put(key, b"bytes")
    ingest = Caller(store, INGEST_KEY)
    said = {"agreement": group.digest, "recording": RECORDING, "contributors": ["ana", "dov"], "sound": key, "uploaded_by": "ana"}
    assert ingest.call("hold_recording", **said) == (200, ["dov"])
    assert (
        ingest.call("hold_recording", **{**said, "sound": f"waiting/{'0' * 64}/one/sound.wav", "recording": "cd" * 32})[0] == 422
    )
    assert ingest.call("hold_recording", **{**said, "agreement": "0" * 64})[1]["error"] == "AgreementError"
    assert ingest.call("end_due_waiting")[1]["ended"] == []
    append_member_event(store, "dov", "recording_answered", {"recording": RECORDING})
    assert ingest.call("end_due_waiting")[1] == {
        "ended": [[RECORDING, "refused", ["dov"]]], "erased": {RECORDING: 1}, "failed": {},
    }  # fmt: skip
    assert not store.exists(key)


def test_the_service_deletes_by_itself_what_waits_no_more(store: FolderStore) -> None:
    group = agreement().model_copy(update={"members": (*agreement().members, Member(id="dov", name="Dov"))})
    publish_agreement(store, group)
    key = f"waiting/{RECORDING}/one/sound.wav"
    store.put(key, b"bytes")
    hold_recording(store, group, RECORDING, ["dov"], key)
    append_member_event(store, "dov", "recording_answered", {"recording": RECORDING})
    keys: Any = {"studio_key": STUDIO_KEY, "ingest_key": INGEST_KEY}
    with TestClient(GovernanceService(store, GovernanceSettings(**keys), upkeep_s=0.05).build_app()):
        wait_until(lambda: not store.exists(key))
        wait_until(lambda: bool(open_ledger(store).read_state().waiting[RECORDING].erased))
        store.put(key, b"an old copy that came back")  # it is looked for again and again
        wait_until(lambda: not store.exists(key))


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)
