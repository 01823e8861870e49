"""Who may come in: members' tokens for programs, accounts with passwords for people. Kept in the store, hashed; no framework.

`AUDIOTUNE_ACCESS=members` asks for them; `open`, the default, is for a machine of one's own.
"""

from __future__ import annotations

import os

from audiotune.errors import SettingsError

VARIABLE = "AUDIOTUNE_ACCESS"


def requires_authentication() -> bool:
    """Whether members must show who they are.

    Raises:
        SettingsError: AUDIOTUNE_ACCESS is neither `open` nor `members`.
    """
    value = os.environ.get(VARIABLE) or "open"
    if value not in ("open", "members"):
        raise SettingsError(f"{VARIABLE} is {value!r}", cure="set it to open or members")
    return value == "members"
