"""Sources of recordings on other machines: an object store, an address, Google Drive, Hugging Face.

An address may come from a stranger, so addresses inside our own network are refused (settings.private_addresses). Each connection,
also after a redirect, is made to an address that was checked, so no name server can circumvent it.
"""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audiotune.errors import AddressError, NotInStoreError, SourceError, StoreError
from audiotune.outside.public_addresses import connect_publicly
from audiotune.stable_audio.hub import Hub
from audiotune.store import Store
from components.ingest.addresses import choose_file_name, hide_secrets, hide_secrets_in_words, quote_address
from components.ingest.settings import Settings
from components.ingest.sources import GIB

_TIMEOUT_S = 60
_DRIVE = re.compile(r"https://(?:drive|docs)\.google\.com/.*?(folders/[\w-]{10,}|(?<=/d/)[\w-]{10,}|(?<=[?&]id=)[\w-]{10,})")


class StoreSource:
    """Everything under a prefix of an object store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self.files: list[str] = []
        self.refused: list[tuple[str, str]] = []
        for entry in store.list(""):
            if entry.size > settings.largest_file_gib * GIB:
                self.refused.append((entry.key, "it is larger than largest_file_gib"))
            else:
                self.files.append(entry.key)
        if not self.files and not self.refused:
            raise SourceError("nothing lies under this prefix", where=store.url, cure="check bucket and prefix")

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        try:
            path = self._store.fetch(name)
        except NotInStoreError as e:
            raise SourceError("it was removed while the source was read", where=name) from e
        except StoreError as e:
            raise SourceError(e.what, where=name, cure=e.cure) from e
        yield path


class HubSource:
    """A data set of Hugging Face, a folder of it, or one file: `owner/name[:path]`. Private ones need HF_TOKEN."""

    def __init__(self, name: str, settings: Settings, scratch: Path, hub: Hub) -> None:
        self._repository, _, path = name.partition(":")
        self._scratch, self._hub = scratch, hub
        self._most_bytes = settings.largest_file_gib * GIB
        self.refused: list[tuple[str, str]] = []
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self._repository):
            raise SourceError(f"{name!r} names no data set", cure="write hf:owner/name or hf:owner/name:path")
        path = path.strip("/")
        files = hub.list_files(self._repository)
        self.files = sorted(file for file in files if not path or file == path or file.startswith(f"{path}/"))
        if not self.files:
            raise SourceError("nothing lies under this path", where=f"hf:{name}", cure="look at the data set's page")

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        path = self._hub.download(self._repository, name, self._scratch / "hub")
        try:
            if path.stat().st_size > self._most_bytes:
                raise SourceError("it is larger than largest_file_gib", where=name)
            yield path
        finally:
            path.unlink(missing_ok=True)


def parse_drive_id(address: str) -> str:
    """The id in a link of Google Drive, for `download_drive`; "" for any other address."""
    match = _DRIVE.match(address)
    return match.group(1) if match else ""


def download_drive(
    id: str, scratch: Path, file: Callable[..., Any] | None = None, folder: Callable[..., Any] | None = None
) -> Path:
    """Downloads a shared file, or a folder (`folders/ID`), from Google Drive with the functions `file` and `folder` of gdown."""
    if not re.fullmatch(r"(folders/)?[\w-]{10,200}", id):
        raise SourceError(f"{id!r} is no Google Drive id", cure="take the part after /d/ or folders/ of the link")
    target = scratch / "drive"
    target.mkdir()
    try:
        if file is None or folder is None:
            import gdown

            file, folder = gdown.download, gdown.download_folder
        if id.startswith("folders/"):
            folder(id=id.removeprefix("folders/"), output=str(target), quiet=True)
        else:
            file(id=id, output=f"{target}/", quiet=True)
    except Exception as e:  # gdown raises many kinds
        words = " ".join(str(e).split())[:300] or type(e).__name__
        raise SourceError(f"Google Drive refuses: {words}", where=id, cure="share it with everybody who has the link") from e
    files = [path for path in target.rglob("*") if path.is_file()]
    if not files:
        raise SourceError("Google Drive gave no file", where=id, cure="share it with everybody who has the link")
    return files[0] if len(files) == 1 else target


def download_address(address: str, settings: Settings, scratch: Path) -> Path:
    """One file from an http(s) address, streamed to `scratch`.

    Raises:
        SourceError: not reachable, refused, private, incomplete, or larger than largest_file_gib.
    """
    most, where = settings.largest_file_gib * GIB, hide_secrets(address)
    too_large = SourceError("the file is larger than largest_file_gib", where=where)
    try:
        with _build_opener(settings.private_addresses).open(quote_address(address), timeout=_TIMEOUT_S) as answer:
            promised = int(answer.headers.get("Content-Length") or -1)
            if promised > most:
                raise too_large
            target = scratch / "download"
            target.mkdir()
            path = target / choose_file_name(answer.headers, answer.url)
            received = 0
            with path.open("wb") as out:
                while block := answer.read(1 << 20):
                    received += len(block)
                    if received > most:
                        raise too_large
                    out.write(block)
            if received < promised:
                raise SourceError(f"only {received} of {promised} bytes came", where=where, cure="try again")
            return path
    except AddressError as e:
        cure = "set private_addresses to allow addresses inside a private network"
        raise SourceError(f"cannot fetch it: {e.what}", where=where, cure=cure) from e
    except (OSError, http.client.HTTPException, ValueError) as e:  # URLError and HTTPError are OSErrors
        words = hide_secrets_in_words(" ".join(str(getattr(e, "reason", "") or e).split()))
        raise SourceError(f"cannot fetch it: {words}", where=where, cure="open the address in a browser") from e


def _build_opener(private: bool) -> urllib.request.OpenerDirector:
    """An opener for http and https only; urllib's default one also opens ftp: and file: after a redirect."""
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", "audio-tune")]
    for handler in (
        urllib.request.ProxyHandler() if private else urllib.request.ProxyHandler({}),
        urllib.request.HTTPHandler() if private else _PublicHTTPHandler(),
        urllib.request.HTTPSHandler() if private else _PublicHTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _PublicHTTPConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = connect_publicly(self.host, self.port, _TIMEOUT_S)


class _PublicHTTPSConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        plain = connect_publicly(self.host, self.port, _TIMEOUT_S)
        self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


class _PublicHTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PublicHTTPConnection, req)


class _PublicHTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PublicHTTPSConnection, req)
