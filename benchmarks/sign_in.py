"""The studio's pages while many strangers try to sign in: a real process, real HTTP, on the machine that also makes the load.

    python -m benchmarks.sign_in [--strangers 200] [--seconds 20]

A signed-in member opens the page and its configuration again and again; meanwhile each stranger sends one wrong sign-in after the
other, under names of their own. The time of each of the member's requests is taken alone first, and then under this load.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from collections import Counter
from multiprocessing.queues import Queue
from pathlib import Path

import httpx

from audiotune.access import accounts
from tests.fakes.seeded_store import seed
from tests.integration import test_studio_browser as browser

PASSWORD = "a first password"
PATHS = ("/", "/config", "/gradio_api/queue/status")


def measure_pages(client: httpx.Client, seconds: float) -> list[float]:
    """Seconds of each request, sorted."""
    times, end, turn = [], time.monotonic() + seconds, 0
    while time.monotonic() < end:
        begun = time.monotonic()
        client.get(PATHS[turn % len(PATHS)]).raise_for_status()
        times.append(time.monotonic() - begun)
        turn += 1
        time.sleep(0.02)
    return sorted(times)


def find_percentile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


def send_sign_ins(url: str, strangers: int, seconds: float, answers: Queue[Counter[int]]) -> None:
    """Runs in a process of its own. A stranger who is told when to come again does not wait for it, as an attacker would not."""

    async def try_on(client: httpx.AsyncClient, number: int, statuses: Counter[int], end: float) -> None:
        turn = 0
        while time.monotonic() < end:
            form = {"username": f"stranger{number}x{turn}", "password": "a guess at it"}
            try:
                statuses[(await client.post("/login", data=form)).status_code] += 1
            except httpx.HTTPError:
                statuses[0] += 1
            turn += 1

    async def work() -> Counter[int]:
        statuses, limits = Counter[int](), httpx.Limits(max_connections=strangers)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            end = time.monotonic() + seconds
            await asyncio.gather(*(try_on(client, number, statuses, end) for number in range(strangers)))
        return statuses

    answers.put(asyncio.run(work()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strangers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = seed(Path(folder) / "store", segments_each=1, segment_s=0.3)
        accounts.create_account(made.store, "ana", PASSWORD)
        with (
            browser.running(made.store.url, Path(folder), AUDIOTUNE_ACCESS="members") as url,
            httpx.Client(base_url=url, timeout=60) as member,
        ):
            member.post("/login", data={"username": "ana", "password": PASSWORD}).raise_for_status()
            measure_pages(member, 3)
            quiet = measure_pages(member, args.seconds)
            answers: Queue[Counter[int]] = multiprocessing.Queue()
            flood = multiprocessing.Process(target=send_sign_ins, args=(url, args.strangers, args.seconds + 2, answers))
            flood.start()
            time.sleep(2)
            busy = measure_pages(member, args.seconds)
            begun = time.monotonic()
            again = member.post("/login", data={"username": "ana", "password": PASSWORD})
            signed_in_s = time.monotonic() - begun
            statuses = answers.get(timeout=120)
            flood.join()
    print(f"{args.strangers} strangers at once for {args.seconds:g} s; answers to them: {dict(sorted(statuses.items()))}")
    for name, times in (("alone", quiet), ("under sign-ins", busy)):
        shown = ", ".join(f"{share:.0%} {find_percentile(times, share):.3f} s" for share in (0.5, 0.95, 0.99))
        print(f"{name:15} {len(times):5} pages: {shown}")
    print(f"p95 under sign-ins / alone: {find_percentile(busy, 0.95) / find_percentile(quiet, 0.95):.1f}")
    print(f"the member's browser signs in again meanwhile: {again.status_code} after {signed_in_s:.1f} s")


if __name__ == "__main__":
    main()
