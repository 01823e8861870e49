"""`audiotune consent`: what a member agrees to, said at a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from audiotune.access import accounts
from audiotune.cli import main
from audiotune.governance import Member, publish_agreement, read_standing
from audiotune.governance.agreement import ALL_USES
from audiotune.governance.consent import record_standing_consents
from audiotune.governance.consent_record import Consent
from audiotune.governance.ledger.keys import SigningKey, make_key_file
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.governance.use_texts import find_use_text
from audiotune.governance.waiting import hold_recording
from tests.fakes.described_store import agreement, digest
from tests.fakes.layout_store import LayoutStore

ONE, TWO = digest("one"), digest("two")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LayoutStore:
    monkeypatch.setenv("AUDIOTUNE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made, group = LayoutStore(tmp_path / "store"), agreement(Member(id="dee", name="Dee", consents_to=("store",)))
    publish_agreement(made, group)
    for take in (ONE, TWO):
        record_standing_consents(made, group, take, ["ana", "dee"])
    return made


def run(store: LayoutStore, *words: str) -> int:
    return main(["consent", "--store", store.url, *words])


def record_of(store: LayoutStore, take: str, who: str = "dee") -> Consent:
    return open_ledger(LayoutStore(store.root)).read_state().consents[take][who]


def test_a_use_is_given_narrowed_and_shown(store: LayoutStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "give", ONE[:12], "--uses", "train", "--until", "2099-03-31", "--as", "dee") == 0
    said = capsys.readouterr().out
    assert "Train: the group trains models on its segments" in said
    record = record_of(store, ONE)
    assert record.uses == ("store", "train")
    assert find_use_text(record.text) in said  # the words behind the digest are those that were printed
    assert run(store, "show", ONE, "--of", "dee") == 0
    assert f"{ONE[:12]}\tdee\tstore train, until 2099-03-31\tin the ledger's event" in capsys.readouterr().out
    assert run(store, "narrow", ONE, "--uses", "train", "--as", "dee") == 0
    assert (record_of(store, ONE).uses, record_of(store, TWO).uses) == (("store",), ("store",))
    assert run(store, "give", ONE, "--no-end", "--as", "dee") == 0
    assert record_of(store, ONE).until is None


def test_all_of_mine(store: LayoutStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "give", "--all", "--uses", *ALL_USES, "--as", "dee") == 0
    assert [record_of(store, take).uses for take in (ONE, TWO)] == [ALL_USES] * 2
    assert run(store, "narrow", "--all", "--uses", "store", "--as", "dee") == 0  # what is not kept is not used
    assert read_standing(LayoutStore(store.root))["dee"].uses == ()
    capsys.readouterr()
    assert run(store, "show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"all of theirs\tana\t{' '.join(ALL_USES)}\tas the agreement says" in lines
    assert any(line.startswith("all of theirs\tdee\tnothing\tevent ") for line in lines)


def test_a_withdrawal_says_what_hangs_on_it_first(store: LayoutStore, capsys: pytest.CaptureFixture[str]) -> None:
    before = open_ledger(store).read_state().number
    assert run(store, "withdraw", "--all", "--as", "ana", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "All your recordings, also later ones; now 2 recordings. What you take back: every use." in said
    assert "They are in 0 segments, and in 0 datasets." in said
    assert open_ledger(LayoutStore(store.root)).read_state().number == before
    assert run(store, "withdraw", ONE, "--as", "ana", "--why", "it is out of tune") == 0
    said = capsys.readouterr().out
    assert said.startswith("1 recording. What you take back: every use.")
    assert said.endswith("every gate asks from now on\nNothing else had to follow.\n")
    (withdrawal,) = open_ledger(LayoutStore(store.root)).read_state().withdrawals.values()
    assert (withdrawal.member, withdrawal.recordings, withdrawal.why) == ("ana", (ONE,), "it is out of tune")


def test_where_members_sign_in_nobody_speaks_for_them(
    store: LayoutStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.create_account(store, "dee", "patch cables", work=1)
    assert run(store, "give", ONE, "--uses", "train", "--as", "dee") == 1
    assert "members sign in here" in capsys.readouterr().err
    for password, code in (("wrong cables", 1), ("patch cables", 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        assert run(store, "give", ONE, "--uses", "train", "--sign-in", "dee") == code
    assert "name and password do not fit" in capsys.readouterr().err
    assert record_of(store, ONE).uses == ("store", "train")


def test_a_members_own_key_signs_it(store: LayoutStore, tmp_path: Path) -> None:
    key: SigningKey = make_key_file(tmp_path / "key")
    append_member_event(store, "dee", "member_key_registered", {"key": key.public.hex()})
    assert run(store, "give", ONE, "--uses", "train", "--as", "dee", "--key", str(tmp_path / "key")) == 0
    assert main(["ledger", "--store", store.url, "verify"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["give", ONE, "--as", "dee"], "Name --uses, --until or --no-end"),
        (["narrow", ONE, "--as", "dee"], "`withdraw` takes back everything"),
        (["give", "--uses", "train", "--as", "dee"], "about no recording"),
        (["give", ONE, "--all", "--uses", "train", "--as", "dee"], "some recordings, or all?"),
        (["give", ONE, "--uses", "train"], "nobody says this"),
        (["give", "abc", "--uses", "train", "--as", "dee"], "no recording that somebody agreed to begins with 'abc'"),
        (["give", digest("x"), "--uses", "train", "--as", "dee"], "no recording that somebody agreed to"),
        (["give", ONE, "--uses", "train", "--as", "Dee"], "did you mean 'dee'?"),
        (["give", ONE, "--uses", "train", "--as", "eve"], "no member of the agreement"),
        (["give", ONE, "--uses", "train", "--as", "ben"], "ben is not named as a player"),
        (["give", ONE, "--uses", "train", "--as", "dee", "--until", "2026-01-01"], "this end has passed already"),
        (["give", ONE, "--as", "dee", "--until", "tomorrow"], "'tomorrow' is no date"),
    ],
)
def test_what_does_not_fit_is_told(store: LayoutStore, capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    before = open_ledger(store).read_state().number
    assert run(store, *words) == 1
    assert says.lower() in capsys.readouterr().err.lower()
    assert open_ledger(LayoutStore(store.root)).read_state().number == before


def test_what_waits_too_long_is_ended(store: LayoutStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "expire") == 0
    assert capsys.readouterr().out == "nothing is due\n"
    group = agreement(Member(id="dee", name="Dee")).model_copy(update={"version": 2})
    publish_agreement(store, group)
    waits = digest("waits")
    store.put(f"waiting/{waits}/take/sound.wav", b"a sound")
    hold_recording(store, group, waits, ["dee"], f"waiting/{waits}/take/sound.wav")
    append_member_event(store, "dee", "recording_answered", {"recording": waits})
    assert run(store, "expire") == 0
    assert f"{waits[:12]}\trefused\tdee" in capsys.readouterr().out
    assert not store.exists(f"waiting/{waits}/take/sound.wav")
