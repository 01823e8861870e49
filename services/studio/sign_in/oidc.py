"""Sign-in at a provider (OpenID Connect). Authlib does the code flow with PKCE, state and nonce; this module reads the claims.

Authlib checks of an id token: its signature by the provider's keys (asymmetric algorithms only), issuer, audience, expiry, nonce
and at_hash.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import ssl
from typing import Any

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from audiotune.access.provider_claims import SIGNING_ALGORITHMS, Claims, read_identity
from audiotune.errors import AccessError, SettingsError
from services.studio.settings import StudioSettings

LOG = logging.getLogger("audiotune.studio")
_LEEWAY_S = 60  # how far our clock and the provider's may differ
_TIMEOUT_S = 10
# Authlib's client is httpx's or httpx2's, by its version and by what is installed; each has an HTTPError of its own.
_HTTP_ERRORS: tuple[type[Exception], ...] = tuple(
    importlib.import_module(name).HTTPError for name in ("httpx", "httpx2") if importlib.util.find_spec(name)
)
_CHECK_ERRORS = (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError, RuntimeError)


class OidcProvider:
    """The provider that the settings name."""

    def __init__(self, settings: StudioSettings) -> None:
        self._settings, self._issuer = settings, settings.oidc_issuer
        self._callback_url = f"{settings.base_url}/oidc/back"
        self._client = OAuth().register(
            "provider",
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret or None,
            server_metadata_url=f"{self._issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": settings.oidc_scopes,
                "code_challenge_method": "S256",
                "timeout": _TIMEOUT_S,
                "token_endpoint_auth_method": "client_secret_basic" if settings.oidc_client_secret else "none",
                "verify": _load_certificates(settings.oidc_ca),
            },
        )

    async def redirect_to_provider(self, request: Request, *, other: bool = False) -> Response:
        """Sends the browser to the provider, which lets another person sign in when `other`. Raises AccessError when it is unreachable."""
        try:
            await self._load_metadata()
            more = {"prompt": "login"} if other else {}
            response: Response = await self._client.authorize_redirect(request, self._callback_url, **more)
        except (*_HTTP_ERRORS, *_CHECK_ERRORS) as e:
            raise self._report_unavailable(e) from e
        return response

    async def read_callback(self, request: Request) -> tuple[Claims, str]:
        """The claims of the person who came back, and their id token. Raises AccessError when any check fails."""
        try:
            await self._load_metadata()
            token = await self._client.authorize_access_token(
                request,
                leeway=_LEEWAY_S,
                claims_options={
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._settings.oidc_client_id},
                    "exp": {"essential": True},
                    "sub": {"essential": True},
                },
            )
        except _HTTP_ERRORS as e:
            raise self._report_unavailable(e) from e
        except _CHECK_ERRORS as e:
            LOG.warning("a sign-in was refused: %s: %s", type(e).__name__, str(e)[:300])
            raise AccessError("this sign-in does not hold", cure="begin again; it must end in the browser it began in") from e
        claims = token.get("userinfo")
        if not claims or not token.get("id_token"):
            LOG.warning("a sign-in was refused: the provider sent no id token")
            raise AccessError("the provider did not say who you are", cure="its client must be allowed the scope openid")
        return dict(claims), str(token["id_token"])

    async def build_sign_out_url(self, id_token: str) -> str:
        """The address that ends the provider's session too; empty when the provider offers none."""
        try:
            metadata = await self._load_metadata()
            if not metadata.get("end_session_endpoint"):
                return ""
            logout = await self._client.create_logout_url(
                post_logout_redirect_uri=f"{self._settings.base_url}/",
                id_token_hint=id_token,
                client_id=self._settings.oidc_client_id,
            )
        except (*_HTTP_ERRORS, *_CHECK_ERRORS):
            return ""  # our own session has ended in any case
        return str(logout["url"])

    def read_identity(self, claims: Claims) -> str:
        """The value that names the person. Raises AccessError, as the function of this name."""
        settings = self._settings
        return read_identity(claims, settings.oidc_member_claim, settings.oidc_groups, settings.oidc_groups_claim)

    async def _load_metadata(self) -> dict[str, Any]:
        """The provider's metadata. Refuses an issuer that differs from the one in the settings."""
        metadata: dict[str, Any] = await self._client.load_server_metadata()
        if str(metadata.get("issuer", "")) != self._issuer:
            raise ValueError(f"the provider calls itself {metadata.get('issuer')!r}, not {self._issuer!r}")
        offered = metadata.get("id_token_signing_alg_values_supported") or []
        metadata["id_token_signing_alg_values_supported"] = [name for name in offered if name in SIGNING_ALGORITHMS] or ["RS256"]
        return metadata

    def _report_unavailable(self, e: Exception) -> AccessError:
        LOG.error("the sign-in provider %s: %s: %s", self._issuer, type(e).__name__, str(e)[:300])
        return AccessError("the sign-in provider does not answer as it should", cure="try again in a minute, or tell an owner")


@functools.lru_cache(maxsize=4)
def _load_certificates(file: str) -> ssl.SSLContext:
    """The trusted authorities, read once: Authlib opens a client for every call. Raises SettingsError for an unreadable file."""
    if not file:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as e:
        raise SettingsError(f"no certificate authority can be read: {e}", where=file, cure="give a PEM file") from e
