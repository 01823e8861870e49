"""Sign-in at a provider: the governance service looks at the id token itself, so the studio's word alone lets nobody act."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from audiotune.access import accounts, identities
from audiotune.governance import publish_agreement
from audiotune.store import FolderStore
from tests.fakes.oidc import Claims, FakeProvider, serving
from tests.fakes.seeded_store import agreement
from tests.unit.services.governance.test_app import Caller

CLIENT = "band"


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider((CLIENT, ""), {})
    with serving(fake):
        yield fake


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    publish_agreement(made, agreement())
    accounts.create_account(made, "ana", None, "owner")
    identities.add_identity(made, "ana", "u-1")
    identities.add_identity(made, "ben", "u-2")
    return made


def caller(store: FolderStore, provider: FakeProvider, **more: Any) -> Caller:
    return Caller(store, oidc_issuer=provider.issuer, oidc_client_id=CLIENT, **more)


def make_token(provider: FakeProvider, key: RSAKey | None = None, **changes: Any) -> str:
    now = int(time.time())
    claims: Claims = {"iss": provider.issuer, "aud": CLIENT, "sub": "u-1", "iat": now, "exp": now + 300, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": "RS256", "kid": "one"}, kept, key or provider.key)


def test_the_providers_token_proves_a_member_and_an_owner(store: FolderStore, provider: FakeProvider) -> None:
    asks = caller(store, provider)
    status, ticket = asks.call("vouch_for", member="ana", id_token=make_token(provider))
    assert status == 200
    assert asks.call("issue_token", ticket=ticket, scopes=["generate"], days=1)[0] == 200
    assert asks.call("add_identity", ticket=ticket, member="chi", identity="u-3")[0] == 200
    ben = asks.call("vouch_for", member="ben", id_token=make_token(provider, sub="u-2"))[1]
    assert asks.call("add_identity", ticket=ben, member="ben", identity="u-4")[0] == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "u-2"},  # somebody else's
        {"sub": "u-9"},  # a stranger's
        {"aud": "another program"},
        {"aud": [CLIENT, "another program"]},
        {"iss": "https://evil.example"},
        {"exp": 1_700_000_000},
        {"iat": int(time.time()) - 700},  # kept by somebody
        {"iat": None},
        {"exp": None},
        {"sub": None},
        {"iat": "now"},
    ],
)
def test_a_token_of_another_person_program_or_time_proves_nothing(
    store: FolderStore, provider: FakeProvider, changes: dict[str, Any]
) -> None:
    status, told = caller(store, provider).call("vouch_for", member="ana", id_token=make_token(provider, **changes))
    assert (status, told["error"]) == (401, "AccessError")


def test_a_token_that_the_provider_did_not_sign_proves_nothing(store: FolderStore, provider: FakeProvider) -> None:
    other, head = RSAKey.generate_key(2048, {"kid": "one"}), base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=")
    body = head + b"." + make_token(provider).split(".")[1].encode()
    secret = hmac.new(provider.key.as_pem(private=False), body, hashlib.sha256).digest()
    forged = {
        "another key": make_token(provider, other),
        "the public key as a secret": (body + b"." + base64.urlsafe_b64encode(secret).rstrip(b"=")).decode(),
        "no signature": make_token(provider).rpartition(".")[0] + ".",
        "no token": "a.b.c",
        "nothing": "",
    }
    for name, token in forged.items():
        status, told = caller(store, provider).call("vouch_for", member="ana", id_token=token)
        assert (status, told["error"]) == (401, "AccessError"), name


def test_groups_and_member_names_are_those_of_the_studio(store: FolderStore, provider: FakeProvider) -> None:
    in_group = caller(store, provider, oidc_groups="band, friends")
    assert in_group.call("vouch_for", member="ana", id_token=make_token(provider))[0] == 401
    assert in_group.call("vouch_for", member="ana", id_token=make_token(provider, groups=["friends"]))[0] == 200
    by_id = caller(store, provider, oidc_member_claim="nick", oidc_claim_is_member=True)
    ticket = by_id.call("vouch_for", member="ben", id_token=make_token(provider, nick="ben"))[1]
    assert by_id.call("issue_token", ticket=ticket, scopes=["generate"], days=1)[0] == 200
    assert by_id.call("vouch_for", member="ana", id_token=make_token(provider, nick="ben"))[0] == 401


def test_a_provider_that_is_away_or_names_itself_otherwise_lets_nobody_in(store: FolderStore, provider: FakeProvider) -> None:
    away = Caller(store, oidc_issuer="http://127.0.0.1:9", oidc_client_id=CLIENT)
    status, told = away.call("vouch_for", member="ana", id_token=make_token(provider))
    assert (status, "does not answer" in told["what"]) == (401, True)
    provider.says = {"issuer": "https://evil.example"}
    assert caller(store, provider).call("vouch_for", member="ana", id_token=make_token(provider))[0] == 401
