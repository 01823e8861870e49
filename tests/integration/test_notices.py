"""A studio in a process of its own tells what happens, once, also over a restart and while its receiver is away."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from audiotune.governance.member_acts import append_member_event
from tests.fakes.http_server import answering
from tests.fakes.seeded_store import seed
from tests.integration import test_studio_browser as browser

pytestmark = browser.pytestmark
OPENED: dict[str, Any] = {"kind": "other", "title": "Buy filters", "rule": {}}


def test_a_studio_tells_what_happens_once(tmp_path: Path) -> None:
    group, got, status = seed(tmp_path / "store", segments_each=1, segment_s=0.3), list[int](), [503]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["event"]
            if status[0] == 200:
                got.append(event)
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    def wait_for(count: int) -> None:
        until = time.monotonic() + 90
        while len(got) < count and time.monotonic() < until:
            time.sleep(0.2)

    def propose() -> int:
        return append_member_event(group.store, "ana", "proposal_opened", OPENED, via="command")

    with answering(Handler) as url:
        given = {
            "AUDIOTUNE_STUDIO_NOTICE_WEBHOOK": f"{url}/",
            "AUDIOTUNE_STUDIO_NOTICE_WEBHOOK_SECRET": "a secret of the webhook",
            "AUDIOTUNE_STUDIO_NOTICE_HOSTS": "127.0.0.1",
        }
        with browser.running(group.store.url, tmp_path, **given):
            until = time.monotonic() + 60
            while not list(group.store.list("notices/progress.json")) and time.monotonic() < until:
                time.sleep(0.2)
            first = propose()
            until = time.monotonic() + 60
            while not list(group.store.list("notices/outbox/")) and time.monotonic() < until:
                time.sleep(0.2)
        second, status[0] = propose(), 200  # while no studio runs
        with browser.running(group.store.url, tmp_path, **given):
            wait_for(2)
            time.sleep(6)  # another look
        assert got == [first, second]
        assert "a secret of the webhook" not in (tmp_path / "log").read_text()
