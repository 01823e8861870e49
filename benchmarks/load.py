"""The generation service under more load than it can bear: a real process, real HTTP, members with tokens.

    python -m benchmarks.load poisson | light | all  [--seconds N] [--sleeping]

poisson  arrivals at 0.5, 0.8, 1.0 and 1.2 of the measured capacity, mixed lengths: latency, goodput, whether Retry-After is kept
light    one member asks now and then, alone and while another floods: its 95th percentile

Arrivals are open-loop: they come when they come, whether or not the service keeps up. Who gets 429 waits as long as Retry-After
says, to the second, and sends the same request again. Latency counts from the try that was let in.

With --sleeping the model sleeps as long as its work would take (a batch of eight costs 5.2 times one): line, scheduler, engine and
HTTP are measured then, in this process, and not how busy the machine is.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.replicas import print_line, start_replicas

_LENGTHS_S, _STEPS, _MEMBERS = (0.25, 0.5, 1.0), 10, 5
_QUEUE_S = "3"  # predicted seconds of work that may wait: short, so that a minute shows the bounds
_TIMEOUT_S = 120.0
_UNIT_S = 1e-3  # of the sleeping model: a step of one latent frame
Ask = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """Where it answers, and the headers of a member."""

    url: str
    token: Callable[[str], dict[str, str]]


@contextmanager
def service(sleeping: bool, **settings: str) -> Iterator[Service]:
    if not sleeping:
        with start_replicas(
            1, AUDIOTUNE_ACCESS="members", **{f"AUDIOTUNE_GENERATION_{k.upper()}": v for k, v in settings.items()}
        ) as group:
            yield Service(group.replicas[0].url, group.token)
        return
    from audiotune.access import tokens
    from tests.fakes.in_process_service import InProcessService
    from tests.fakes.live_service import serve_http

    with tempfile.TemporaryDirectory() as folder:
        bench = InProcessService(Path(folder), members=True, rate_per_minute=1_000_000, queue=200, member_queue=200, **settings)
        bench.engine._generate = _slept(bench.engine._generate)
        bench.loaded()
        with serve_http(bench) as url:
            yield Service(
                url, lambda member: {"Authorization": f"Bearer {tokens.issue_token(bench.store, member, ['generate'], 1)}"}
            )
        bench.stop()


def _slept(generate: Callable[..., Any]) -> Callable[..., Any]:
    def slept(model: Any, requests: Any, on_step: Callable[[int, int], None], gone: Any) -> Any:
        frames = requests[0].seconds * model.sample_rate_hz / model.downsampling_ratio + 16
        step_s = _UNIT_S * frames * (0.4 + 0.6 * len(requests))

        def step(done: int, total: int) -> None:
            time.sleep(step_s)
            on_step(done, total)

        return generate(model, requests, step, gone)

    return slept


def ask(dice: random.Random, seconds: float | None = None) -> Ask:
    return {
        "prompt": "low drone", "seconds": seconds or dice.choice(_LENGTHS_S), "steps": _STEPS, "seed": dice.randrange(1 << 30),
        "format": "wav",
    }  # fmt: skip


@dataclass
class LoadRecord:
    """What became of the requests of one load.

    Attributes:
        times_s: from the try that was let in to its answer.
        done_at: moments of the answers.
        refused: requests that were refused at least once.
        broken: tries that were refused although they had waited as long as they were told.
        told_s: what Retry-After said.
        failed: anything else.
    """

    times_s: list[float] = field(default_factory=list)
    done_at: list[float] = field(default_factory=list)
    refused: int = 0
    broken: int = 0
    told_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def at(self, part: float) -> float:
        return sorted(self.times_s)[min(len(self.times_s) - 1, int(part * len(self.times_s)))] if self.times_s else float("nan")


async def send_request(http: httpx.AsyncClient, asked: Ask, headers: Mapping[str, str], seen: LoadRecord) -> None:
    """A request, until it is answered."""
    for tries in range(50):
        came = time.monotonic()
        try:
            answer = await http.post("/v1/generations", json=asked, headers=headers)
        except httpx.HTTPError as e:
            seen.failed.append(type(e).__name__)
            return
        if answer.status_code == 429:
            seen.refused += tries == 0
            seen.broken += tries > 0
            seen.told_s.append(float(answer.headers["retry-after"]))
            await asyncio.sleep(seen.told_s[-1])
            continue
        if answer.status_code != 200:
            seen.failed.append(f"{answer.status_code} {answer.text[:100]}")
            return
        seen.times_s.append(time.monotonic() - came)
        seen.done_at.append(time.monotonic())
        return
    seen.failed.append("refused 50 times")


def client(group: Service) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=500, max_keepalive_connections=50)
    return httpx.AsyncClient(base_url=group.url, timeout=_TIMEOUT_S, limits=limits)


async def run_closed_loop(http: httpx.AsyncClient, tokens: list[Any], seconds: float) -> float:
    """Sounds a second with 16 requests always under way."""
    seen, dice, began = LoadRecord(), random.Random(1), time.monotonic()

    async def member(number: int) -> None:
        while time.monotonic() - began < seconds:
            await send_request(http, ask(dice), tokens[number % len(tokens)], seen)

    await asyncio.gather(*(member(number) for number in range(16)))
    if seen.failed:
        raise SystemExit(f"requests failed: {Counter(seen.failed)}")
    return sum(at - began <= seconds for at in seen.done_at) / seconds


async def send_arrivals(http: httpx.AsyncClient, tokens: list[Any], rate: float, seconds: float) -> tuple[LoadRecord, int, float]:
    """(what was seen, requests that came, answers a second while they came) of Poisson arrivals."""
    seen, dice, tasks, came = LoadRecord(), random.Random(2), [], 0
    began = next_at = time.monotonic()
    while (next_at := next_at + dice.expovariate(rate)) < began + seconds:
        await asyncio.sleep(max(0.0, next_at - time.monotonic()))
        tasks.append(asyncio.create_task(send_request(http, ask(dice), tokens[came % len(tokens)], seen)))
        came += 1
    good = sum(at <= began + seconds for at in seen.done_at) / seconds
    await asyncio.gather(*tasks)
    return seen, came, good


async def poisson(seconds: float, sleeping: bool) -> None:
    with service(sleeping, queue_s=_QUEUE_S) as group:
        tokens = [group.token(f"m{number}") for number in range(_MEMBERS)]
        async with client(group) as http:
            await run_closed_loop(http, tokens, 5)  # warms up: every shape is tried once
            capacity = await run_closed_loop(http, tokens, min(20.0, seconds))
            print_line(
                f"capacity {capacity:.1f} sounds a second ({', '.join(map(str, _LENGTHS_S))} s, {_STEPS} steps, 16 at once)"
            )
            goods = []
            for part in (0.5, 0.8, 1.0, 1.2):
                seen, came, good = await send_arrivals(http, tokens, part * capacity, seconds)
                goods.append(good)
                told = f", told {min(seen.told_s):.0f} to {max(seen.told_s):.0f} s" if seen.told_s else ""
                print_line(f"{part}: {came} came, p50 {seen.at(0.5):.2f} s, p95 {seen.at(0.95):.2f} s, p99 {seen.at(0.99):.2f} s, "
                    f"goodput {good:.1f} a second, {seen.refused} refused{told}, {seen.broken} of them again after waiting, "
                    f"{len(seen.failed)} failed {seen.failed[:1]}")  # fmt: skip
            print_line(f"goodput above capacity: {goods[-1] / max(goods):.0%} of the most")


async def light(seconds: float, sleeping: bool) -> None:
    """Alone and flooded take turns, so that a busy moment of the machine meets both alike."""
    with service(sleeping) as group:
        heavy, mine = group.token("heavy"), group.token("light")
        async with client(group) as http:
            await run_closed_loop(http, [mine], 5)
            alone, beside, flood = LoadRecord(), LoadRecord(), LoadRecord()
            for _ in range(4):
                await _now_and_then(http, mine, alone, seconds / 8)
                tasks = [asyncio.create_task(_flooding(http, heavy, flood)) for _ in range(40)]
                await asyncio.sleep(2)
                await _now_and_then(http, mine, beside, seconds / 8)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.sleep(1)
    print_line(f"a light member alone: {len(alone.times_s)} requests, p50 {alone.at(0.5):.2f} s, p95 {alone.at(0.95):.2f} s; "
        "beside a flood "
        f"({len(flood.times_s)} made for it, {flood.refused} refused): {len(beside.times_s)} requests, p50 {beside.at(0.5):.2f} s, "
        f"p95 {beside.at(0.95):.2f} s: {beside.at(0.95) / alone.at(0.95):.2f} times; {beside.refused} refused, "
        f"{len(alone.failed) + len(beside.failed)} failed")  # fmt: skip


async def _now_and_then(http: httpx.AsyncClient, headers: Mapping[str, str], seen: LoadRecord, seconds: float) -> None:
    dice, began = random.Random(len(seen.times_s)), time.monotonic()
    while time.monotonic() - began < seconds:
        await send_request(http, ask(dice), headers, seen)
        await asyncio.sleep(dice.uniform(1.0, 3.0))  # light: it asks for less than its share


async def _flooding(http: httpx.AsyncClient, headers: Mapping[str, str], seen: LoadRecord) -> None:
    """The longest sounds, again and again; what is refused comes back at once."""
    dice = random.Random(9)
    while True:
        answer = await http.post("/v1/generations", json={**ask(dice, 2.5), "steps": 20}, headers=headers)
        seen.refused += answer.status_code == 429
        seen.times_s += [0.0] * (answer.status_code == 200)
        await asyncio.sleep(0.2 if answer.status_code == 429 else 0.0)


MEASUREMENTS: dict[str, Callable[[float, bool], Any]] = {"poisson": poisson, "light": light}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="?", choices=(*MEASUREMENTS, "all"), default="all")
    parser.add_argument("--seconds", type=float, default=60, help="of arrivals at each part of the capacity")
    parser.add_argument("--sleeping", action="store_true", help="a model that sleeps instead of computing")
    args = parser.parse_args()
    for name, part in MEASUREMENTS.items():
        if args.part in (name, "all"):
            asyncio.run(part(args.seconds, args.sleeping))


if __name__ == "__main__":
    main()
