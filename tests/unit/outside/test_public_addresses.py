"""Addresses that somebody named: what is public, what only looks so, and that a name's later answers do not matter."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotune.errors import AddressError
from audiotune.outside.public_addresses import connect_publicly, is_public_address, look_up_host, resolve_public_host

PRIVATE_V4 = ["127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "198.18.0.1"]
NOT_PUBLIC = [
    *PRIVATE_V4,
    *(f"::ffff:{inner}" for inner in PRIVATE_V4),  # IPv4-mapped
    *(f"::{inner}" for inner in [*PRIVATE_V4[:6], "8.8.8.8"]),  # IPv4-compatible
    *(f"64:ff9b::{inner}" for inner in PRIVATE_V4),  # NAT64
    *(f"2606:4700::5efe:{inner}" for inner in PRIVATE_V4[1:4]),  # ISATAP
    "64:ff9b:1::8.8.8.8",  # NAT64 of the own network (RFC 8215)
    "64:ff9b:1:ffff::1",
    "2002:a00:1::1",  # 6to4 of 10.0.0.1
    "2002:808:808::1",  # 6to4 at all
    "2001:0:53aa:64c:0:fbff:f5ff:fffe",  # Teredo
    "2001:20::1",
    "fec0::1",  # site-local
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fc00::1",
    "fd00:ec2::254",  # metadata of AWS
    "fd20:ce::254",  # metadata of Google
    "168.63.129.16",  # Azure
    "192.0.0.192",  # Oracle
    "100.100.100.200",  # Alibaba
    "192.88.99.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "::",
    "::1",
    "100::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "",
    "example.org",
    "1.2.3",
    "2130706433",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_a_host_of_the_internet(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_hosts_of_the_internet(address: str) -> None:
    assert is_public_address(address)


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_no_more_public_than_it_is_alone(inner: object) -> None:
    for form in (f"::ffff:{inner}", f"64:ff9b::{inner}"):
        assert is_public_address(form) == is_public_address(str(inner))
    assert not is_public_address(f"::{inner}")


@pytest.mark.parametrize(
    "host",
    ["metadata.google.internal", "METADATA.google.internal.", "metadata.goog", "metadata", "localhost", "a.localhost", "minio.audio.svc",
     "minio.audio.svc.cluster.local", "printer.lan", "instance-data", "vault.internal"],
)  # fmt: skip
def test_names_of_the_own_network_are_not_even_looked_up(host: str) -> None:
    asked: list[str] = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["8.8.8.8"]

    with pytest.raises(AddressError, match="not a public one"):
        resolve_public_host(host, 443, resolve)
    assert not asked


def test_every_answer_of_a_name_must_be_public() -> None:
    assert resolve_public_host("example.org", 443, lambda *_: ["8.8.8.8", "2606:4700::1"]) == ["8.8.8.8", "2606:4700::1"]
    for hidden in ("10.0.0.1", "64:ff9b::7f00:1", "fe80::1%2"):
        with pytest.raises(AddressError):
            resolve_public_host("example.org", 443, lambda *_, hidden=hidden: ["8.8.8.8", hidden])
    with pytest.raises(AddressError, match="not known"):
        resolve_public_host("example.org", 443, lambda *_: [])


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1"])
def test_other_spellings_of_this_machine_are_this_machine(host: str) -> None:
    with pytest.raises(AddressError):
        resolve_public_host(host, 80)


def test_a_name_server_that_does_not_answer_holds_nobody_up() -> None:
    began, go_on = time.monotonic(), threading.Event()

    def silent(host: str, port: int) -> list[str]:
        go_on.wait(30)
        return ["8.8.8.8"]

    with pytest.raises(AddressError, match="no name server answers"):
        look_up_host("example.org", 443, silent, within_s=0.2)
    assert time.monotonic() - began < 5
    go_on.set()


def test_no_connection_is_begun_to_an_address_that_is_not_public() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        with pytest.raises(AddressError):
            connect_publicly("127.0.0.1", server.getsockname()[1], 1.0)
        with pytest.raises(TimeoutError):
            server.accept()
