"""Sign-in at a provider (OpenID Connect).

/oidc/begin   redirects to the provider       /oidc/back   begins a session after it       /logout   ends both sessions
"""

from __future__ import annotations

import secrets

from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audiotune.access import identities
from audiotune.errors import AccessError
from audiotune.reporting.html import tag
from services.studio.context import StudioContext
from services.studio.sign_in.middleware import SignIn, render_page
from services.studio.sign_in.oidc import OidcProvider

_BEGIN_S = 600


class ProviderSignIn(SignIn):
    """Sends a visitor to the provider and begins a session for the person who comes back."""

    own_paths = ("/oidc/",)

    def __init__(self, context: StudioContext, provider: OidcProvider) -> None:
        self._provider, base_path = provider, context.settings.base_path
        self.retry_link = tag("a", "Try again", href=f"{base_path}/oidc/begin?other=1")
        # State, nonce and verifier travel in a signed cookie: the server keeps nothing for sign-ins that are never finished.
        memory = Middleware(
            SessionMiddleware,
            secret_key=secrets.token_urlsafe(32),
            session_cookie="audio-tune-sign-in",
            path=f"{base_path}/oidc",
            max_age=_BEGIN_S,
            same_site="lax",
            https_only=context.settings.public_url.startswith("https://"),
        )
        routes = [Route("/oidc/begin", self._start_sign_in), Route("/oidc/back", self._finish_sign_in)]
        super().__init__(context, routes, [memory])

    def render_sign_in(self) -> Response:
        words = f"Sign in with {self._context.settings.oidc_name} to come in."
        return render_page("Audio Tune", words, tag("a", "Sign in", href=f"{self.base_path}/oidc/begin"))

    async def find_sign_out_url(self, proof: str) -> str:
        return await self._provider.build_sign_out_url(proof)

    async def _start_sign_in(self, request: Request) -> Response:
        request.session.clear()
        return await self._provider.redirect_to_provider(request, other="other" in request.query_params)

    async def _finish_sign_in(self, request: Request) -> Response:
        try:
            claims, id_token = await self._provider.read_callback(request)
        finally:
            request.session.clear()
        identity = self._provider.read_identity(claims)
        member = await run_in_threadpool(self._find_member, identity)
        ticket = await run_in_threadpool(self._context.access.vouch_for, member, id_token)
        response = self.redirect_to_start()
        self.set_session_cookie(response, self._sessions.begin(member, identity, id_token, ticket), secure=self.secure)
        return response

    def _find_member(self, identity: str) -> str:
        """The member whom an identity is linked to. Raises AccessError, with the cure, when there is none."""
        linked = None if self._context.settings.oidc_claim_is_member else identities.find_identity(self._context.store, identity)
        member = identity if self._context.settings.oidc_claim_is_member else linked.member if linked else ""
        if member and self._context.find_member(member, ""):
            return member
        if member:
            raise AccessError(f"{member} is no member in the agreement", cure="an owner adds you to the agreement first")
        raise AccessError(
            f"nobody of the group is known as {identity}",
            cure="an owner enters it on the Account page, or with: python -m audiotune.access identity add MEMBER IDENTITY",
        )
