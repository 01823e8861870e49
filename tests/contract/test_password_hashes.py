"""The cost of a password's hash, which unit tests lower for themselves."""

from __future__ import annotations

from pathlib import Path

from audiotune.access import accounts
from audiotune.store import FolderStore


def test_a_hash_costs_what_owasp_asks(tmp_path: Path) -> None:
    """Password Storage Cheat Sheet: scrypt with N=2^14, r=8, p=5 (16 MiB); an unknown name costs the same as a known one."""
    account = accounts.create_account(FolderStore(tmp_path), "ana", "a long password")
    for kept in (account.password, accounts._UNKNOWN_MEMBER_HASH):
        assert kept.startswith("scrypt$16384$8$5$")
