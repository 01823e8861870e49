"""Addresses of recordings as people paste them: made fit to be sent, and shown without what must stay secret."""

from __future__ import annotations

import re
import urllib.parse
from email.message import Message
from email.utils import collapse_rfc2231_value
from pathlib import PurePosixPath

from audiotune.errors import SourceError

_KEPT = "%/:@!$&'()*+,;=~?[]"  # of a path or a query: what has a meaning there, and what is percent-encoded already
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ADDRESS = re.compile(r"https?://[^\s'\"<>]*", re.IGNORECASE)
_QUERY = re.compile(r"\?[^\s'\"<>]+")


def is_address(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def hide_secrets(source: str) -> str:
    """The source as reports, manifests and errors may show it: an address without user, password and query, which signs it.

    "?..." says that there was a query. A source that is no address stays as it is.
    """
    if not is_address(source.strip()):
        return source
    try:
        parts = urllib.parse.urlsplit(source.strip())
    except ValueError:  # brackets that are no IPv6 address
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?...' if parts.query else ''}"


def hide_secrets_in_words(words: str) -> str:
    """The words of an error of a library, which may quote the address or a part of it."""
    return _QUERY.sub("?...", _ADDRESS.sub(lambda found: hide_secrets(found[0]), words))


def quote_address(address: str) -> str:
    """The address as HTTP sends it: spaces and umlauts percent-encoded (UTF-8), a host's umlauts in IDNA, without its fragment.

    Raises SourceError for an address that names no host, or has a password.
    """
    try:
        parts = urllib.parse.urlsplit(address.strip())
        host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    except ValueError:
        host = ""
    if not host:
        raise SourceError("the address names no host", where=hide_secrets(address), cure="open the address in a browser")
    if "@" in host:
        cure = "use an address that works without, as a signed one"
        raise SourceError("an address with a user or a password is not fetched", where=hide_secrets(address), cure=cure)
    path, query = (urllib.parse.quote(_BARE_PERCENT.sub("%25", part), safe=_KEPT) for part in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, host, path, query, ""))


def choose_file_name(headers: Message, address: str) -> str:
    """A name that is safe on this machine: of the header Content-Disposition (`filename*` goes before `filename`, RFC 6266), else of
    the address."""
    given = [value for name, value in headers.get_params([], "content-disposition") if name.lower() == "filename"]
    extended = next((value for value in given if isinstance(value, tuple)), None)
    name = collapse_rfc2231_value(extended) if extended else _decode_plain(given[0]) if given else ""
    name = name or urllib.parse.unquote(PurePosixPath(urllib.parse.urlsplit(address).path).name)
    return re.sub(r"[^\w. -]", "_", name).lstrip(".-")[-120:] or "download"


def _decode_plain(name: str) -> str:
    """`filename` of a header that was read as Latin-1; many servers send UTF-8."""
    try:
        return name.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return name
