"""Which addresses that somebody named may be reached: those of the public internet, and never the group's own network.

Only what is surely public is allowed: addresses that are handed out for hosts, and no form of IPv6 address that carries another one.
Every address that a name resolves to must be public, and connections are made to an address that was checked: what the name resolves
to a moment later does not matter.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from queue import Empty, SimpleQueue

from audiotune.errors import AddressError

Resolve = Callable[[str, int], list[str]]
_HOSTS_V6 = ip_network("2000::/3")  # what IANA hands out of IPv6; all other ranges have a purpose of their own
_NAT64 = ip_network(
    "64:ff9b::/96"
)  # RFC 6052: how a network that has only IPv6 reaches IPv4, which stands in the last four bytes
_REFUSED = [
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's platform, from inside its machines
        "192.0.0.0/24",  # RFC 6890; Oracle's metadata among them
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # RFC 2928: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation, as is
        "3fff::/20",  # RFC 9637
        "2002::/16",  # 6to4: carries an IPv4 address, and is given up (RFC 7526)
        "2620:4f:8000::/48",  # AS112, as 192.31.196.0/24 and 192.175.48.0/24
        "192.31.196.0/24",
        "192.175.48.0/24",
    )
]
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: before the IPv4 address in the last four bytes of an IPv6 address
_OWN_NAMES = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home.arpa",
    "svc",
    "metadata",
    "metadata.goog",
    "instance-data",
)


def is_public_address(address: str) -> bool:
    """Whether an IP address belongs to a host of the public internet. What is no IP address is not."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.scope_id is not None or int(found) >> 32 & 0xFFFFFFFF in _ISATAP:
            return False
        inner = found.ipv4_mapped or (IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None)
        if inner is not None:
            found = inner
        elif found not in _HOSTS_V6:
            return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _REFUSED)


def resolve_public_host(host: str, port: int, resolve: Resolve | None = None) -> list[str]:
    """The addresses of a host, all of them public. Raises AddressError: not known, or one of them is not public."""
    name = host.lower().rstrip(".")
    if any(name == own or name.endswith(f".{own}") for own in _OWN_NAMES):
        raise AddressError("the host is not a public one", where=host)
    found = look_up_host(host, port, resolve)
    if not all(is_public_address(address) for address in found):
        raise AddressError("the host is not a public one", where=host)
    return found


def look_up_host(host: str, port: int, resolve: Resolve | None = None, within_s: float = 5.0) -> list[str]:
    """The addresses of a host, at least one. Raises AddressError: not known, or no name server answers in time."""
    answer = SimpleQueue[list[str] | Exception]()

    def ask() -> None:
        try:
            answer.put((resolve or _ask_resolver)(host, port))
        except Exception as e:
            answer.put(e)

    # The system's resolver waits as long as it likes and cannot be stopped.
    threading.Thread(target=ask, daemon=True, name="resolver").start()
    try:
        found = answer.get(timeout=within_s)
    except Empty:
        raise AddressError("no name server answers", where=host) from None
    if isinstance(found, Exception) or not found:
        raise AddressError("the host is not known", where=host)
    return found


def connect_publicly(host: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to a host of the public internet. Raises AddressError, OSError."""
    problem: OSError | None = None
    for address in resolve_public_host(host, port):
        try:
            return socket.create_connection((address, port), timeout=timeout_s)
        except OSError as e:
            problem = e
    assert problem is not None
    raise problem


def _ask_resolver(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
