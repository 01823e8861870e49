from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from audiotune import errors
from audiotune.domain.recording import MOST_CONTRIBUTORS
from audiotune.errors import AgreementError, AudioTuneError, ConsentError
from audiotune.governance import (
    Agreement,
    Consent,
    Member,
    decide_policy,
    load_agreement,
    publish_agreement,
    read_consents,
    read_current_agreement,
    record_consent,
    require_permission,
)
from audiotune.governance.agreement import ALL_USES, Use
from audiotune.governance.consent import record_standing_consents
from audiotune.governance.consent_record import ExceptedPart
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.policy import REQUIRED_USES, Gate
from audiotune.store import FolderStore
from tests import REPOSITORY
from tests.fakes.described_store import agreement, digest
from tests.fakes.layout_store import LayoutStore

TAKE = digest("take")
EXAMPLE = REPOSITORY / "agreement.example.toml"
PLAIN = """
group = "The Patch Bay Five"
version = 1
recordings_licence = "LicenseRef-members-only"
weights_licence = "LicenseRef-co-owned"
[[members]]
id = "ana"
name = "Ana"
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


def consent(who: str, *uses: Use, at: int = 0) -> Consent:
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    return Consent(recording=TAKE, contributor=who, uses=uses, basis="by hand", agreement="0" * 64, time=time)


def given(*consents: Consent) -> dict[tuple[str, str], Consent]:
    return {(one.recording, one.contributor): one for one in consents}


class TestAgreement:
    def test_the_example_is_an_agreement(self) -> None:
        example = load_agreement(EXAMPLE)
        assert len(example.members) == 5
        assert "Powered by Stability AI" in example.find_notice("stabilityai/stable-audio-open-1.0")
        assert example.find_notice("tiny") == ""

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (("version = 1", "version = 0"), "version"),
            (("version = 1", ""), "version"),
            (("version = 1", "version = 1000000000"), "less than or equal to 999999999"),
            (('id = "ana"', 'id = "Ana Maria"'), "no member id"),
            (('id = "ana"', 'id = "../ana"'), "no member id"),
            (('name = "Ana"', 'name = "Ana"\n[[members]]\nid = "ana"\nname = "Anna"'), "two members share the id ana"),
            (('name = "Ana"', 'name = "Ana"\nconsents_to = ["sell"]'), "consents_to"),
            (("group =", "colour = 3\ngroup ="), "colour"),
            (("group =", "group"), "no TOML"),
            (("group =", f"{'a.' * 100_000}a = 1\ngroup ="), "no TOML: line 2 has more than 50 dots"),
            (('[[members]]\nid = "ana"\nname = "Ana"', ""), "members"),
        ],
    )
    def test_what_does_not_fit_is_named(self, change: tuple[str, str], says: str) -> None:
        assert change[0] in PLAIN
        with pytest.raises(AgreementError, match=says):
            load_agreement(PLAIN.replace(*change).encode())

    def test_no_text_and_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(AgreementError, match="no TOML"):
            load_agreement(b"\xff\xfe")
        with pytest.raises(AgreementError, match="Copy agreement.example.toml") as caught:
            load_agreement(tmp_path / "none.toml")
        assert "none.toml" in caught.value.where

    def test_versions_are_kept(self, store: FolderStore) -> None:
        first = load_agreement(PLAIN.encode())
        assert read_current_agreement(store) is None
        assert publish_agreement(store, first) == publish_agreement(store, first)  # the same again changes nothing
        second = first.model_copy(update={"version": 2, "group": "The Six"})
        publish_agreement(store, second)
        assert read_current_agreement(store) == second
        assert open_ledger(store).read_state().agreements == {first.digest: 1, second.digest: 2}

    @pytest.mark.parametrize("version", [1, 2])
    def test_a_version_in_force_is_not_changed(self, store: FolderStore, version: int) -> None:
        first = load_agreement(PLAIN.encode()).model_copy(update={"version": 2})
        publish_agreement(store, first)
        with pytest.raises(AgreementError, match="set version = 3|Set version = 3"):
            publish_agreement(store, first.model_copy(update={"version": version, "group": "Others"}))
        assert read_current_agreement(store) == first

    def test_the_digest_tells_versions_apart(self) -> None:
        first = load_agreement(PLAIN.encode())
        assert first.digest == load_agreement(PLAIN.encode()).digest
        assert first.digest != first.model_copy(update={"version": 2}).digest


class TestConsent:
    def test_the_record_that_arrived_last_counts(self, store: FolderStore) -> None:
        for one in (consent("ana", *ALL_USES, at=2), consent("ana", "store", "train", at=1), consent("ben", "store", at=9)):
            record_consent(store, one)
        found = read_consents(store, [TAKE, digest("other")])
        assert found[TAKE, "ana"].uses == ("store", "train")
        assert set(found) == {(TAKE, "ana"), (TAKE, "ben")}

    def test_records_are_never_overwritten(self, store: FolderStore) -> None:
        keys = [record_consent(store, consent("ana", use)) for use in ("store", "train")]
        assert keys == [f"governance/ledger/000000000{number}.json" for number in (3, 4)]  # opened, and put in force
        assert b'"store"' in store.get(keys[0])

    def test_standing_consent_is_written_once(self, store: FolderStore) -> None:
        group = agreement(Member(id="dee", name="Dee"))
        made = record_standing_consents(store, group, TAKE, ["ana", "dee", "eve"])
        assert [(one.contributor, one.uses) for one in made] == [("ana", ALL_USES), ("dee", ())]  # dee is asked
        assert made[0].agreement == group.digest
        assert record_standing_consents(store, group, TAKE, ["ana"]) == []

    def test_standing_consent_does_not_overrule_a_withdrawal(self, store: FolderStore) -> None:
        record_consent(store, consent("ana"))
        assert record_standing_consents(store, agreement(), TAKE, ["ana"]) == []
        assert read_consents(store, [TAKE])[TAKE, "ana"].uses == ()

    def test_fields_that_say_nothing_are_not_written(self) -> None:
        """What a record of earlier programs says keeps its bytes, and they can read a record that uses nothing new."""
        plain = consent("ana", "train")
        assert set(json.loads(plain.to_bytes())) == {"recording", "contributor", "uses", "basis", "agreement", "time"}
        full = plain.model_copy(
            update={
                "until": datetime(2027, 1, 1, tzinfo=UTC),
                "text": digest("words"),
                "excepted": (ExceptedPart(start_s=1, end_s=2.5),),
                "heard": False,
                "follows": (digest("other"),),
            }
        )
        assert Consent.model_validate_json(full.to_bytes()) == full
        assert full.to_bytes() != plain.to_bytes()

    @pytest.mark.parametrize(
        "wrong",
        [
            {"until": "2027-01-01T00:00:00"},  # of which time zone?
            {"text": "a" * 63},
            {"excepted": [{"start_s": 2, "end_s": 2}]},
            {"excepted": [{"start_s": -1, "end_s": 2}]},
            {"uses": ["sell"]},
        ],
    )
    def test_a_consent_that_does_not_fit_is_refused(self, wrong: dict[str, object]) -> None:
        fields = json.loads(consent("ana", "train").to_bytes())
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Consent.model_validate(fields | wrong)


class TestPolicy:
    def test_every_gate_needs_a_use(self) -> None:
        assert set(REQUIRED_USES) == set(get_args(Gate))
        assert set(REQUIRED_USES.values()) == set(ALL_USES)

    @pytest.mark.parametrize(
        ("gate", "use"),
        [
            ("ingest", "store"),
            ("annotate_merge", "train"),
            ("encode", "train"),
            ("finetune", "train"),
            ("evaluate", "train"),
            ("register", "release"),
            ("champion", "release"),
            ("generate", "generate"),
            ("export", "release"),
            ("publish", "publish"),
            ("earn", "earn"),
        ],
    )
    def test_exactly_the_use_a_gate_needs_opens_it(self, gate: Gate, use: Use) -> None:
        others = tuple(other for other in ALL_USES if other != use)
        assert decide_policy(gate, agreement(), given(consent("ana", use)), {TAKE: ["ana"]}).is_allowed
        refused = decide_policy(gate, agreement(), given(consent("ana", *others)), {TAKE: ["ana"]})
        assert refused.reasons == (f"ana has not agreed to {use}",)

    @pytest.mark.parametrize("gate", get_args(Gate))
    def test_without_a_record_only_ingest_takes_standing_consent(self, gate: Gate) -> None:
        assert decide_policy(gate, agreement(), {}, {TAKE: ["ana"]}).is_allowed == (gate == "ingest")

    def test_an_agreement_that_says_nothing_allows_neither_publication_nor_income(self) -> None:
        for gate in ("publish", "earn"):
            group = load_agreement(PLAIN.encode())
            reasons = decide_policy(gate, group, given(consent("ana", *ALL_USES)), {TAKE: ["ana"]}).reasons
            assert reasons == (f"the agreement does not allow to {gate}",)

    @pytest.mark.parametrize(("hours", "passes"), [(-1, True), (0, False), (1, False)])
    def test_a_consent_ends_at_its_date(self, hours: int, passes: bool) -> None:
        end = datetime(2026, 10, 1, tzinfo=UTC)
        ending = consent("ana", *ALL_USES).model_copy(update={"until": end})
        moment = end + timedelta(hours=hours)
        decision = decide_policy("generate", agreement(), given(ending), {TAKE: ["ana"]}, now=moment)
        assert decision.is_allowed == passes
        assert decision.reasons == (() if passes else ("ana's consent to generate ended on 2026-10-01",))
        assert decide_policy("generate", agreement(), given(ending), {TAKE: ["ana"]}).is_allowed == (datetime.now(UTC) < end)

    def test_everybody_heard_must_agree(self) -> None:
        decision = decide_policy("finetune", agreement(), given(consent("ana", "train")), {TAKE: ["ana", "ben"]})
        assert decision.refused == {TAKE: ("ben has not agreed to train",)}

    def test_each_recording_is_decided_alone(self) -> None:
        other = digest("other")
        decision = decide_policy("finetune", agreement(), given(consent("ana", "train")), {TAKE: ["ana"], other: ["ana"]})
        assert set(decision.refused) == {other}

    @pytest.mark.parametrize(
        ("people", "reason"),
        [
            (["eve"], "'eve' is no member in the agreement"),
            (["zoe"], "zoe has left the group"),
            ([], "nobody is named as contributor"),
        ],
    )
    def test_people_outside_the_group_are_refused(self, people: list[str], reason: str) -> None:
        group = agreement(Member(id="zoe", name="Zoe", consents_to=ALL_USES, left=True))
        records = given(*(consent(who, *ALL_USES) for who in people))
        assert decide_policy("finetune", group, records, {TAKE: people}).reasons == (reason,)

    def test_consent_cannot_widen_the_agreement(self) -> None:
        group = agreement().model_copy(update={"allowed_uses": ("store",)})
        assert decide_policy("finetune", group, given(consent("ana", *ALL_USES)), {TAKE: ["ana"]}).reasons == (
            "the agreement does not allow to train",
        )

    def test_require_asks_the_store(self, store: FolderStore) -> None:
        with pytest.raises(AgreementError, match="no agreement"):
            require_permission(store, "finetune", {TAKE: ["ana"]})
        publish_agreement(store, agreement())
        with pytest.raises(ConsentError, match="1 of 1 recordings.*ana has not agreed to train in gate finetune"):
            require_permission(store, "finetune", {TAKE: ["ana"]})
        record_consent(store, consent("ana", "train", at=1))
        assert require_permission(store, "finetune", {TAKE: ["ana"]}) == agreement()
        record_consent(store, consent("ana", at=2))
        with pytest.raises(ConsentError):
            require_permission(store, "finetune", {TAKE: ["ana"]})

    def test_nothing_asked_nothing_refused(self) -> None:
        assert decide_policy("finetune", agreement(), {}, {}).is_allowed

    @pytest.mark.parametrize("gate", get_args(Gate))
    def test_behind_ingest_somebody_must_be_asked(self, store: FolderStore, gate: Gate) -> None:
        publish_agreement(store, agreement())
        if gate == "ingest":
            require_permission(store, gate, {})
        else:
            with pytest.raises(ConsentError, match="nobody can be asked"):
                require_permission(store, gate, {})

    def test_a_bounded_number_is_asked(self) -> None:
        names = [f"m{number}" for number in range(MOST_CONTRIBUTORS + 1)]
        refused = decide_policy("finetune", agreement(), {}, {TAKE: names}).reasons
        assert refused == ("257 contributors are named, 256 are the most",)


class TestErrors:
    def test_an_error_has_what_where_and_cure(self) -> None:
        error = AudioTuneError("it is cut", where="take.wav", cure="record it again")
        assert str(error) == "it is cut in take.wav. Record it again"
        assert str(AudioTuneError("it is cut")) == "it is cut"

    def test_the_tree_drawn_is_the_tree(self) -> None:
        drawn = {word for word in (errors.__doc__ or "").replace("─", " ").split() if word.endswith("Error")}
        real = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, AudioTuneError)}
        assert drawn == real

    def test_errors_travel_between_processes(self) -> None:
        import pickle

        error = ConsentError("no", where="here", cure="ask")
        again: Any = pickle.loads(pickle.dumps(error))
        assert isinstance(again, ConsentError)
        assert again.what == "no"


def test_agreement_is_closed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        agreement().version = 3  # type: ignore[misc]
    assert Agreement.model_validate_json(agreement().model_dump_json()) == agreement()
