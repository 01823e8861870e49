"""Addresses of recordings: what signs them stays secret, spaces and umlauts are sent as HTTP wants them, files get their own names."""

from __future__ import annotations

from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from audiotune.domain.manifest import load_manifest
from audiotune.domain.recording import Recording
from audiotune.errors import SourceError
from components.ingest.addresses import choose_file_name, hide_secrets, hide_secrets_in_words, quote_address
from components.ingest.settings import Settings
from components.ingest.step import run_step
from tests.fakes.foreign_sounds import wave, write_wav
from tests.fakes.http_server import answering
from tests.fakes.layout_store import LayoutStore

SIGNED = "?X-Amz-Credential=AKIAEXAMPLE&X-Amz-Signature=deadbeef"
AGREEMENT = """
group = "The Testers"
version = 1
recordings_licence = "LicenseRef-members-only"
weights_licence = "LicenseRef-co-owned"
members = [{ id = "ana", name = "Ana", consents_to = ["store", "train"] }]
"""


def ingest_from(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[list[Recording], str]:
    """The rows, and everything that was written for people to read: report, manifest, metrics, progress, output, an error."""
    (folder / "agreement.toml").write_text(AGREEMENT)
    settings = Settings(source=address, agreement=str(folder / "agreement.toml"), contributors="ana", private_addresses=True)
    out = {name: folder / name for name in ("recordings", "report", "metrics")}
    said: list[str] = []
    try:
        run_step(settings, LayoutStore(folder / "store"), lambda share, words: said.append(words), **out)
    except SourceError as e:
        said.append(str(e))
    kept = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".wav", ".fp")]
    said += [path.read_text(errors="replace") for path in kept]
    rows = load_manifest(out["recordings"], "recordings", Recording).rows if out["recordings"].exists() else []
    return list(rows), "\n".join([*said, *capsys.readouterr()])


def serve(data: bytes, asked: list[str], **headers: str) -> type[BaseHTTPRequestHandler]:
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", f"/real.wav{SIGNED}")
            elif self.path.startswith("/away"):
                self.send_response(302)
                self.send_header("Location", f"gopher://away.example/a.wav{SIGNED}")
            else:
                self.send_response(200)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Pages


@pytest.mark.parametrize(("page", "rows"), [("/take.wav", 1), ("/moved.wav", 1), ("/away.wav", 0), ("/broken.wav", 0)])
def test_what_signs_an_address_is_written_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], page: str, rows: int
) -> None:
    data = b"RIFF" + bytes(60) if "broken" in page else write_wav(tmp_path / "a.wav", wave(0.3)).read_bytes()
    asked: list[str] = []
    with answering(serve(data, asked)) as url:
        found, written = ingest_from(f"{url}{page}{SIGNED}", tmp_path, capsys)
    assert asked[0] == f"{page}{SIGNED}", "the server got it whole"
    assert len(found) == rows
    assert f"{url}{page}?..." in written, "the address itself is said"
    assert not [word for word in ("deadbeef", "AKIAEXAMPLE", "Signature") if word in written]
    assert all(row.source == f"{url}{page}?..." for row in found)


def test_spaces_umlauts_and_percent_signs_are_sent_as_http_wants_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    with answering(serve(write_wav(tmp_path / "a.wav", wave(0.3)).read_bytes(), asked)) as url:
        (row,), _ = ingest_from(f"{url}/Mein Ordner/Dröhnen%201 100%.wav?von=Jürgen P#t=3", tmp_path, capsys)
    assert asked == ["/Mein%20Ordner/Dr%C3%B6hnen%201%20100%25.wav?von=J%C3%BCrgen%20P"]
    assert row.name == "Dröhnen 1 100_.wav"


def test_addresses_that_are_right_stay_as_they_are() -> None:
    for address in (
        "https://a.example/x.wav?X-Amz-Signature=a%2Fb%3D&c=d+e~f",
        "http://[::1]:80/a;b,c(d)!$'*=:@.wav",
        "https://a.example",
    ):
        assert quote_address(address) == address
    assert quote_address(" https://bücher.example:8443/x ") == "https://xn--bcher-kva.example:8443/x"


@pytest.mark.parametrize(
    "address",
    ["http://", "https:///x.wav", "http://[::1", "https://ana:geheim@a.example/x", "https://geheim@a.example", "http://.ü/"],
)
def test_addresses_that_cannot_be_fetched_say_so_without_their_password(address: str) -> None:
    with pytest.raises(SourceError) as refused:
        quote_address(address)
    assert "geheim" not in str(refused.value)


def test_what_is_hidden_and_what_is_not() -> None:
    assert hide_secrets("HTTPS://ana:pw@A.example:1/x.wav?sig=1#f") == "https://A.example:1/x.wav?..."
    for source in ("a folder?/take.wav", "s3://bucket/prefix", "hf:owner/name", "https://a.example/x.wav"):
        assert hide_secrets(source) == source
    words = "no 'https://a.example/x?sig=deadbeef' and no /y?sig=deadbeef here. Why?"
    assert hide_secrets_in_words(words) == "no 'https://a.example/x?...' and no /y?... here. Why?"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("attachment; filename=\"Drohnen.wav\"; filename*=UTF-8''Dr%C3%B6hnen%20%231.wav", "Dröhnen _1.wav"),
        ("attachment; filename*=iso-8859-1'de'Dr%f6hnen.wav; filename=x.wav", "Dröhnen.wav"),
        ('attachment; filename="a; b.wav"', "a_ b.wav"),
        ('attachment; filename="' + "Dröhnen".encode().decode("latin-1") + '.wav"', "Dröhnen.wav"),
        ('attachment; filename="../../etc/passwd"', "_.._etc_passwd"),
        ("attachment; filename*=UTF-8''..%2F..%2Fx.wav", "_.._x.wav"),
        ("attachment", "take one.wav"),
        ("", "take one.wav"),
        ("attachment; filename*=nonsense''x.wav", "x.wav"),
    ],
)
def test_the_name_that_a_server_gives(header: str, name: str) -> None:
    headers = Message()
    if header:
        headers["Content-Disposition"] = header
    assert choose_file_name(headers, "https://a.example/jam/take%20one.wav?sig=1") == name
