"""Tickets: the proof that a member has signed in, signed by whoever checked it. A ticket ends with what proved it: the password, or what
the provider calls the member."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from audiotune.domain.member import MEMBER_ID
from audiotune.errors import AccessError

LIFE_S = 30 * 86_400.0  # for what a member may do in their own name: as long as a browser's session
FRESH_S = 15 * 60.0  # for what an owner does to others
_TEXT = re.compile(rf"({MEMBER_ID})\.([0-9]{{1,12}})\.(password|provider)\.([0-9a-f]{{64}})")
_CURE = "sign out, sign in again and repeat it"


@dataclass(frozen=True)
class SignInTicket:
    """Who signed in.

    Attributes:
        vouched: a provider was asked who it is, and no password.
    """

    member: str
    vouched: bool


class TicketSigner:
    """Makes and checks tickets.

    Args:
        key: secret of whoever checks sign-ins; a new one ends all tickets.
        now: seconds since 1970.
    """

    def __init__(self, key: bytes, now: Callable[[], float] = time.time) -> None:
        self._key, self._now = key, now

    def sign(self, member: str, proof: str, *, vouched: bool = False) -> str:
        """A ticket. `proof` is what it ends with when that changes, as the password's hash; it is signed, and not in the text."""
        head = f"{member}.{self._now():.0f}.{'provider' if vouched else 'password'}"
        return f"{head}.{self._compute_signature(head, proof)}"

    def check(self, text: str, find_proof: Callable[[SignInTicket], str | None], age_s: float = LIFE_S) -> SignInTicket:
        """The ticket of this text.

        Args:
            find_proof: what would be signed now; None for a member who has none.

        Raises AccessError: none of ours, older than `age_s`, or the proof has changed since.
        """
        parts = _TEXT.fullmatch(text)
        if parts is None:
            raise AccessError("you are not signed in here", cure=_CURE)
        member, made, kind, signature = parts.groups()
        ticket = SignInTicket(member, kind == "provider")
        proof = find_proof(ticket)
        expected = self._compute_signature(text.rpartition(".")[0], proof or "")
        if not hmac.compare_digest(signature, expected) or proof is None or self._now() - int(made) > LIFE_S:
            raise AccessError("you are no longer signed in here", cure=_CURE)
        if self._now() - int(made) > age_s:
            raise AccessError(f"this asks for a sign-in of the last {age_s / 60:.0f} minutes", cure=_CURE)
        return ticket

    def _compute_signature(self, head: str, proof: str) -> str:
        return hmac.new(self._key, f"{head}.{proof}".encode(), hashlib.sha256).hexdigest()
