"""The sign-in at a provider, tested against our own over real HTTP: which visitors get a session, and forged tokens."""

from __future__ import annotations

import asyncio
import base64
import functools
import hmac
import html
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import httpx
import pytest

pytest.importorskip("authlib", reason="authlib is not installed")
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from audiotune.access import accounts, identities
from audiotune.access.__main__ import main as access
from audiotune.access.owners import add_member_identity, remove_member_identity
from audiotune.errors import AccessError, SettingsError, StoreError
from audiotune.governance import publish_agreement
from audiotune.store import FolderStore
from services.studio.context import StudioContext, create_context, create_session_store
from services.studio.settings import StudioSettings, load_studio_settings
from services.studio.sign_in.middleware import SignIn
from services.studio.sign_in.oidc import OidcProvider
from services.studio.sign_in.provider_page import ProviderSignIn
from services.studio.sign_in.session_store import RECHECK_S, SessionStore, check_identity
from tests.fakes.clock import Clock
from tests.fakes.oidc import Claims, FakeProvider, serving
from tests.fakes.seeded_store import agreement

HERE = "http://localhost:7860"
PEOPLE: dict[str, Claims] = {
    "u-1": {"email": "ana@band.example", "email_verified": True, "groups": ["band"], "preferred_username": "ana"},
    "u-2": {"email": "eve@elsewhere.example", "email_verified": True, "groups": ["others"], "preferred_username": "eve"},
    "u-3": {"email": "ana@band.example", "email_verified": False, "groups": "band", "preferred_username": "zoe"},
}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider(("studio", "hush"), PEOPLE)
    with serving(fake):
        yield fake


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    publish_agreement(made, agreement())
    identities.add_identity(made, "ana", "u-1")
    return made


class Browser:
    """A visitor's browser, which keeps cookies."""

    def __init__(
        self, store: FolderStore, provider: FakeProvider, clock: Callable[[], float] = time.monotonic, **more: Any
    ) -> None:
        known = {"oidc_issuer": provider.issuer, "oidc_client_id": "studio", "oidc_client_secret": "hush", "public_url": HERE}
        self.settings = load_studio_settings({}, store=store.url, access="members", **{**known, **more})
        self.context: StudioContext = create_context(self.settings)
        self.context = replace(self.context, sessions=create_session_store(self.settings, store, clock))
        self.sign_in_page = ProviderSignIn(self.context, OidcProvider(self.settings))
        app = Starlette(
            routes=[Route("/{path:path}", _show_member, methods=["GET", "POST"])], middleware=[self.sign_in_page.middleware()]
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE)
        self.provider = provider

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.http.get(path, **more)

    async def begin(self, path: str = "/oidc/begin") -> dict[str, str]:
        """What the provider is asked."""
        answer = await self.get(path)
        assert answer.status_code == 302, answer.text
        assert answer.headers["location"].startswith(f"{self.provider.issuer}/authorize?")
        return {name: values[0] for name, values in parse_qs(urlparse(answer.headers["location"]).query).items()}

    async def sign_in(self, person: str) -> httpx.Response:
        return await self.get(self.provider.code_for(person, await self.begin()))


async def _show_member(request: Request) -> Response:
    """Stands in for Gradio: answers with the member who is signed in."""
    return PlainTextResponse(f"hello {SignIn.read_member(request)}")


def run_async(work: Any) -> None:
    asyncio.run(work)


def find_onward_url(page: httpx.Response) -> str:
    """The address that the browser goes on to by itself."""
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', page.text)
    assert found, page.text
    return html.unescape(found[1])


def test_without_a_session_only_the_sign_in_page_is_served(store: FolderStore, provider: FakeProvider) -> None:
    async def work() -> None:
        browser = Browser(store, provider, oidc_name="the band's <b>account</b>")
        page = await browser.get("/")
        assert page.status_code == 200
        assert "the band&#39;s &lt;b&gt;account&lt;/b&gt;" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for path in (
            "/config",
            "/gradio_api/info",
            "/gradio_api/file=/etc/passwd",
            "/assets/index.js",
            "/login",
        ):
            assert (await browser.get(path)).status_code == 401, path
        assert (await browser.http.post("/", data={"username": "ana", "password": "x"})).status_code == 401
        assert (await browser.get("/gradio_api/startup-events")).status_code == 200

    run_async(work())


