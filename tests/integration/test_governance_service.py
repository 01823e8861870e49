"""The governance service as a process: ingest and the studio write by it; who has no key, no ticket or too much to say, cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from audiotune.access import accounts, identities, tokens
from audiotune.access.__main__ import main as access_command
from audiotune.access.writer import ServiceAccessWriter, open_access_writer
from audiotune.errors import AccessError, ForbiddenError, StoreError
from audiotune.governance import publish_agreement, read_consents
from audiotune.governance.service_client import KEY, GovernanceServiceClient
from audiotune.store import FolderStore
from components.ingest.settings import Settings
from components.ingest.step import run_step
from services.studio.context import create_context
from services.studio.settings import load_studio_settings
from services.studio.sign_in.password_page import PasswordSignIn
from services.studio.sign_in.session_store import COOKIE
from tests.fakes.foreign_sounds import wave, write_wav
from tests.fakes.governance_process import INGEST_KEY, STUDIO_KEY, GovernanceProcess, run_governance
from tests.fakes.oidc import FakeProvider, serving
from tests.fakes.seeded_store import agreement
from tests.unit.services.studio.sign_in.test_sign_in import Browser

pytestmark = pytest.mark.integration
PASSWORD = "patch cables"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    made = FolderStore(tmp_path_factory.mktemp("store"))
    accounts.create_account(made, "ana", PASSWORD, "owner", work=1)
    accounts.create_account(made, "ben", PASSWORD, work=1)
    return made


@pytest.fixture(scope="module")
def service(store: FolderStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GovernanceProcess]:
    with run_governance(store.url, tmp_path_factory.mktemp("governance")) as running:
        yield running


def write_by(monkeypatch: pytest.MonkeyPatch, service: GovernanceProcess, key: str) -> None:
    for name, value in service.environment(key).items():
        monkeypatch.setenv(name, value)


def ingest(store: FolderStore, folder: Path) -> list[str]:
    """Brings in one take of ana and ben; returns its id."""
    takes = folder / "takes"
    takes.mkdir()
    write_wav(takes / "drone.wav", wave(seconds=1.0))
    plan = folder / "agreement.json"
    lines = agreement()
    plan.write_text(
        "\n".join(
            [
                f'group = "{lines.group}"',
                "version = 1",
                f'recordings_licence = "{lines.recordings_licence}"',
                'accepted_licences = ["CC0-1.0", "CC-BY-4.0"]',
                f'weights_licence = "{lines.weights_licence}"',
                *(
                    f'[[members]]\nid = "{m.id}"\nname = "{m.name}"\nleft = {str(m.left).lower()}\n'
                    f"consents_to = {list(m.consents_to)}"
                    for m in lines.members
                ),
            ]
        )
    )
    settings = Settings(source=str(takes), agreement=str(plan), contributors="ana,ben")
    files = {name: folder / name for name in ("recordings", "report", "metrics")}
    run_step(settings, store, lambda share, words: None, **files)
    return [line.split('"id":"')[1][:64] for line in files["recordings"].read_text().splitlines() if '"id":"' in line]


def test_ingest_puts_the_agreement_and_consents_into_the_store_by_the_service(
    store: FolderStore, service: GovernanceProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_by(monkeypatch, service, "no key of the service")
    (tmp_path / "refused").mkdir()
    with pytest.raises(AccessError, match="no key of the governance service"):
        ingest(store, tmp_path / "refused")
    assert list(store.list("governance/")) == []
    write_by(monkeypatch, service, INGEST_KEY)
    (recording,) = ingest(store, tmp_path)
    records = read_consents(store, [recording])
    assert {(who, record.basis) for (_, who), record in records.items()} == {
        (who, "agreement version 1, standing consent") for who in ("ana", "ben")
    }
    assert "ingest: record_standing_consents: done" in service.log.read_text()


def test_the_studio_signs_in_and_writes_by_the_service(
    store: FolderStore, service: GovernanceProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_agreement(store, agreement())
    write_by(monkeypatch, service, STUDIO_KEY)
    context = create_context(load_studio_settings({}, store=store.url, access="members"))
    assert isinstance(context.access, ServiceAccessWriter)

    async def sign_in() -> str:
        app = Starlette(middleware=[PasswordSignIn(context).middleware()])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio") as browser:
            assert (await browser.post("/login", data={"username": "ana", "password": "a guess"})).status_code == 400
            assert (await browser.post("/login", data={"username": "ana", "password": PASSWORD})).status_code == 200
            return browser.cookies[COOKIE]

    cookie = asyncio.run(sign_in())
    assert context.sessions.find_member(cookie) == "ana"
    ticket = context.sessions.find_ticket(cookie)
    text = context.access.issue_token(ticket, ["generate"], 90, "sampler")
    assert tokens.check_token(store, text, "generate").member == "ana"
    password = context.access.issue_password(ticket, "chi")
    assert accounts.verify_password(store, "chi", password)
    changed = context.access.change_password(ticket, PASSWORD, "ring modulator")
    assert accounts.verify_password(store, "ana", "ring modulator")
    with pytest.raises(AccessError):
        context.access.issue_token(ticket, ["generate"], 90)
    context.access.change_password(changed.ticket, "ring modulator", PASSWORD)
    log = service.log.read_text()
    assert not [secret for secret in (PASSWORD, "ring modulator", ticket, text, password, STUDIO_KEY) if secret in log]


def test_who_holds_the_studios_key_forges_no_owner(store: FolderStore, service: GovernanceProcess) -> None:
    publish_agreement(store, agreement())
    studio = ServiceAccessWriter(GovernanceServiceClient(service.url, STUDIO_KEY))
    bens = studio.verify_password("ben", PASSWORD)
    assert bens is not None
    for ticket in ("", bens.ticket, bens.ticket.replace("ben.", "ana.", 1)):
        with pytest.raises(AccessError):
            studio.issue_password(ticket, "ana")
    with pytest.raises(ForbiddenError):
        studio.vouch_for("ana")
    assert accounts.verify_password(store, "ana", PASSWORD)
    assert [account.member for account in accounts.list_accounts(store) if account.role == "owner"] == ["ana"]


def test_a_body_of_ten_megabytes_is_refused(service: GovernanceProcess) -> None:
    headers = {"Authorization": f"Bearer {STUDIO_KEY}"}
    body = b'{"member": "ana", "password": "' + b"x" * 10_000_000 + b'"}'
    try:
        answer = httpx.post(f"{service.url}/v1/verify_password", content=body, headers=headers, timeout=20)
    except (httpx.WriteError, httpx.ReadError):
        pass  # it closed the connection while we were still sending
    else:
        assert (answer.status_code, answer.json()["cure"]) == (422, "send 256 kB at most")
    assert httpx.get(f"{service.url}/ready").text == "OK"


def test_a_service_that_is_away_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUDIOTUNE_GOVERNANCE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv(KEY, STUDIO_KEY)
    with pytest.raises(StoreError, match=r"governance service does not answer .* in http://127\.0\.0\.1:9\. Look at its pod"):
        open_access_writer(FolderStore(tmp_path)).vouch_for("ana")
    context = create_context(load_studio_settings({}, store=str(tmp_path), access="members"))

    async def sign_in() -> httpx.Response:
        app = Starlette(middleware=[PasswordSignIn(context).middleware()])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio") as browser:
            return await browser.post("/login", data={"username": "ana", "password": PASSWORD})

    answer = asyncio.run(sign_in())
    assert (answer.status_code, answer.json()["detail"][:31]) == (503, "Passwords cannot be checked now")


def test_the_command_line_says_where_it_writes(
    store: FolderStore, service: GovernanceProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_by(monkeypatch, service, STUDIO_KEY)
    assert access_command(["--store", store.url, "account", "create", "mallory", "--role", "owner"]) == 1
    assert "deploy/RELEASE-governance" in capsys.readouterr().err
    assert access_command(["--store", store.url, "account", "list"]) == 0
    assert "ana\towner" in capsys.readouterr().out


def test_a_sign_in_at_a_provider_is_proven_to_the_service_by_the_providers_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "store")
    publish_agreement(store, agreement())
    accounts.create_account(store, "ana", None, "owner")
    identities.add_identity(store, "ana", "u-1")
    provider = FakeProvider(("studio", "hush"), {"u-1": {}})
    with serving(provider):
        more = {"AUDIOTUNE_GOVERNANCE_OIDC_ISSUER": provider.issuer, "AUDIOTUNE_GOVERNANCE_OIDC_CLIENT_ID": "studio"}
        with run_governance(store.url, tmp_path, more) as running:
            write_by(monkeypatch, running, STUDIO_KEY)
            browser = Browser(store, provider)
            assert asyncio.run(browser.sign_in("u-1")).status_code == 303
            ticket = browser.context.sessions.find_ticket_of("ana")
            browser.context.access.add_identity(ticket, "ben", "u-2")
            assert identities.find_identity(store, "u-2") is not None
            with pytest.raises(AccessError, match="does not hold"):
                browser.context.access.vouch_for("ana", "a token of ours")
