"""Members are told once: by real servers, also when those were away, and when the studio was killed in the middle."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from audiotune.errors import AddressError, SettingsError, StoreError
from audiotune.governance import Consent, publish_agreement, record_consent
from audiotune.governance.ledger.keys import generate_key
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.outside.webhooks import sign_webhook
from audiotune.store import FolderStore
from services.studio.notices.addresses import read_address, write_address
from services.studio.notices.channels import MailChannel, MatrixChannel, NoticeChannel, WebhookChannel, list_channels
from services.studio.notices.sender import NoticeSender
from services.studio.settings import StudioSettings, load_studio_settings
from services.studio.stored_news import StoredNewsReader
from tests.fakes.described_store import agreement, digest
from tests.fakes.http_server import answering
from tests.fakes.layout_store import LayoutStore
from tests.fakes.mail_server import MailServer, serving_mail, write_certificate

OPENED: dict[str, Any] = {"kind": "other", "title": "Buy filters", "rule": {}}
SECRET = "a secret of the webhook"
TOKEN = "a token of matrix"
PASSWORD = "a password of the mail server"


@dataclass
class Receiver:
    """What an HTTP server was sent: method, path, headers, body. `status`: its answer."""

    status: int = 200
    got: list[tuple[str, str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def address(receiver: Receiver) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.got.append((self.command, self.path, headers, {"raw": body, **json.loads(body)}))
            self.send_response(receiver.status)
            self.end_headers()

        do_PUT = do_POST

        def log_message(self, *args: object) -> None:
            pass

    with answering(Handler) as url:
        yield url


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = LayoutStore(tmp_path / "store")
    publish_agreement(made, agreement())
    return made


def settings_of(**given: Any) -> StudioSettings:
    return load_studio_settings({}, **given)


def webhook(url: str) -> WebhookChannel:
    hosts = url.partition("://")[2]
    return WebhookChannel(settings_of(notice_webhook=f"{url}/hook", notice_webhook_secret=SECRET, notice_hosts=hosts))


def sender_of(store: FolderStore, *channels: NoticeChannel) -> NoticeSender:
    """As a studio that has just started."""
    return NoticeSender(FolderStore(store.root), channels, StoredNewsReader(store, every_s=0))


def propose(store: FolderStore, who: str = "ana", title: str = "Buy filters") -> int:
    return append_member_event(store, who, "proposal_opened", {**OPENED, "title": title})


def test_what_happens_is_told_once_and_what_was_before_is_not(store: FolderStore, receiver: Receiver, address: str) -> None:
    propose(store, title="long ago")
    channel = webhook(address)
    assert sender_of(store, channel).collect() == 0  # the first start
    number = propose(store)
    for _ in range(3):  # also after every start
        sender = sender_of(store, channel)
        sender.collect()
        sender.deliver(channel)
    ((method, path, headers, body),) = receiver.got
    assert (method, path) == ("POST", "/hook")
    assert (body["id"], body["kind"], body["event"], body["to"]) == (f"event-{number}", "proposal_opened", number, ["ben", "chi"])
    assert "“Buy filters”" in body["words"]
    signed = sign_webhook(SECRET, headers["webhook-id"], headers["webhook-timestamp"], body["raw"])
    assert headers["webhook-signature"] == signed


def test_who_is_told_of_what(store: FolderStore) -> None:
    told: list[tuple[str, tuple[str, ...]]] = []

    class Ear:
        name = "ear"

        def list_receivers(self, notice: Any) -> list[str]:
            told.append((notice.kind, notice.to))
            return []

        def send(self, notice: Any, receiver: str, id: str) -> None: ...

    sender_of(store, Ear()).collect()
    record_consent(store, Consent(recording=digest("one"), contributor="ana", uses=("store",), basis="x", agreement="0" * 64))
    number, key = propose(store, "ben"), generate_key()
    for who in ("ana", "ben"):
        append_member_event(store, who, "vote_cast", {"proposal": number, "choice": "yes"})
    append_member_event(store, "ana", "proposal_commented", {"proposal": propose(store, "ana"), "text": "x"})
    append_member_event(store, "ana", "withdrawal_recorded", {"recordings": [digest("one")]})
    append_member_event(store, "chi", "member_key_registered", {"key": key.public.hex()})
    append_member_event(store, "chi", "member_key_lost", {"key_id": key.id})
    publish_agreement(store, agreement().model_copy(update={"version": 2, "withdrawal_grace_days": 3}))
    sender_of(store, Ear()).collect()
    assert told == [
        ("proposal_opened", ("ana", "chi")),
        ("proposal_closed", ("ana", "ben", "chi")),
        ("proposal_opened", ("ben", "chi")),
        ("withdrawal_recorded", ("ben", "chi")),
        ("member_key_lost", ("ana", "ben")),
        ("agreement_published", ("ana", "ben", "chi")),
    ]


def test_nothing_is_lost_while_a_server_is_away(
    store: FolderStore, receiver: Receiver, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    channel = webhook(address)
    sender_of(store, channel).collect()
    titles = ["one", "two", "three"]
    for title in titles:
        propose(store, title=title)
    sender = sender_of(store, channel)
    assert sender.collect() == 3
    receiver.status, now = 503, datetime.now(UTC)
    with caplog.at_level(logging.WARNING):
        assert sender.deliver(channel, now) == 0
    assert len(receiver.got) == 1  # the others wait for the server, too
    assert SECRET not in caplog.text
    assert "NoticeRefusedError 503" in caplog.text
    receiver.status = 200
    now += timedelta(minutes=1)
    assert sender_of(store, channel).deliver(channel, now) == 3
    ids = [headers["webhook-id"] for _, _, headers, _ in receiver.got]
    assert len(receiver.got) == 4
    assert len(set(ids)) == 3  # the one that was tried again has the same id
    assert [any(title in body["words"] for *_, body in receiver.got[1:]) for title in titles] == [True] * 3


def test_a_notice_is_given_up_after_a_week_and_the_pauses_grow(store: FolderStore, receiver: Receiver, address: str) -> None:
    channel, sender = webhook(address), None
    sender_of(store, channel).collect()
    propose(store)
    sender = sender_of(store, channel)
    sender.collect()
    receiver.status, now, tried = 500, datetime.now(UTC), []
    for _ in range(8 * 24 * 60):
        before = len(receiver.got)
        sender.deliver(channel, now)
        if len(receiver.got) > before:
            tried.append(now)
        if not list(store.list("notices/outbox/")):
            break
        now += timedelta(minutes=1)
    assert timedelta(days=7) < tried[-1] - tried[0] < timedelta(days=7, hours=2)
    assert 170 < len(tried) < 180
    assert not list(store.list("notices/outbox/"))


@pytest.mark.parametrize("when", ["before the note", "in the middle of the outbox"])
def test_a_studio_that_is_killed_loses_and_doubles_nothing(
    store: FolderStore, receiver: Receiver, address: str, when: str
) -> None:
    class Killed(FolderStore):
        """The process ends at this write."""

        puts = 0

        def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
            self.puts += key.startswith("notices/outbox/")
            if key == "notices/progress.json" or (when == "in the middle of the outbox" and self.puts == 2):
                raise StoreError("killed")
            super().put(key, data, only_new=only_new)

    channel = webhook(address)
    sender_of(store, channel).collect()
    propose(store, title="one")
    propose(store, title="two")
    with pytest.raises(StoreError, match="killed"):
        NoticeSender(Killed(store.root), [channel], StoredNewsReader(store)).collect()
    sender = sender_of(store, channel)
    sender.collect()
    sender.deliver(channel)
    assert sorted(body["event"] for *_, body in receiver.got) == [
        open_ledger(store).read_state().number - 1,
        open_ledger(store).read_state().number,
    ]


def test_a_room_of_matrix_is_told(store: FolderStore, receiver: Receiver, address: str) -> None:
    room, hosts = "!a/b c:band.example", address.partition("://")[2]
    channel = MatrixChannel(settings_of(matrix_url=f"{address}/", matrix_room=room, matrix_token=TOKEN, notice_hosts=hosts))
    sender_of(store, channel).collect()
    propose(store)
    sender = sender_of(store, channel)
    sender.collect()
    receiver.status = 429
    assert sender.deliver(channel) == 0
    receiver.status = 200
    assert sender.deliver(channel, datetime.now(UTC) + timedelta(minutes=1)) == 1
    first, second = receiver.got
    assert (second[0], second[2]["authorization"], second[3]["msgtype"]) == ("PUT", f"Bearer {TOKEN}", "m.notice")
    parts = second[1].split("/")
    assert parts[:6] == ["", "_matrix", "client", "v3", "rooms", second[1].split("/")[5]]
    assert unquote(parts[5]) == room
    assert parts[6:8] == ["send", "m.room.message"]
    assert first[1] == second[1]  # the same transaction: the server shows it once
    assert second[3]["body"].startswith("Ana proposes")


class TestMail:
    def settings(self, server: MailServer, **given: Any) -> StudioSettings:
        fixed = {"smtp_host": "localhost", "smtp_port": server.port, "smtp_from": "tune@band.example", "public_url": ""}
        return settings_of(**{**fixed, "notice_hosts": "localhost", **given})

    def tell(self, store: FolderStore, channel: MailChannel) -> NoticeSender:
        sender_of(store, channel).collect()
        propose(store, title="Buy\r\nBcc: eve@evil.example")
        sender = sender_of(store, channel)
        sender.collect()
        return sender

    @pytest.mark.parametrize("security", ["starttls", "tls"])
    def test_who_gave_an_address_is_told(
        self, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
    ) -> None:
        certificate = write_certificate(tmp_path / "mail.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        given = MailServer(certificate, tls_at_once=security == "tls", login=f"tune\0{PASSWORD}")
        for who in ("ana", "ben"):
            write_address(store, who, f"{who}@band.example")
        with serving_mail(given) as server:
            login = {"smtp_user": "tune", "smtp_password": PASSWORD}
            channel = MailChannel(self.settings(server, smtp_security=security, **login), store)
            assert self.tell(store, channel).deliver(channel) == 1
        ((to, text),) = server.mails  # ana proposed it, chi gave no address
        assert to == ["ben@band.example"]
        head, _, body = text.partition("\r\n\r\n")
        assert "Bcc" not in [line.partition(":")[0] for line in head.splitlines()]
        assert "Auto-Submitted: auto-generated" in head
        assert "Message-ID: <" in head
        assert "Account page" in body

    def test_no_mail_and_no_password_goes_out_in_the_clear(self, store: FolderStore, tmp_path: Path) -> None:
        """The server offers no encryption, or has a certificate that nobody vouches for."""
        write_address(store, "ben", "ben@band.example")
        for certificate in (None, write_certificate(tmp_path / "unknown.pem")):
            with serving_mail(MailServer(certificate)) as server:
                channel = MailChannel(self.settings(server, smtp_user="tune", smtp_password=PASSWORD), store)
                assert self.tell(store, channel).deliver(channel) == 0
            assert (server.mails, server.logins) == ([], [])

    def test_a_server_that_was_away_gets_it_later(self, store: FolderStore, caplog: pytest.LogCaptureFixture) -> None:
        write_address(store, "ben", "ben@band.example")
        with serving_mail(MailServer(login="tune\0other", broken=True)) as server:
            login = {"smtp_user": "tune", "smtp_password": PASSWORD}
            channel = MailChannel(self.settings(server, smtp_security="none", **login), store)
            sender, now = self.tell(store, channel), datetime.now(UTC)
            assert sender.deliver(channel, now) == 0
            server.broken = False
            assert sender.deliver(channel, now + timedelta(minutes=1)) == 0  # a wrong password
            server.login = f"tune\0{PASSWORD}"
            assert sender.deliver(channel, now + timedelta(minutes=9)) == 1
        assert len(server.mails) == 1
        assert PASSWORD not in caplog.text
        assert "ben@band.example" not in caplog.text

    def test_an_address_that_is_refused_for_good_holds_up_nobody(self, store: FolderStore) -> None:
        write_address(store, "ben", "gone@band.example")
        write_address(store, "chi", "chi@band.example")
        with serving_mail(MailServer(refused={"gone@band.example": 550})) as server:
            channel = MailChannel(self.settings(server, smtp_security="none"), store)
            assert self.tell(store, channel).deliver(channel) == 2
            server.refused = {"chi@band.example": 450}  # for the moment
            propose(store)
            sender = sender_of(store, channel)
            sender.collect()
            for minutes in (0, 1, 2):
                sender.deliver(channel, datetime.now(UTC) + timedelta(minutes=minutes))
            server.refused = {}
            sender.deliver(channel, datetime.now(UTC) + timedelta(minutes=30))
        assert [to for to, _ in server.mails].count(["chi@band.example"]) == 2
        assert not list(store.list("notices/outbox/"))

    def test_who_takes_the_address_away_is_told_no_more(self, store: FolderStore) -> None:
        write_address(store, "ben", "ben@band.example")
        with serving_mail(MailServer()) as server:
            channel = MailChannel(self.settings(server, smtp_security="none"), store)
            sender = self.tell(store, channel)
            write_address(store, "ben", " ")
            assert sender.deliver(channel) == 1
        assert server.mails == []
        assert not list(store.list("notices/addresses/"))


@pytest.mark.parametrize(
    "text",
    ["ana", "a@", "@b", "a b@c.d", "a@b\nBcc: c@d.e", "a@b, c@d.e", "<a@b.c>", "a@b.c>", "ä@b.c", "a@-", f"{'x' * 65}@b.c"],
)
def test_only_an_address_is_kept(store: FolderStore, text: str) -> None:
    with pytest.raises(AddressError, match="no e-mail address"):
        write_address(store, "ana", text)
    assert read_address(store, "ana") == ""
    assert write_address(store, "ana", " ana+tune@band.example ") == "ana+tune@band.example"


@pytest.mark.parametrize("host", ["localhost", "10.0.0.7", "169.254.169.254", "mail.svc"])
def test_servers_in_the_groups_own_network_must_be_named(store: FolderStore, host: str) -> None:
    write_address(store, "ben", "ben@band.example")
    settings = settings_of(
        smtp_host=host, smtp_from="t@x.example", notice_webhook=f"https://{host}/", notice_webhook_secret=SECRET,
        matrix_url=f"https://{host}", matrix_room="!a:b", matrix_token=TOKEN,
    )  # fmt: skip
    channels = list_channels(settings, store)
    assert [one.name for one in channels] == ["webhook", "matrix", "mail"]
    for channel in channels:
        sender_of(store, channel).collect()
        propose(store)
        sender = sender_of(store, channel)
        sender.collect()
        (waiting, *_) = [sender._read_entry(entry.key) for entry in store.list(f"notices/outbox/{channel.name}/")]
        assert waiting is not None
        with pytest.raises(AddressError, match="not a public one"):
            channel.send(waiting.notice, waiting.receiver, "x")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"notice_webhook": "https://h.example"}, "NOTICE_WEBHOOK_SECRET"),
        ({"smtp_host": "m.example"}, "SMTP_FROM"),
        ({"matrix_url": "https://m.example"}, "MATRIX_ROOM and MATRIX_TOKEN"),
    ],
)
def test_what_is_missing_is_named_at_the_start(given: dict[str, str], missing: str) -> None:
    with pytest.raises(SettingsError, match=f"needs {missing} besides"):
        settings_of(**given)


def test_without_a_channel_nothing_is_kept(store: FolderStore) -> None:
    sender = NoticeSender(store, list_channels(settings_of(), store), StoredNewsReader(store))
    sender.start()
    sender.stop()
    assert not list(store.list("notices/"))
