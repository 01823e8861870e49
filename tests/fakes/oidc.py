"""A sign-in provider of our own (OpenID Connect) behind real HTTP: discovery, keys, code flow with PKCE, one-time codes, sign-out.

It keeps the rules a good provider keeps, and can be told to break them one by one (`tamper`, `sign_with`, `forget_nonce`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlencode, urlparse

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.fakes.http_server import answering

Claims = dict[str, Any]
_KEY = RSAKey.generate_key(2048, {"kid": "one"})  # once: it takes a moment


class FakeProvider:
    """State of the provider.

    Args:
        client: id and secret of the studio; an empty secret makes it a public client.
        people: sub -> further claims.

    Attributes:
        tamper: changes the claims of an id token before it is signed.
        sign: makes the token's text of header, claims and key; replaced by tests that forge.
        sent: requests to the token endpoint, for tests to look at.
        answered: the status of each answer of the token endpoint; none for one in which the fake failed.
    """

    def __init__(self, client: tuple[str, str], people: dict[str, Claims]) -> None:
        self.client, self.people = client, people
        self.key = _KEY
        self.issuer = ""
        self.says: dict[str, Any] = {}
        self.tamper: Callable[[Claims], Claims] = lambda claims: claims
        self.sign: Callable[[Claims, RSAKey], str] = lambda claims, key: jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)
        self.sent: list[dict[str, str]] = []
        self.answered: list[int] = []
        self.signed_out = 0
        self._codes: dict[str, tuple[str, dict[str, str]]] = {}

    def metadata(self) -> dict[str, Any]:
        known = {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys", "end_session_endpoint": f"{self.issuer}/out", "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
        }  # fmt: skip
        return {**known, **self.says}

    def code_for(self, person: str, asked: dict[str, str]) -> str:
        """Where the browser is sent when a person has signed in."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = (person, asked)
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        self.sent.append(form)
        id, secret = self.client
        basic = "Basic " + base64.b64encode(f"{id}:{secret}".encode()).decode()
        if authorization != basic and (secret or form.get("client_id") != id):
            return 401, {"error": "invalid_client"}
        person, asked = self._codes.pop(form.get("code", ""), ("", {}))
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        )
        if not person or asked["redirect_uri"] != form.get("redirect_uri") or asked.get("code_challenge") != challenge:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": id, "sub": person, "iat": now, "exp": now + 300, "nonce": asked.get("nonce")}
        text = self.sign(self.tamper({**claims, **self.people[person]}), self.key)
        return 200, {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 300, "id_token": text}


@contextmanager
def serving(fake: FakeProvider) -> Iterator[str]:
    """The provider on a free local port; its address is the issuer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlparse(self.path)
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            if url.path == "/.well-known/openid-configuration":
                self._json(200, fake.metadata())
            elif url.path == "/keys":
                self._json(200, {"keys": [fake.key.as_dict(private=False)]})
            elif url.path == "/authorize":
                links = (f'<p><a id="{p}" href="{fake.code_for(p, asked)}">{p}</a></p>' for p in fake.people)
                self._send(200, "text/html", f"<!doctype html><title>Sign in</title>{''.join(links)}".encode())
            elif url.path == "/out":
                fake.signed_out += 1
                self._to(asked.get("post_logout_redirect_uri", "/"))
            else:
                self._json(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            code, what = fake.token(form, self.headers.get("Authorization", ""))
            fake.answered.append(code)
            self._json(code, what)

        def _to(self, where: str) -> None:
            self.send_response(303)
            self.send_header("Location", where)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _json(self, code: int, what: dict[str, Any]) -> None:
            self._send(code, "application/json", json.dumps(what).encode())

        def _send(self, code: int, kind: str, data: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with answering(Handler) as fake.issuer:
        yield fake.issuer
