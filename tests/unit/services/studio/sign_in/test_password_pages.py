"""The sign-in by password: which visitors get a session; a new password, a removed account, time and sign-out end it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from audiotune.access import accounts, tokens
from audiotune.access.__main__ import main as access
from audiotune.access.owners import issue_password
from audiotune.errors import AccessError, StoreError
from audiotune.governance import publish_agreement
from audiotune.store import FolderStore
from services.studio.context import create_context, create_session_store
from services.studio.settings import load_studio_settings
from services.studio.sign_in.attempts import SignInAttempt
from services.studio.sign_in.credentials import PasswordChecker
from services.studio.sign_in.known_devices import DEVICE_COOKIE
from services.studio.sign_in.middleware import SignIn
from services.studio.sign_in.password_page import PasswordSignIn
from services.studio.sign_in.session_store import COOKIE, COOKIE_OF_PATH, RECHECK_S, SessionStore, check_password
from tests.fakes.clock import Clock
from tests.fakes.seeded_store import agreement

FIRST, SECOND = "patch cables", "ring modulator"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    publish_agreement(made, agreement())
    accounts.create_account(made, "ana", FIRST, "owner", work=1)
    accounts.create_account(made, "ben", FIRST, work=1)
    return made


async def _show_member(request: Request) -> Response:
    """Stands in for Gradio: answers with the member who is signed in."""
    return PlainTextResponse(f"hello {SignIn.read_member(request)}")


class Studio:
    """The sign-in middleware in front of one page, and browsers that visit it."""

    def __init__(self, store: FolderStore, **more: Any) -> None:
        self.clock = Clock()
        settings = load_studio_settings({}, store=store.url, access="members", **more)
        context = create_context(settings)
        self.context = replace(context, sessions=create_session_store(settings, store, self.clock))
        self.checker = PasswordChecker(self.context.access, self.clock)
        sign_in = PasswordSignIn(self.context, self.checker)
        self._app = Starlette(
            routes=[Route("/{path:path}", _show_member, methods=["GET", "POST"])], middleware=[sign_in.middleware()]
        )

    def browser(self, at: str = "http://studio") -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url=at)

    async def signed_in(self, member: str, password: str = FIRST) -> httpx.AsyncClient:
        browser = self.browser()
        assert (await post_login(browser, member, password)).status_code == 200
        assert await read_visitor(browser) == f"hello {member}"
        return browser

    def later(self) -> None:
        self.clock.now += RECHECK_S + 0.1


async def post_login(browser: httpx.AsyncClient, member: str, password: str, **headers: str) -> httpx.Response:
    return await browser.post("/login", data={"username": member, "password": password}, headers=headers)


async def read_visitor(browser: httpx.AsyncClient) -> str | int:
    """The page that this browser gets, or the status of the refusal."""
    answer = await browser.get("/config")
    return answer.text if answer.status_code == 200 else answer.status_code


def run_async(work: Any) -> None:
    asyncio.run(work)


def test_without_a_session_only_the_password_form_is_served(store: FolderStore) -> None:
    async def work() -> None:
        browser = Studio(store).browser()
        page = await browser.get("/")
        assert page.status_code == 200
        assert 'type="password"' in page.text
        assert "form-action 'self'" in page.headers["content-security-policy"]
        for path in ("/config", "/gradio_api/info", "/gradio_api/file=/etc/passwd", "/assets/index.js", "/login_check"):
            assert (await browser.get(path)).status_code in (401, 404), path
        assert (await browser.get("/login")).headers["location"] == "/"
        assert (await browser.post("/gradio_api/queue/join", json={})).status_code == 401
        browser.cookies.set(COOKIE, "guessed")
        assert await read_visitor(browser) == 401

    run_async(work())


def test_a_member_signs_in_by_page_and_by_program(store: FolderStore) -> None:
    async def work() -> None:
        studio = Studio(store)
        browser = studio.browser()
        wrong = await post_login(browser, "ana", "a guess at it", Accept="text/html,*/*")
        assert (wrong.status_code, 'type="password"' in wrong.text) == (400, True)
        assert (await post_login(browser, "ana", "a guess at it")).json()["detail"].startswith("That did not work")
        assert await read_visitor(browser) == 401
        right = await post_login(browser, "ana", FIRST, Accept="text/html,*/*")
        assert (right.status_code, right.headers["location"]) == (303, "/")
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "secure" not in cookie
        assert await read_visitor(browser) == "hello ana"

    run_async(work())


@pytest.mark.parametrize(
    ("at", "headers", "public_url"),
    [
        ("https://studio", {}, ""),
        ("http://studio", {"X-Forwarded-Proto": "https"}, ""),
        ("http://studio", {}, "https://s.example"),
    ],
)
def test_over_https_the_cookie_stays_there(store: FolderStore, at: str, headers: dict[str, str], public_url: str) -> None:
    async def work() -> None:
        browser = Studio(store, public_url=public_url).browser(at)
        assert "secure" in (await post_login(browser, "ana", FIRST, **headers)).headers["set-cookie"].lower()

    run_async(work())


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", ""),
        (b"\xff\xfe=%ff&&&", ""),
        (b"username=ana&password=" + b"x" * 20_000, ""),
        (b"a=1&" * 99, ""),
        (b"{}", "application/json"),
    ],
)
def test_what_is_no_form_opens_nothing(store: FolderStore, data: bytes, kind: str) -> None:
    async def work() -> None:
        browser = Studio(store).browser()
        answer = await browser.post("/login", content=data, headers={"Content-Type": kind} if kind else {})
        assert answer.status_code == 400
        assert "set-cookie" not in answer.headers

    run_async(work())


def by_the_owner(store: FolderStore) -> None:
    issue_password(store, agreement(), "ana", "ben")


def by_the_command_line(store: FolderStore) -> None:
    assert access(["--store", store.url, "account", "remove", "ben"]) == 0


def anew(store: FolderStore) -> None:
    """Removed and made again with the same password between two looks: another salt, another account."""
    accounts.remove_account(store, "ben")
    accounts.create_account(store, "ben", FIRST, work=1)


@pytest.mark.parametrize("change", [by_the_owner, by_the_command_line, anew])
def test_a_new_password_or_a_removed_account_ends_every_session_of_the_member(
    store: FolderStore, change: Callable[[FolderStore], None]
) -> None:
    async def work() -> None:
        studio = Studio(store)
        ana, ben, bens_telephone = [await studio.signed_in(member) for member in ("ana", "ben", "ben")]
        token = tokens.issue_token(store, "ben", ["generate"], 90)
        studio.later()
        assert await read_visitor(ben) == "hello ben"
        change(store)
        studio.later()
        assert (await read_visitor(ben), await read_visitor(bens_telephone)) == (401, 401)
        assert await read_visitor(ana) == "hello ana"
        with contextlib.suppress(AccessError) if change is by_the_owner else contextlib.nullcontext():
            assert tokens.check_token(store, token, "generate").member == "ben"
            assert change is not by_the_owner  # whoever knew the old password may have made one

    run_async(work())


def test_who_changes_a_password_stays_in_where_it_was_changed(store: FolderStore) -> None:
    async def work() -> None:
        studio = Studio(store)
        here, elsewhere = await studio.signed_in("ben"), await studio.signed_in("ben")
        changed = accounts.change_password(store, "ben", SECOND, work=1)
        studio.context.sessions.renew(here.cookies[COOKIE], changed.password)
        studio.later()
        assert (await read_visitor(here), await read_visitor(elsewhere)) == ("hello ben", 401)
        studio.context.sessions.renew("guessed", changed.password)
        assert (await post_login(elsewhere, "ben", FIRST)).status_code == 400
        assert (await post_login(elsewhere, "ben", SECOND)).status_code == 200

    run_async(work())


def test_a_browser_that_signed_in_before_is_let_in_while_a_stranger_at_its_address_guesses(store: FolderStore) -> None:
    async def work() -> None:
        studio = Studio(store)
        hers, stranger = await studio.signed_in("ana"), studio.browser()
        assert DEVICE_COOKIE in hers.cookies
        for _ in range(5):
            assert (await post_login(stranger, "ana", "a guess at it")).status_code == 400
        studio.checker._pace.reserve(SignInAttempt("ana", "127.0.0.1"))
        for _ in range(9):  # until the next one would have to wait for long
            studio.checker._pace.reserve(SignInAttempt("ana", "127.0.0.1"))
        refused = await post_login(stranger, "ana", FIRST)
        assert (refused.status_code, refused.json()["detail"][:31]) == (429, "Too many sign-ins come at once.")
        assert int(refused.headers["retry-after"]) > 10
        page = await post_login(stranger, "ana", FIRST, Accept="text/html")
        assert (page.status_code, 'type="password"' in page.text) == (429, True)
        assert (await post_login(hers, "ana", FIRST)).status_code == 200
        assert (await post_login(hers, "ben", "a guess at it")).status_code == 400  # the cookie is one account's

    run_async(work())


def test_a_member_who_signs_in_again_and_again_ends_nobody_elses_session(store: FolderStore) -> None:
    async def work() -> None:
        studio = Studio(store)
        ana = await studio.signed_in("ana")
        texts = [studio.context.sessions.begin("ben", "proof") for _ in range(12_000)]
        assert sum(bool(studio.context.sessions.find_member(text)) for text in texts) == 50
        assert await read_visitor(ana) == "hello ana"

    run_async(work())


@pytest.mark.parametrize("keep", [True, False])
def test_a_new_password_ends_the_tokens_unless_they_are_kept(store: FolderStore, keep: bool) -> None:
    async def work() -> None:
        context, token = Studio(store).context, tokens.issue_token(store, "ben", ["generate"], 90)
        found = await context.passwords.check("ben", FIRST)
        assert found is not None
        context.passwords.change_password("ben", found.ticket, FIRST, SECOND, keep_tokens=keep, session="this browser")
        with contextlib.nullcontext() if keep else pytest.raises(AccessError):
            tokens.check_token(store, token, "generate")

    run_async(work())


def test_guesses_at_the_old_password_are_slowed_for_the_session_that_makes_them(store: FolderStore) -> None:
    async def work() -> None:
        passwords = Studio(store).context.passwords
        found = await passwords.check("ben", FIRST)
        assert found is not None
        for _ in range(5):
            with pytest.raises(AccessError, match="not right"):
                passwords.change_password("ben", found.ticket, "a guess at it", SECOND, keep_tokens=True, session="stolen")
        with pytest.raises(AccessError, match="too many wrong"):
            passwords.change_password("ben", found.ticket, FIRST, SECOND, keep_tokens=True, session="stolen")
        assert passwords.change_password("ben", found.ticket, FIRST, SECOND, keep_tokens=True, session="his own")

    run_async(work())


def test_a_session_ends_by_sign_out_and_by_time(store: FolderStore) -> None:
    async def work() -> None:
        studio = Studio(store)
        browser, other = await studio.signed_in("ana"), await studio.signed_in("ana")
        kept = browser.cookies[COOKIE]
        asked = await browser.get("/logout")  # a link, perhaps on another site
        assert ('method="post"' in asked.text, await read_visitor(browser)) == (True, "hello ana")
        assert (await browser.post("/logout")).headers["location"] == "/"
        assert COOKIE not in browser.cookies
        browser.cookies.set(COOKIE, kept)
        assert await read_visitor(browser) == 401
        assert await read_visitor(other) == "hello ana"
        studio.clock.now += studio.context.settings.session_s + 1
        assert await read_visitor(other) == 401

    run_async(work())


def test_a_store_that_is_away_takes_nobodys_session_and_tells_when_it_is_back(store: FolderStore) -> None:
    class Away(FolderStore):
        away = True

        def get(self, key: str) -> bytes:
            if self.away:
                raise StoreError("the store is away", where=key)
            return super().get(key)

    clock, flaky = Clock(), Away(store.root)
    sessions = SessionStore(3600, functools.partial(check_password, flaky), clock)
    text = sessions.begin("ben", "another hash")
    clock.now = 10
    assert sessions.find_member(text) == "ben"
    flaky.away = False
    clock.now = 20
    assert sessions.find_member(text) == ""


def test_the_only_owner_stays(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AccessError, match="only owner"):
        accounts.remove_account(store, "ana")
    with pytest.raises(AccessError, match="no account"):
        accounts.remove_account(store, "zoe")
    id = tokens.issue_token(store, "ben", ["generate"], 90).split("_")[1]
    by_the_command_line(store)
    assert id in capsys.readouterr().out
    assert accounts.read_account(store, "ben") is None


def leave(store: FolderStore, member: str) -> None:
    members = tuple(m.model_copy(update={"left": m.left or m.id == member}) for m in agreement().members)
    publish_agreement(store, agreement().model_copy(update={"version": 2, "members": members}))


def test_leaving_ends_sessions_and_a_new_one_may_only_look(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiotune.access.membership.FRESH_S", 0.0)
    studio = Studio(store)

    async def visit() -> None:
        ana, ben = await studio.signed_in("ana"), await studio.signed_in("ben")
        studio.clock.now += 2 * RECHECK_S
        assert await read_visitor(ben) == "hello ben"
        leave(store, "ben")
        studio.clock.now += 2 * RECHECK_S
        assert (await ben.get("/config")).status_code == 401
        assert await read_visitor(ana) == "hello ana"
        again = await studio.signed_in("ben")
        for _ in range(3):
            studio.clock.now += 2 * RECHECK_S
            assert await read_visitor(again) == "hello ben"
        assert studio.context.find_member("ben", "") == "ben"
        assert studio.context.find_active_member("ben", "") == ""

    asyncio.run(visit())


def test_an_account_outside_the_agreement_stays_signed_in(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner whom nobody has written into the agreement yet must be able to come in and say so."""
    monkeypatch.setattr("audiotune.access.membership.FRESH_S", 0.0)
    accounts.create_account(store, "operator", FIRST, "owner", work=1)
    studio = Studio(store)

    async def visit() -> None:
        browser = await studio.signed_in("operator")
        for _ in range(3):
            studio.clock.now += 2 * RECHECK_S
            assert await read_visitor(browser) == "hello operator"

    asyncio.run(visit())


