"""The cookie of a browser that signed in before. It lets nobody in; its browser's attempts are counted apart from strangers'.

It is signed with the account's password hash, which holds a random salt: so it is one member's, nothing more has to be kept, it stays good
when the studio restarts, and a new password ends it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from audiotune.access.accounts import Account

DEVICE_COOKIE = "audio-tune-device"
DEVICE_COOKIE_S = 365 * 86_400
_TEXT = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})")


def make_device_cookie(account: Account) -> str:
    """The text of a new cookie for a browser that has just signed in to this account."""
    device = secrets.token_hex(16)
    return f"{device}.{_sign(account, device)}"


def read_device_cookie(account: Account | None, text: str) -> str:
    """The device, when the cookie was given to it for this account; otherwise ""."""
    parts = _TEXT.fullmatch(text)
    if parts is None or account is None or not account.password:
        return ""
    return parts[1] if hmac.compare_digest(parts[2], _sign(account, parts[1])) else ""


def _sign(account: Account, device: str) -> str:
    return hmac.new(account.password.encode(), device.encode(), hashlib.sha256).hexdigest()
