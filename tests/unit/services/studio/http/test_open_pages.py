"""A page's stream and state are its member's; how many pages one member has open is bounded, and nobody else's are closed for them."""

from __future__ import annotations

import pytest

from services.studio.http.open_pages import OpenPages
from services.studio.http.refusals import RequestRefusedError


class Server:
    def __init__(self) -> None:
        self.busy, self.closed = set[str](), list[str]()

    def is_busy(self, page: str) -> bool:
        return page in self.busy

    def close_page(self, page: str) -> None:
        self.closed.append(page)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def pages(server: Server) -> OpenPages:
    return OpenPages(3, server.is_busy, server.close_page)


def test_a_page_is_the_members_who_opened_it(pages: OpenPages) -> None:
    pages.open("p", "ana")
    pages.open("p", "ana")
    pages.require("p", "ana")
    for use in (pages.open, pages.require):
        with pytest.raises(RequestRefusedError) as refused:
            use("p", "ben")
        assert refused.value.status == 404
    with pytest.raises(RequestRefusedError):
        pages.require("never opened", "ana")


def test_the_oldest_page_that_waits_for_nothing_is_closed_for_a_new_one(pages: OpenPages, server: Server) -> None:
    pages.open("hers", "ana")
    for page in "abc":
        pages.open(page, "ben")
    server.busy.add("a")
    pages.open("b", "ben")  # used again
    for number in range(50):
        pages.open(f"new{number}", "ben")
    assert server.closed[:2] == ["c", "b"]
    assert len(server.closed) == 50
    pages.require("a", "ben")
    pages.require("hers", "ana")
    with pytest.raises(RequestRefusedError):
        pages.require("b", "ben")


def test_too_many_busy_pages_are_refused_until_one_is_done(pages: OpenPages, server: Server) -> None:
    for page in "abc":
        pages.open(page, "ben")
        server.busy.add(page)
    with pytest.raises(RequestRefusedError) as refused:
        pages.open("d", "ben")
    assert (refused.value.status, refused.value.build_response().headers["retry-after"]) == (429, "5")
    server.busy.remove("b")
    pages.open("d", "ben")
    assert server.closed == ["b"]
