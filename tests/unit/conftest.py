"""What all unit tests share: cheap hashes of passwords, and fewer looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from audiotune.access import accounts


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Imports make a million objects that stay to the end: looking through them for garbage takes seconds, now and later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="package", autouse=True)
def hash_passwords_cheaply() -> Iterator[None]:
    """A hash takes 0.2 s on purpose; hundreds are made here. tests/contract/test_password_hashes.py asks for the real cost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_N", 1 << 4)
        patch.setattr(accounts, "_UNKNOWN_MEMBER_HASH", accounts._format_hash(accounts.WORK, bytes(16), bytes(32)))
        yield