def test_a_member_signs_in_by_code_pkce_state_and_nonce(store: FolderStore, provider: FakeProvider) -> None:
    async def work() -> None:
        browser = Browser(store, provider)
        asked = await browser.begin()
        assert asked["redirect_uri"] == f"{HERE}/oidc/back"
        assert (asked["response_type"], asked["code_challenge_method"], asked["client_id"]) == ("code", "S256", "studio")
        assert len(asked["state"]) >= 20
        assert len(asked["nonce"]) >= 20
        answer = await browser.get(provider.code_for("u-1", asked))
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert (await browser.get("/config")).text == "hello ana"
        assert len(provider.sent[0]["code_verifier"]) >= 43
        again = await browser.begin()
        assert (again["state"], again["nonce"]) != (asked["state"], asked["nonce"])

    run_async(work())


def test_over_https_the_cookie_is_bound_to_this_host(store: FolderStore, provider: FakeProvider) -> None:
    page = Browser(store, provider, public_url="https://studio.band.example/").sign_in_page
    assert page.cookie == "__Host-audio-tune"


def test_somebody_the_group_does_not_know_gets_the_cure(store: FolderStore, provider: FakeProvider) -> None:
    async def work() -> None:
        browser = Browser(store, provider)
        page = await browser.sign_in("u-2")
        assert page.status_code == 403
        assert "Nobody of the group is known as u-2" in page.text
        assert "audiotune.access identity add" in page.text
        assert (await browser.get("/config")).status_code == 401
        assert (await browser.begin("/oidc/begin?other=1"))["prompt"] == "login"

    run_async(work())


@pytest.mark.parametrize(
    ("person", "more", "words"),
    [
        ("u-3", {"oidc_member_claim": "email"}, "not verified your e-mail"),
        ("u-2", {"oidc_groups": "band, friends"}, "none of the groups"),
        ("u-1", {"oidc_member_claim": "employee"}, "told no employee"),
        ("u-3", {"oidc_claim_is_member": True, "oidc_member_claim": "preferred_username"}, ""),
        ("u-2", {"oidc_claim_is_member": True, "oidc_member_claim": "preferred_username"}, "no member in the agreement"),
    ],
)
def test_claims_decide(store: FolderStore, provider: FakeProvider, person: str, more: dict[str, Any], words: str) -> None:
    async def work() -> None:
        page = await Browser(store, provider, **more).sign_in(person)
        assert page.status_code == (403 if words else 303)
        assert words in page.text

    run_async(work())


@pytest.mark.parametrize("more", [{"oidc_groups": "band"}, {"oidc_member_claim": "email"}])
def test_the_right_group_and_a_verified_address_come_in(store: FolderStore, provider: FakeProvider, more: dict[str, Any]) -> None:
    async def work() -> None:
        identities.add_identity(store, "ana", "ana@band.example")
        assert (await Browser(store, provider, **more).sign_in("u-1")).status_code == 303

    run_async(work())


def _none(claims: Claims, key: RSAKey) -> str:
    parts = ({"alg": "none", "kid": "one"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts) + "."


def _sign_with_hmac(header: Claims, claims: Claims, secret: bytes) -> str:
    """By hand: joserfc refuses to take a public key as a secret, and then the provider would fail and not the studio refuse."""
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims))
    signed = b".".join(parts)
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return f"{signed.decode()}.{signature.decode()}"


def _with_the_public_key_as_secret(claims: Claims, key: RSAKey) -> str:
    return _sign_with_hmac({"alg": "HS256", "kid": "one"}, claims, key.as_pem(private=False))


def _with_the_clients_secret(claims: Claims, key: RSAKey) -> str:
    return _sign_with_hmac({"alg": "HS256"}, claims, b"hush")


_OWN = RSAKey.generate_key(2048)


def _with_a_key_of_ones_own(claims: Claims, key: RSAKey) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, _OWN)


def _with_a_key_in_the_header(claims: Claims, key: RSAKey) -> str:
    return jwt.encode({"alg": "RS256", "jwk": _OWN.as_dict(private=False)}, claims, _OWN)


def _changed_afterwards(claims: Claims, key: RSAKey) -> str:
    head, _, signature = jwt.encode({"alg": "RS256", "kid": "one"}, {**claims, "sub": "u-2"}, key).split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


