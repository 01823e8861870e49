"""`audiotune consent waiting | answer | except | expire`: what a musician types, and what they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.access import accounts
from audiotune.cli import main
from audiotune.governance import Member, publish_agreement, read_consents
from audiotune.governance.consent import record_standing_consents
from audiotune.governance.use_texts import compute_text_digest
from audiotune.governance.waiting import hold_recording
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement, digest
from tests.fakes.layout_store import LayoutStore

TAKE, OWN = digest("take"), digest("own")
GROUP = agreement(Member(id="dov", name="Dov"), Member(id="eli", name="Eli"))


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = LayoutStore(tmp_path / "store")
    publish_agreement(made, GROUP)
    key = f"waiting/{TAKE}/one/sound.wav"
    made.put(key, b"bytes")
    hold_recording(made, GROUP, TAKE, ["ana", "dov", "eli"], key, "ana")
    record_standing_consents(made, GROUP, OWN, ["ben"])
    return made


def play(store: FolderStore, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["consent", "--store", str(store.root), *words])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_what_waits_is_listed_for_all_and_for_one(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(store, capsys, "waiting")
    assert code == 0
    assert f"{TAKE}\twaits for dov and eli, until 20" in said
    assert f"{TAKE}\tbrought in, brought in by ana\tuntil 20" in play(store, capsys, "waiting", "--as", "dov")[1]
    assert play(store, capsys, "waiting", "--as", "ben") == (0, "nothing waits for ben\n")


def test_two_yes_make_it_agreed(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(store, capsys, "answer", TAKE[:10], "--uses", "store", "train", "--as", "dov")
    assert (code, said.startswith("recorded as event ")) == (0, True)
    assert read_consents(store, [TAKE])[TAKE, "dov"].text == compute_text_digest(["store", "train"])
    assert "waits for eli" in play(store, capsys, "waiting")[1]
    play(store, capsys, "answer", TAKE, "--uses", "store", "--as", "eli")
    assert "everybody agreed; the next run takes it in" in play(store, capsys, "waiting")[1]
    assert play(store, capsys, "answer", TAKE, "--uses", "--as", "eli")[0] == 1


def test_a_no_deletes_at_once_and_expire_changes_nothing_more(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert play(store, capsys, "expire") == (0, "nothing is due\n")
    assert play(store, capsys, "answer", TAKE, "--uses", "--as", "dov")[0] == 0
    assert not list(store.list("waiting/"))
    assert play(store, capsys, "waiting") == (0, "nothing waits\n")
    assert play(store, capsys, "expire") == (0, "nothing is due\n")


def test_expire_says_what_ended_and_what_is_deleted(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    left = [one.model_copy(update={"left": one.id == "dov"}) for one in GROUP.members]
    publish_agreement(store, GROUP.model_copy(update={"version": 2, "members": tuple(left)}))
    assert "about to be deleted" in play(store, capsys, "waiting")[1]
    assert play(store, capsys, "expire") == (0, f"{TAKE[:12]}\tleft\tdov\n{TAKE[:12]}\tdeleted, 1 versions\n")


def test_parts_are_left_out_listed_and_taken_in_again(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = play(store, capsys, "except", OWN, "1:05.5", "1:20", "--as", "ben")
    assert (code, told.splitlines()[-1]) == (0, "65.5 to 80 s")
    assert told.startswith("0 segments touch it")  # what follows is said first
    code, told = play(store, capsys, "except", OWN, "2", "4", "--as", "ben", "--dry-run")
    assert (code, len(told.splitlines())) == (0, 1)
    assert play(store, capsys, "except", OWN, "2", "4", "--as", "ben")[1].endswith("2 to 4 s\n65.5 to 80 s\n")
    assert play(store, capsys, "except", OWN, "--as", "ben") == (0, "2 to 4 s\n65.5 to 80 s\n")
    assert play(store, capsys, "except", OWN, "--clear", "--as", "ben")[1].endswith("nothing is left out\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("except", OWN, "5", "--as", "ben"), "a part has a start and an end"),
        (("except", OWN, "5", "4", "--as", "ben"), "is no part of a recording"),
        (("except", OWN, "1", "2", "--as", "ana"), "ana is not named as a player"),
        (("except", "abc", "1", "2", "--as", "ben"), "no recording that somebody agreed to begins with"),
        (("except", "f" * 64, "1", "2", "--as", "ben"), "no recording that somebody agreed to begins with"),
        (("answer", OWN, "--uses", "store", "--as", "ben"), "ben has answered for this recording already"),
    ],
)
def test_what_does_not_fit_is_told(
    store: FolderStore, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    code, said = play(store, capsys, *words)
    assert code == 1
    assert told in said


def test_nobody_speaks_for_others_where_members_sign_in(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    accounts.create_account(store, "dov", "patch cables", work=1)
    for words in (("answer", TAKE, "--uses", "--as", "dov"), ("except", OWN, "1", "2", "--as", "ben")):
        code, said = play(store, capsys, *words)
        assert code == 1
        assert "members sign in here" in said
    assert list(store.list("waiting/"))
