"""Whom a sign-in provider (OpenID Connect) names: the claims of an id token that was checked, read by the group's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiotune.errors import AccessError

Claims = Mapping[str, Any]
# asymmetric ones only: with a shared secret whoever checks a token could make one
SIGNING_ALGORITHMS = frozenset(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
)


def read_identity(claims: Claims, member_claim: str, groups: str, groups_claim: str) -> str:
    """The value that names the person.

    Args:
        member_claim: the claim that holds it.
        groups: of which the person must be in one, with commas; empty: everybody may come in.

    Raises AccessError: no such claim, an unverified address, in none of the groups.
    """
    value = claims.get(member_claim)
    if not isinstance(value, str) or not value.strip():
        cure = f"its client must send the claim {member_claim}, or name another one"
        raise AccessError(f"the provider told no {member_claim}", cure=cure)
    if member_claim == "email" and claims.get("email_verified") is not True:
        raise AccessError("the provider has not verified your e-mail address", cure="verify it there, or name people by sub")
    wanted = {group.strip() for group in groups.split(",") if group.strip()}
    claimed = claims.get(groups_claim)
    own = {claimed} if isinstance(claimed, str) else {str(g) for g in claimed} if isinstance(claimed, list) else set()
    if wanted and not wanted & own:
        raise AccessError("you are in none of the groups that may come in", cure="ask who looks after the provider")
    return value.strip()