@pytest.mark.parametrize("forge", [
    _none, _with_the_public_key_as_secret, _with_the_clients_secret, _with_a_key_of_ones_own, _with_a_key_in_the_header,
    _changed_afterwards, lambda claims, key: "not.a.token", lambda claims, key: "",
])  # fmt: skip
@pytest.mark.parametrize("weak", [False, True])
def test_forged_tokens_open_nothing(
    store: FolderStore, provider: FakeProvider, forge: Callable[[Claims, RSAKey], str], weak: bool
) -> None:
    async def work() -> None:
        provider.sign = forge
        if weak:  # even a provider that would allow it
            provider.says = {"id_token_signing_alg_values_supported": ["none", "HS256", "RS256"]}
        browser = Browser(store, provider)
        page = await browser.sign_in("u-1")
        assert page.status_code == 403
        assert provider.answered == [200]  # the provider did not fail: the studio refused the token
        assert any(words in page.text for words in ("This sign-in does not hold", "The provider did not say who you are"))
        assert (await browser.get("/config")).status_code == 401

    run_async(work())


@pytest.mark.parametrize("forge", [_none, _with_the_public_key_as_secret, _with_the_clients_secret])
def test_a_token_that_nobodys_private_key_signed_is_refused_for_its_algorithm(
    store: FolderStore, provider: FakeProvider, forge: Callable[[Claims, RSAKey], str], caplog: pytest.LogCaptureFixture
) -> None:
    """By our own list of algorithms, before any key is tried, whatever the provider says that it allows."""

    async def work() -> None:
        provider.sign = forge
        provider.says = {"id_token_signing_alg_values_supported": ["none", "HS256", "RS256"]}
        assert (await Browser(store, provider).sign_in("u-1")).status_code == 403

    run_async(work())
    assert provider.answered == [200]
    assert "a sign-in was refused: UnsupportedAlgorithmError" in caplog.text


@pytest.mark.parametrize("changes", [
    {"iss": "https://evil.example"}, {"aud": "another"}, {"aud": ["another", "third"]}, {"exp": 1_600_000_000}, {"nonce": "guessed"},
    {"nonce": None}, {"iat": None}, {"exp": None}, {"sub": None}, {"aud": None}, {"iss": None}, {"azp": "another"},
    {"nbf": 4_000_000_000}, {"at_hash": "wrong"},
], ids=str)  # fmt: skip
def test_claims_that_do_not_hold_open_nothing(store: FolderStore, provider: FakeProvider, changes: Claims) -> None:
    async def work() -> None:
        provider.tamper = lambda claims: {name: value for name, value in {**claims, **changes}.items() if value is not None}
        browser = Browser(store, provider)
        assert (await browser.sign_in("u-1")).status_code == 403
        assert (await browser.get("/config")).status_code == 401

    run_async(work())


def test_a_code_needs_the_browser_it_was_begun_in(store: FolderStore, provider: FakeProvider) -> None:
    async def work() -> None:
        mallory, ana = Browser(store, provider), Browser(store, provider)
        link = provider.code_for("u-1", await mallory.begin())
        assert (await ana.get(link)).status_code == 403  # a link that somebody sent
        asked = await ana.begin()
        for state in ("", "guessed", (await mallory.begin())["state"]):
            assert (await ana.get("/oidc/back", params={"code": "x", "state": state})).status_code == 403
        link = provider.code_for("u-1", asked)
        assert (await ana.get(link)).status_code == 403  # its state was used up by the guesses
        good = provider.code_for("u-1", await ana.begin())
        assert (await ana.get(good)).status_code == 303
        assert (await ana.get(good)).status_code == 403  # a second time

    run_async(work())


def test_the_redirect_stays_on_this_host(store: FolderStore, provider: FakeProvider) -> None:
    async def work() -> None:
        browser = Browser(store, provider)
        headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
        begun = await browser.get("/oidc/begin?next=https://evil.example&redirect_uri=https://evil.example", headers=headers)
        assert parse_qs(urlparse(begun.headers["location"]).query)["redirect_uri"] == [f"{HERE}/oidc/back"]
        link = provider.code_for("u-1", await browser.begin()) + "&next=https://evil.example"
        assert (await browser.get(link)).headers["location"] == "/"
        out = await browser.http.post(
            "/logout?next=https://evil.example&post_logout_redirect_uri=https://evil.example", headers=headers
        )
        onward = find_onward_url(out)
        assert onward.startswith(f"{provider.issuer}/out?")
        assert parse_qs(urlparse(onward).query)["post_logout_redirect_uri"] == [f"{HERE}/"]

    run_async(work())


