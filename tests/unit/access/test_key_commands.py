"""`audiotune key`: a key in a file that nobody else reads, registered, used, lost and ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiotune import cli
from audiotune.access import accounts
from audiotune.access.__main__ import main as access
from audiotune.errors import SettingsError
from audiotune.governance import publish_agreement
from audiotune.governance.ledger.keys import load_key_file
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.store import FolderStore
from tests.fakes.described_store import agreement


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "store")
    publish_agreement(store, agreement())
    return store


def test_a_key_signs_until_it_is_lost(store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, at = str(tmp_path / "keys" / "mine"), ["--store", str(store.root)]
    assert cli.main(["key", "make", "--file", file]) == 0
    assert Path(file).stat().st_mode & 0o777 == 0o600
    assert cli.main(["key", "make", "--file", file]) == 1  # a key is never written over
    assert "there is a key already" in capsys.readouterr().err
    assert cli.main(["key", "show", "--file", file]) == 0
    id, public = capsys.readouterr().out.strip().split("\t")
    assert cli.main(["key", "register", "--file", file, "--as", "ana", "--label", "laptop", *at]) == 0
    assert open_ledger(store).read_state().member_keys[id].public == public

    assert access([*at, "proposal", "open", "other", "Buy filters", "--as", "ana", "--key", file]) == 0
    number = str(open_ledger(store).read_state().number)
    assert access([*at, "proposal", "comment", "They sing", number, "--as", "ana", "--key", file]) == 0
    assert access([*at, "proposal", "vote", "yes", number, "--as", "ana", "--key", file]) == 0
    assert access([*at, "proposal", "vote", "yes", number, "--as", "ben", "--key", file]) == 1  # ana's key does not speak for ben
    assert "no key of ben" in capsys.readouterr().err
    report = verify_events(read_events(store))
    assert (report.faults, report.vouched["signed by ana"]) == ([], 3)
    assert cli.main(["ledger", *at, "show", "--last", "3"]) == 0
    assert "ana: vote cast (signed by ana)" in capsys.readouterr().out

    assert cli.main(["key", "revoke", id, "--as", "ana", *at]) == 0
    assert cli.main(["key", "list", *at]) == 0
    assert "lost, waits for another member" in capsys.readouterr().out
    assert cli.main(["key", "confirm", id, "--as", "ana", *at]) == 1
    assert cli.main(["key", "confirm", id, "--as", "ben", *at]) == 0
    assert access([*at, "proposal", "vote", "no", number, "--as", "ana", "--key", file]) == 1
    assert "no key of ana that counts" in capsys.readouterr().err


def test_a_key_that_others_may_read_is_refused(store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine"
    cli.main(["key", "make", "--file", str(file)])
    for mode in (0o640, 0o604, 0o620, 0o666):
        file.chmod(mode)
        assert cli.main(["key", "show", "--file", str(file)]) == 1
        assert f"mode {mode:04o}" in capsys.readouterr().err
        with pytest.raises(SettingsError, match="others on this machine"):  # the service's own key, too
            load_key_file(file)
    file.chmod(0o400)
    assert cli.main(["key", "show", "--file", str(file)]) == 0
    file.unlink()
    assert cli.main(["key", "show", "--file", str(file)]) == 1
    assert "audiotune key make" in capsys.readouterr().err


def test_where_members_sign_in_nobody_registers_a_key_for_another(
    store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts.create_account(store, "ana", "patch cables", "owner", work=1)
    file = str(tmp_path / "mine")
    cli.main(["key", "make", "--file", file])
    before = open_ledger(store).read_state().number
    for words in (["register", "--file", file], ["revoke", "0" * 16], ["confirm", "0" * 16]):
        assert cli.main(["key", *words, "--as", "ana", "--store", str(store.root)]) == 1
        assert "speak for themselves" in capsys.readouterr().err
    assert open_ledger(store).read_state().number == before
