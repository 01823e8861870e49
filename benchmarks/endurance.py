"""The generation service over time: real processes, real load, versions and processes that come and go.

    python -m benchmarks.endurance swaps | rolling | seeds | soak | small | all  [--count N] [--replicas 2]

swaps     the alias moves again and again, some versions are broken: failed requests, time from the alias to the first answer
rolling   one replica after the other is ended by SIGTERM and started anew, behind a proxy that follows readiness (proxy.py):
          requests that were accepted and not answered
seeds     one request in random company, order and replica, with a swap forth and back and restarts between: equal files
soak      a little load, with jobs, for --count minutes: memory and disk
small     --count thousands of small requests, as fast as they come: memory

Replicas are `python -m services.generation` on the tiny base, all on this machine. Clients go from replica to replica as a load
balancer does: on to the next one when a connection is refused or the answer is 503 with Retry-After; everything else that is not
the answer asked for counts as failed. All loops are bounded.
"""

from __future__ import annotations

import itertools
import random
import statistics
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.replicas import (
    Measurement,
    Replica,
    ReplicaGroup,
    print_line,
    run_measurements,
    start_proxy,
    start_replicas,
    until,
)

_ASK = {"prompt": "low dark drone", "seconds": 0.25, "steps": 1, "format": "wav"}
_TIMEOUT_S = 60.0
_REQUESTS = 5000
_KEEP_MINUTES = 4  # life time of sounds and jobs in the soak; the service sweeps every ten minutes


