"""A small real SMTP server on asyncio: STARTTLS or TLS from the start, AUTH PLAIN, and receivers that it refuses."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class MailServer:
    """What it takes, and what came.

    Attributes:
        certificate: its certificate and key; None: it speaks in the clear.
        tls_at_once: no STARTTLS, encrypted from the first byte.
        login: user and password that it asks for; "" for none.
        refused: addresses -> the code with which they are refused.
        broken: it hangs up at every greeting.
    """

    certificate: Path | None = None
    tls_at_once: bool = False
    login: str = ""
    refused: dict[str, int] = field(default_factory=dict)
    broken: bool = False
    mails: list[tuple[list[str], str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def context(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        return context

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            if not self.broken:
                await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(*lines: str) -> None:
            writer.write("".join(f"{line}\r\n" for line in lines).encode())

        say("220 here")
        secure, known, to = self.tls_at_once, not self.login, list[str]()
        while line := (await reader.readline()).decode().strip():
            verb, _, rest = line.partition(" ")
            if verb.upper() == "EHLO":
                say("250-here", *(["250-STARTTLS"] if self.certificate and not secure else []), "250 AUTH PLAIN")
            elif verb.upper() == "STARTTLS":
                say("220 go on")
                await writer.drain()
                await writer.start_tls(self.context)  # type: ignore[arg-type]
                secure = True
            elif verb.upper() == "AUTH":
                self.logins.append(base64.b64decode(rest.split()[1]).decode())
                known = self.logins[-1] == f"\0{self.login}"
                say("235 welcome" if known else "535 no")
            elif verb.upper() == "MAIL":
                to = []
                say("250 yes" if known else "530 who are you")
            elif verb.upper() == "RCPT":
                address = rest.partition("<")[2].partition(">")[0]
                to += [address] if address not in self.refused else []
                say(f"{self.refused[address]} no" if address in self.refused else "250 yes")
            elif verb.upper() == "DATA":
                say("354 go on")
                text = (await reader.readuntil(b"\r\n.\r\n")).decode()
                self.mails.append((to, text.removesuffix("\r\n.\r\n")))
                say("250 taken")
            elif verb.upper() == "QUIT":
                say("221 bye")
                return
            else:
                say("250 yes")


@contextmanager
def serving_mail(server: MailServer) -> Iterator[MailServer]:
    """The server in a thread of its own, on `server.port`: a free port, or the one it has."""
    loop = asyncio.new_event_loop()

    async def listen() -> asyncio.Server:
        context = server.context if server.tls_at_once else None
        return await asyncio.start_server(server.talk, "127.0.0.1", server.port, ssl=context)

    listening = loop.run_until_complete(listen())
    server.port = listening.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def write_certificate(path: Path) -> Path:
    """A certificate for localhost that signs itself, with its key, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = serialization.Encoding.PEM
    private = key.private_bytes(text, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(text))
    return path
