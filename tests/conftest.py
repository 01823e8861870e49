"""Fixtures of all tests."""

from __future__ import annotations

import base64
import os

# The ledger's key of every test and of the processes that it starts: none is written into the home of whoever runs them.
os.environ.setdefault("AUDIOTUNE_LEDGER_KEY", base64.b64encode(b"a key for tests and nothing else").decode())
