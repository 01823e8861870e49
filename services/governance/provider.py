"""Checks the id token of a sign-in provider (OpenID Connect), so that the studio's word alone lets nobody act."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from audiotune.access import identities
from audiotune.access.provider_claims import SIGNING_ALGORITHMS, read_identity
from audiotune.errors import AccessError, ForbiddenError, SettingsError
from audiotune.store.port import Store
from services.governance.settings import GovernanceSettings

LOG = logging.getLogger("audiotune.governance")
_LEEWAY_S = 60  # how far our clock and the provider's may differ
_FRESH_S = 600  # a token is sent here right after the sign-in; an older one is somebody's booty
_TIMEOUT_S = 10


class ProviderTokens:
    """Finds the member whom an id token names. The provider's keys are read at each sign-in, so a changed key counts at once."""

    def __init__(self, store: Store, settings: GovernanceSettings) -> None:
        self._store, self._settings = store, settings
        try:
            own = settings.oidc_ca
            self._trusted = ssl.create_default_context(cafile=own) if own else httpx.create_ssl_context()
        except (OSError, ssl.SSLError) as e:
            words = f"no certificate authority can be read: {e}"
            raise SettingsError(words, where=settings.oidc_ca, cure="give a PEM file") from e

    def require_member(self, member: str, id_token: str) -> None:
        """Raises ForbiddenError without a provider, AccessError for a token that does not hold or names somebody else."""
        settings = self._settings
        if not settings.oidc_issuer:
            cure = "members sign in with a password; a provider is set by studio.oidc.issuer"
            raise ForbiddenError("the studio may not say who signed in", cure=cure)
        claims = self._check_token(id_token)
        identity = read_identity(claims, settings.oidc_member_claim, settings.oidc_groups, settings.oidc_groups_claim)
        linked = identities.find_identity(self._store, identity)
        if (identity if settings.oidc_claim_is_member else linked and linked.member) != member:
            raise AccessError(f"{identity} is not known as {member}", cure="an owner enters it on the Account page")

    def _check_token(self, id_token: str) -> Mapping[str, Any]:
        """The claims, after a look at signature, issuer, audience and times."""
        issuer, client = self._settings.oidc_issuer, self._settings.oidc_client_id
        must: jwt.ClaimsOption = {"essential": True}
        rules = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": client},
            exp=must,
            iat=must,
            sub=must,
        )
        try:
            claims = jwt.decode(id_token, self._fetch_keys(), algorithms=sorted(SIGNING_ALGORITHMS)).claims
            rules.validate(claims)
            if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != client:
                raise ValueError("it is for somebody else, too")
            if time.time() - claims["iat"] > _FRESH_S:
                raise ValueError("it is older than ten minutes")
        except httpx.HTTPError as e:
            LOG.error("the sign-in provider %s: %s", issuer, e)
            raise AccessError("the sign-in provider does not answer as it should", cure="try again in a minute") from e
        except (JoseError, ValueError, KeyError, TypeError) as e:
            LOG.warning("an id token was refused: %s: %s", type(e).__name__, str(e)[:300])
            raise AccessError("this sign-in does not hold", cure="sign in again") from e
        return claims

    def _fetch_keys(self) -> KeySet:
        issuer = self._settings.oidc_issuer
        with httpx.Client(timeout=_TIMEOUT_S, verify=self._trusted) as http:
            metadata = http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration").raise_for_status().json()
            if metadata.get("issuer") != issuer:
                raise ValueError(f"the provider calls itself {metadata.get('issuer')!r}")
            return KeySet.import_key_set(http.get(metadata["jwks_uri"]).raise_for_status().json())