def test_signing_out_ends_both_sessions(store: FolderStore, provider: FakeProvider) -> None:
    async def work() -> None:
        browser = Browser(store, provider)
        await browser.sign_in("u-1")
        kept = browser.http.cookies[browser.sign_in_page.cookie]
        assert 'method="post"' in (await browser.get("/logout")).text
        assert (await browser.get("/config")).status_code == 200
        assert "id_token_hint" in find_onward_url(await browser.http.post("/logout"))
        browser.http.cookies.set(browser.sign_in_page.cookie, kept)
        assert (await browser.get("/config")).status_code == 401
        assert (await browser.http.post("/logout")).headers["location"] == "/"

    run_async(work())


def test_a_session_ends_by_time_and_when_an_owner_removes_the_identity(store: FolderStore, provider: FakeProvider) -> None:
    async def work() -> None:
        clock = Clock()
        browser = Browser(store, provider, clock, oidc_session_h=1)
        await browser.sign_in("u-1")
        clock.now = 3599
        assert (await browser.get("/config")).status_code == 200
        clock.now = 3600
        assert (await browser.get("/config")).status_code == 401
        await browser.sign_in("u-1")
        identities.remove_identity(store, "u-1")
        clock.now += RECHECK_S + 0.1
        assert (await browser.get("/config")).status_code == 401

    run_async(work())


def test_a_store_that_is_away_takes_nobodys_session(store: FolderStore) -> None:
    class Away(FolderStore):
        def get(self, key: str) -> bytes:
            raise StoreError("the store is away", where=key)

    clock = Clock()
    sessions = SessionStore(3600, functools.partial(check_identity, Away(store.root)), clock)
    text = sessions.begin("ana", "u-1")
    clock.now = 100
    assert sessions.find_member(text) == "ana"
    assert sessions.find_member("guessed") == ""


def test_a_provider_that_is_away_or_another_one_is_reported(store: FolderStore, provider: FakeProvider) -> None:
    async def work() -> None:
        provider.says = {"issuer": "https://evil.example"}
        page = await Browser(store, provider).get("/oidc/begin")
        assert page.status_code == 403
        assert "does not answer as it should" in page.text
        away = await Browser(store, provider, oidc_issuer="http://127.0.0.1:9").get("/oidc/begin")
        assert "does not answer as it should" in away.text

    run_async(work())


def test_a_provider_that_is_away_is_reported_with_httpx2_too(tmp_path: Path) -> None:
    """Authlib takes httpx2 where it is installed. Here a copy of httpx under that name stands for it, in a process of its own."""
    shutil.copytree(Path(httpx.__file__).parent, tmp_path / "httpx2", ignore=shutil.ignore_patterns("__pycache__"))
    package = tmp_path / "httpx2" / "__init__.py"
    package.write_text(package.read_text().replace('"httpx"', '"httpx2"'))
    program = (
        "import asyncio, sys\n"
        "from authlib.integrations.starlette_client.apps import StarletteOAuth2App\n"
        "from starlette.requests import Request\n"
        "from audiotune.errors import AccessError\n"
        "from services.studio.settings import load_studio_settings\n"
        "from services.studio.sign_in.oidc import OidcProvider\n"
        "import httpx2\n"
        "assert issubclass(StarletteOAuth2App.client_cls, httpx2.AsyncClient)\n"
        "given = dict(access='members', oidc_issuer='http://127.0.0.1:9', oidc_client_id='x', public_url='http://localhost:7860')\n"
        "request = Request({'type': 'http', 'method': 'GET', 'path': '/', 'headers': [], 'session': {}})\n"
        "try:\n"
        "    asyncio.run(OidcProvider(load_studio_settings({}, **given)).redirect_to_provider(request))\n"
        "except AccessError as e:\n"
        "    print(e)\n"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, sys.argv[1])\n{program}", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "does not answer as it should" in done.stdout, done.stderr


def test_what_the_provider_says_is_no_markup(store: FolderStore, provider: FakeProvider) -> None:
    async def work() -> None:
        provider.people = {"<script>alert(1)</script>": {}}
        page = await Browser(store, provider).sign_in("<script>alert(1)</script>")
        assert page.status_code == 403
        assert "<script" not in page.text
        answer = await Browser(store, provider).get("/oidc/back?error=access_denied&error_description=<script>x</script>&state=s")
        assert answer.status_code == 403
        assert "<script" not in answer.text

    run_async(work())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"access": "open"}, "needs ACCESS=members"),
        ({"oidc_client_id": ""}, "OIDC_CLIENT_ID"),
        ({"public_url": ""}, "PUBLIC_URL"),
        ({"public_url": "http://studio.band.example"}, "https"),
        ({"public_url": "https://band.example/studio", "root_path": "/other"}, "leave one of them out"),
        ({"public_url": "https://band.example/login"}, "the server's own paths"),
        ({"root_path": "https://band.example"}, "as in /studio"),
        ({"oidc_issuer": "http://idp.example"}, "https"),
        ({"oidc_scopes": "email"}, "openid"),
    ],
)
def test_settings_that_do_not_fit_are_named(more: dict[str, Any], words: str) -> None:
    whole = {"access": "members", "oidc_issuer": "https://idp.example", "oidc_client_id": "x", "public_url": "https://s.example"}
    assert load_studio_settings({}, **whole).oidc_issuer
    with pytest.raises(SettingsError, match=words):
        load_studio_settings({}, **{**whole, **more})


