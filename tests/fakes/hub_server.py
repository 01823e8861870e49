"""A model hub on loopback as Hugging Face's client meets it: the API, gates and tokens, large files behind a redirect to another host,
ranges, and connections that end in the middle."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from tests.fakes.http_server import answering
from tests.fakes.hub import describe_file

_API = re.compile(r"/api/models/(?P<name>[^/]+(?:/(?!tree/|revision/)[^/]+)?)(?:/(?P<what>tree|revision)/(?P<revision>[^/]+))?")
_FILE = re.compile(r"/(?P<name>[^/]+(?:/(?!resolve/)[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class HubServer:
    """The hub's repositories and what it was asked.

    Attributes:
        repositories: name -> path -> content.
        renamed: old name -> name; the hub redirects.
        gated: repositories behind a licence.
        tokens: token -> "accepted", "not accepted", "waiting", "expired" or "fine-grained"; others are unknown.
        cuts: `repository/path` -> how many bytes go out before each of the next connections ends; below zero: a status instead.
        sent: `repository/path` -> bytes that went out.
        asked: `repository/path` and the range that was asked for, in order.
        leaked: tokens that came to the CDN.
    """

    repositories: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)

    @contextmanager
    def run(self) -> Iterator[str]:
        """The hub's address, while the block lasts."""
        with answering(type("BoundHubHandler", (HubHandler,), {"hub": self})) as address:
            yield address


class HubHandler(BaseHTTPRequestHandler):
    """Answers one connection of a `HubServer`."""

    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the tests' output free."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/cdn/"):
            return self._send_from_cdn(path.removeprefix("/cdn/"))
        match = _API.fullmatch(path) or _FILE.fullmatch(path)
        if match is None:
            return self._refuse(404, "", "?")
        name = match["name"]
        if name in self.hub.renamed:
            return self._answer(307, b"", {"Location": path.replace(name, self.hub.renamed[name], 1)})
        standing = self._find_standing()
        if standing == "unknown":
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        if standing == "expired":
            return self._refuse(401, "", 'User Access Token "jam" is expired')
        if name not in self.hub.repositories:
            return self._refuse(404 if standing else 401, "RepoNotFound", "Repository not found")
        return self._send_file(match, standing) if "path" in match.groupdict() else self._send_listing(match)

    def _find_standing(self) -> str:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()
        return self.hub.tokens.get(token, "unknown") if token else ""

    def _send_listing(self, match: re.Match[str]) -> None:
        described = [describe_file(path, data) for path, data in self.hub.repositories[match["name"]].items()]
        if match["what"] != "tree":
            facts = {"id": match["name"], "sha": "a" * 40, "siblings": [{"rfilename": file.path} for file in described]}
            return self._answer(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})
        rows = [
            {"type": "file", "oid": "0" * 40, "size": file.size, "path": file.path}
            | ({"lfs": {"oid": file.digest, "size": file.size, "pointerSize": 135}} if file.digest else {})
            for file in described
        ]
        return self._answer(200, json.dumps(rows).encode(), {"Content-Type": "application/json"})

    def _send_file(self, match: re.Match[str], standing: str) -> None:
        name, path = match["name"], match["path"]
        if name in self.hub.gated and standing != "accepted":
            return self._refuse_at_gate(name, standing)
        if path not in self.hub.repositories[name]:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        data = self.hub.repositories[name][path]
        file, head = describe_file(path, data), {"X-Repo-Commit": "a" * 40}
        if file.digest:
            other_host = f"http://localhost:{self.server.server_address[1]}"
            return self._answer(302, b"", {**head, "Location": f"{other_host}/cdn/{name}:{path}?Signature=abc"})
        self._count(f"{name}/{path}", len(data))
        return self._answer(200, data, {**head, "ETag": f'"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"'})

    def _refuse_at_gate(self, name: str, standing: str) -> None:
        words = {
            "waiting": "Your request to access this model is awaiting a review from the repo authors.",
            "fine-grained": "Please enable access to public gated repositories in your fine-grained token settings.",
            "not accepted": f"Access to model {name} is restricted and you are not in the authorized list.",
        }
        if standing == "fine-grained":
            return self._refuse(403, "", words[standing])
        said = words.get(standing, f"Access to model {name} is restricted. You must be authenticated to access it.")
        return self._refuse(403 if standing else 401, "GatedRepo", said)

    def _send_from_cdn(self, rest: str) -> None:
        if self.headers.get("Authorization"):
            self.hub.leaked.append(self.headers["Authorization"])
        name, path = rest.split(":", 1)
        data, asked = self.hub.repositories[name][path], self.headers.get("Range") or ""
        file = f"{name}/{path}"
        self.hub.asked.append((file, asked))
        begin, end, head = 0, len(data), {}
        if match := re.fullmatch(r"bytes=(\d+)-(\d+)", asked):
            begin, end = int(match[1]), int(match[2]) + 1
            head = {"Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"}
        waiting = self.hub.cuts.get(file) or []
        most = waiting.pop(0) if waiting else len(data)
        if most < 0:
            self._refuse(-most, "", "busy")
            return
        self._count(file, min(end - begin, most))
        self.send_response(206 if head else 200)
        for key, value in {**head, "Content-Length": str(end - begin)}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data[begin:end][:most])
        self.close_connection = most < end - begin

    def _count(self, file: str, count: int) -> None:
        if self.command == "GET":
            self.hub.sent[file] = self.hub.sent.get(file, 0) + count

    def _refuse(self, status: int, code: str, words: str) -> None:
        self._answer(status, json.dumps({"error": words}).encode(), {"X-Error-Code": code, "X-Error-Message": words})

    def _answer(self, status: int, body: bytes, head: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**head, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