@dataclass
class LoadClients:
    """Clients that ask until they are told to stop.

    Attributes:
        kinds: what they ask for, by chance.
        clients: how many they are; `pause_s` between two requests of one.
        counts, failures: what became of it.
        first: (release and version, replica) -> moment of its first sound.
    """

    replicas: list[Replica]
    kinds: Sequence[str] = ("sound", "sound", "health", "releases")
    clients: int = 6
    pause_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    first: dict[tuple[str, str], float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def keep_asking(self) -> Iterator[LoadClients]:
        threads = [threading.Thread(target=self._one, args=(n,)) for n in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(_TIMEOUT_S + 60)

    def _one(self, number: int) -> None:
        dice, turns = random.Random(number), itertools.cycle(self.replicas)
        with httpx.Client(timeout=_TIMEOUT_S) as http:
            while not self._stop.wait(self.pause_s):
                kind = dice.choice(self.kinds)
                asked = {**_ASK, "seed": dice.randrange(1 << 30)}
                why = self._job(http, asked, turns) if kind == "job" else self._asked(http, kind, asked, turns)[1]
                self.counts[kind] += 1
                if why:
                    self.failures.append(f"{kind}: {why}")

    def _job(self, http: httpx.Client, asked: dict[str, Any], turns: Iterator[Replica]) -> str:
        """Makes a job and waits for its end; what went wrong, or ""."""
        path, end = f"jobs/{uuid.uuid4().hex}", time.monotonic() + _TIMEOUT_S
        state, why = self._asked(http, path, asked, turns)
        while not why and state.json()["state"] != "done" and time.monotonic() < end:
            time.sleep(0.2)
            state, why = self._asked(http, path, None, turns)
        return why or ("" if state.json()["state"] == "done" else state.text[:200])

    def _asked(self, http: httpx.Client, kind: str, asked: dict[str, Any] | None, turns: Iterator[Replica]) -> tuple[Any, str]:
        """(the answer, what went wrong or "")."""
        end = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < end:
            url = next(turns).url
            try:
                if kind == "sound":
                    answer = http.post(f"{url}/v1/generations", json=asked)
                elif kind.startswith("jobs/") and asked is not None:
                    answer = http.put(f"{url}/v1/{kind}", json=asked)
                else:
                    answer = http.get(f"{url}/v1/{kind}")
            except httpx.ConnectError:
                self.counts["refused, next replica"] += 1
                time.sleep(0.05)
                continue
            except httpx.HTTPError as e:
                return None, f"{type(e).__name__} {e}"
            if answer.status_code == 503 and (kind == "health" or "retry-after" in answer.headers):
                self.counts["503, next replica"] += 1
                time.sleep(0.1)
                continue
            if kind == "sound" and answer.status_code == 200:
                self.first.setdefault((answer.headers["x-audio-tune-release"], url), time.monotonic())
            return answer, "" if answer.status_code in (200, 202) else f"{answer.status_code} {answer.text[:200]}"
        return None, f"no answer within {_TIMEOUT_S:.0f} s"

    @property
    def request_count(self) -> int:
        return sum(n for name, n in list(self.counts.items()) if "next" not in name)

    def describe(self) -> str:
        parts = ", ".join(f"{n} {name}" for name, n in sorted(self.counts.items()))
        first = f"; the first: {self.failures[0]}" if self.failures else ""
        return f"{self.request_count} requests ({parts}): {len(self.failures)} failed{first}"


def swaps(count: int, replicas: int) -> None:
    """`count` moves of the alias, every seventh to a version whose weights are damaged."""
    from audiotune.registry import releases

    with start_replicas(replicas) as group:
        versions = [group.version(n) for n in range(1, count + 1)]
        broken = set(versions[5::7])
        for version in broken:
            path = group.folder / "store" / releases.read_release("ours", version).weights.weights
            path.write_bytes(path.read_bytes()[:-1000])
        moved, told = {}, 0
        with LoadClients(group.replicas).keep_asking() as crowd:
            for version in versions:
                moved[version] = time.monotonic()
                releases.set_alias("ours", "champion", version)
                if version in broken:
                    told += until(lambda: all(r.health().get("reason") for r in group.replicas), 60) < 60
                else:
                    until(lambda v=version: all((f"ours {v}", r.url) in crowd.first for r in group.replicas), 120)  # type: ignore[misc]
                time.sleep(1)
            until(lambda: crowd.request_count >= _REQUESTS, 400)
        good = [version for version in versions if version not in broken]
        firsts = [sorted(crowd.first[(f"ours {v}", r.url)] - moved[v] for r in group.replicas) for v in good]
        served = [version for version in broken if any(f"ours {version}" == name for name, _ in crowd.first)]
    print_line(
        f"swaps: {len(versions)}, {len(broken)} of them to broken versions ({told} told by health, "
        f"{len(served)} served); {crowd.describe()}"
    )
    _percentiles("alias to the first sound", [times[0] for times in firsts])
    _percentiles(f"alias to a sound of each of {replicas} replicas", [times[-1] for times in firsts])


def _percentiles(what: str, times: list[float]) -> None:
    p95 = sorted(times)[min(len(times) - 1, int(0.95 * len(times)))]
    print_line(f"{what}: median {statistics.median(times):.1f} s, p95 {p95:.1f} s, longest {max(times):.1f} s")


def rolling(count: int, replicas: int) -> None:
    """`count` restarts, one replica after the other, under load through a proxy that follows readiness."""
    with (
        start_replicas(max(2, replicas)) as group,
        start_proxy(group) as proxy,
        LoadClients([proxy], ("sound", "sound", "health", "job", "releases"), pause_s=0.05).keep_asking() as crowd,
    ):
        codes, ready, stopped = [], [], []
        for number in range(count):
            replica = group.replicas[number % len(group.replicas)]
            began = time.monotonic()
            codes.append(replica.stop())
            stopped.append(time.monotonic() - began)
            ready.append(replica.start())
            time.sleep(1)
    print_line(
        f"rolling restarts: {count}, exit codes {dict(Counter(codes))}, stopped after {statistics.median(stopped):.1f} s (longest "
        f"{max(stopped):.1f} s), ready after {statistics.median(ready):.1f} s; {crowd.describe()}"
    )


def seeds(count: int, replicas: int) -> None:
    """Asked in three parts: before, after a swap forth and back, after a restart of all replicas."""
    from audiotune.registry import releases

    asked = {"prompt": "low drone", "seconds": 0.5, "steps": 6, "seed": 7, "format": "wav"}
    with start_replicas(max(2, replicas)) as group:
        other, dice = group.version(1), random.Random(1)
        right = httpx.post(f"{group.replicas[0].url}/v1/generations", json=asked, timeout=120).raise_for_status().content
        files = _request_among_others(group, asked, count // 3, dice)
        for version in (other, "1"):
            releases.set_alias("ours", "champion", version)
            until(lambda v=version: all(r.health().get("version") == v for r in group.replicas), 120)  # type: ignore[misc]
            _request_among_others(group, asked, 4, dice)
        files += _request_among_others(group, asked, count // 3, dice)
        for replica in group.replicas:
            replica.stop()
            replica.start()
        files += _request_among_others(group, asked, count - len(files), dice)
    print_line(f"seed contract: {len(files)} requests to {len(group.replicas)} replicas, with a swap forth and back and restarts between: "
        f"{sum(file == right for file in files)} equal files")  # fmt: skip


def _request_among_others(group: ReplicaGroup, asked: dict[str, Any], count: int, dice: random.Random) -> list[bytes]:
    """`count` times the same request and about as many others, in any order, to any replica, up to twelve at once."""
    others = [{**asked, "seed": 100 + n, "seconds": dice.choice((0.5, 0.5, 0.3))} for n in range(count)]
    line = [asked] * count + others
    dice.shuffle(line)
    urls = [dice.choice(group.replicas).url for _ in line]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda url, body: httpx.post(f"{url}/v1/generations", json=body, timeout=120), urls, line))
    return [answer.raise_for_status().content for answer, body in zip(answers, line) if body is asked]


def soak(count: int, replicas: int) -> None:
    settings = {"AUDIOTUNE_GENERATION_KEEP_DAYS": str(_KEEP_MINUTES / 1440)}
    kinds = ("sound", "sound", "job", "health", "releases")
    with (
        start_replicas(replicas, **settings) as group,
        LoadClients(group.replicas, kinds, clients=2, pause_s=0.4).keep_asking() as crowd,
    ):
        for minute in range(count + 1):
            if minute % 5 == 0 or minute == count:
                memory = ", ".join(f"{r.memory_mib:.0f}" for r in group.replicas)
                print_line(f"minute {minute}: memory {memory} MiB; in the store {_kept(group)}; {crowd.request_count} requests")
            if minute < count:
                time.sleep(60)
    print_line(f"soak of {count} min: {crowd.describe()}")


def small(count: int, replicas: int) -> None:
    with start_replicas(replicas) as group, LoadClients(group.replicas, ("health", "releases"), clients=4).keep_asking() as crowd:
        until(lambda: crowd.request_count >= 1000, 120)  # what the first ones fill
        before = [replica.memory_mib for replica in group.replicas]
        until(lambda: crowd.request_count >= 1000 * count, 60 * count)
        after = [replica.memory_mib for replica in group.replicas]
    grown = ", ".join(f"{b:.0f} to {a:.0f} MiB" for b, a in zip(before, after))
    print_line(f"memory over {crowd.request_count} small requests to {replicas} replicas: {grown}; {len(crowd.failures)} failed")


def _kept(group: ReplicaGroup) -> str:
    """Objects and megabytes by prefix."""
    told = []
    for prefix in ("sounds", "jobs", "manifests/generations"):
        sizes = [path.stat().st_size for path in (group.folder / "store" / prefix).rglob("*") if path.is_file()]
        told.append(f"{prefix} {len(sizes)} ({sum(sizes) / 1e6:.1f} MB)")
    return ", ".join(told)


MEASUREMENTS: dict[str, Measurement] = {
    "swaps": (swaps, 20), "rolling": (rolling, 20), "seeds": (seeds, 200), "soak": (soak, 30), "small": (small, 60),
}  # fmt: skip


if __name__ == "__main__":
    run_measurements(__doc__ or "", MEASUREMENTS, "swaps, restarts, requests, minutes of soak or thousands of requests")