@pytest.mark.parametrize(("public_url", "root_path"), [("https://band.example/studio/", ""), ("https://band.example", "studio")])
def test_below_a_path_the_provider_sends_members_back_below_it(
    store: FolderStore, provider: FakeProvider, public_url: str, root_path: str
) -> None:
    async def work() -> None:
        browser = Browser(store, provider, public_url=public_url, root_path=root_path)
        assert 'href="/studio/oidc/begin"' in (await browser.get("/")).text
        begun = await browser.get("/oidc/begin")
        asked = parse_qs(urlparse(begun.headers["location"]).query)
        assert asked["redirect_uri"] == ["https://band.example/studio/oidc/back"]
        assert "path=/studio/oidc" in begun.headers["set-cookie"].lower()
        assert 'href="/studio/oidc/begin?other=1"' in (await browser.get("/oidc/back?code=x&state=y")).text

    run_async(work())


def test_a_certificate_authority_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("not a certificate")
    given = {"access": "members", "oidc_issuer": "https://idp.example", "oidc_client_id": "x", "public_url": "https://s.example"}
    with pytest.raises(SettingsError, match=r"ca\.crt"):
        OidcProvider(StudioSettings.model_validate({**given, "oidc_ca": str(tmp_path / "ca.crt")}))


def test_the_clients_secret_is_no_flag_and_is_not_printed() -> None:
    from services.studio.__main__ import build_parser

    assert "oidc-client-secret" not in build_parser().format_help()
    assert "hush" not in repr(load_studio_settings({"AUDIOTUNE_STUDIO_OIDC_CLIENT_SECRET": "hush"}))


def test_an_identity_is_one_members_only(store: FolderStore) -> None:
    assert identities.add_identity(store, "ana", " u-1 ").member == "ana"
    with pytest.raises(AccessError, match="is ana already"):
        identities.add_identity(store, "ben", "u-1")
    for wrong in ("", "x" * 400, "a\nb"):
        with pytest.raises(AccessError):
            identities.add_identity(store, "ben", wrong)
    assert identities.find_identity(store, "U-1") is None
    assert [(one.member, one.identity) for one in identities.list_identities(store)] == [("ana", "u-1")]
    with pytest.raises(AccessError, match="nobody is known"):
        identities.remove_identity(store, "u-9")


def test_only_owners_say_who_is_who(store: FolderStore) -> None:
    accounts.create_account(store, "ana", None, "owner")
    group = agreement()
    with pytest.raises(AccessError, match="only owners"):
        add_member_identity(store, group, "ben", "ben", "u-2")
    with pytest.raises(AccessError, match="member of the agreement"):
        add_member_identity(store, group, "ana", "mallory", "u-2")
    add_member_identity(store, group, "ana", "ben", "u-2")
    with pytest.raises(AccessError, match="own only way in"):
        remove_member_identity(store, "ana", "u-1")
    with pytest.raises(AccessError, match="only owners"):
        remove_member_identity(store, "ben", "u-2")
    remove_member_identity(store, "ana", "u-2")
    assert identities.find_identity(store, "u-2") is None


def test_an_owner_needs_no_password_where_a_provider_asks(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--store", store.url]
    assert access([*flags, "account", "create", "ana", "--role", "owner", "--no-password"]) == 0
    assert access([*flags, "identity", "add", "ben", "ben@band.example"]) == 0
    assert access([*flags, "identity", "list"]) == 0
    assert "ben\tben@band.example" in capsys.readouterr().out
    assert access([*flags, "identity", "remove", "ben@band.example"]) == 0
    account = accounts.read_account(store, "ana")
    assert account is not None
    assert account.role == "owner"
    for guess in ("", "a guess at it"):
        assert accounts.verify_password(store, "ana", guess) is None
