"""Fixtures of all tests."""

from __future__ import annotations

import os

# The ledger's key of every test and of the processes that it starts: none is written into the home of whoever runs them.
os.environ.setdefault("AUDIOTUNE_GOVERNANCE_LEDGER_KEY", "a key for tests and for nothing else")