def test_an_agreement_that_cannot_be_read_is_said_on_every_page_and_lets_nobody_act(store: FolderStore) -> None:
    from services.studio.app import _build_with_agreement
    from services.studio.pages.header import build_header_value

    damaged = max(entry.key for entry in store.list("governance/ledger/"))
    store.put(damaged, b"{")
    context = Studio(store).context
    _build_with_agreement(context)
    value = build_header_value(context, "", "ana")
    assert damaged in value["notice"]
    assert value["members"] == []
    assert context.find_member("ana", "") == context.find_active_member("ana", "") == ""


def test_below_a_path_nothing_of_the_sign_in_is_beside_it(store: FolderStore) -> None:
    async def work() -> None:
        studio = Studio(store, public_url="https://band.example/studio/")
        browser = studio.browser("https://band.example")
        assert 'action="/studio/login"' in (await browser.get("/")).text
        answer = await browser.post("/login", data={"username": "ana", "password": FIRST}, headers={"Accept": "text/html"})
        assert answer.headers["location"] == "/studio/"
        kept = [cookie.partition("=")[0] for cookie in answer.headers.get_list("set-cookie")]
        paths = [cookie.lower().partition("path=")[2].partition(";")[0] for cookie in answer.headers.get_list("set-cookie")]
        assert list(zip(kept, paths, strict=True)) == [(COOKIE_OF_PATH, "/studio"), (DEVICE_COOKIE, "/studio/login")]
        assert (await browser.get("/login")).headers["location"] == "/studio/"
        assert 'action="/studio/logout"' in (await browser.get("/logout")).text
        cookie = answer.cookies[COOKIE_OF_PATH]
        gone = await browser.post("/logout", headers={"Cookie": f"{COOKIE_OF_PATH}={cookie}"})
        assert gone.headers["location"] == "/studio/"
        assert "Path=/studio;" in gone.headers["set-cookie"]

    asyncio.run(work())
