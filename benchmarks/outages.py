"""Jobs while things die: workers, the store, the registry. Real processes, a real MinIO, a real MLflow server.

    python -m benchmarks.outages kill | gone | silent | all  [--count N] [--replicas 2]

kill    `--count` times: 50 jobs are queued, then a replica is killed with -9 in their midst: lost, ended twice
gone    MinIO and MLflow are ended for `--count` seconds while jobs wait, then started anew: lost, what health says, recovery
silent  the same, but they are stopped (SIGSTOP): connections stay open and nothing answers
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.replicas import Measurement, ReplicaGroup, print_line, run_measurements, start_replicas, until

_ASK = {"prompt": "low dark drone", "seconds": 0.5, "steps": 10, "format": "wav"}
_LONG = {**_ASK, "seconds": 1.0, "steps": 30}
_JOBS, _WAITING = 50, 60


def kill(count: int, replicas: int) -> None:
    """The next round begins when the killed replica is back."""
    dice, lost, twice, begun, takes = random.Random(3), 0, 0, Counter[str](), []
    with start_replicas(max(2, replicas), AUDIOTUNE_GENERATION_LEASE_S="4") as group:
        for number in range(count):
            ids = [f"kill-{number:02d}-{place:03d}" for place in range(_JOBS)]
            _queue(group, ids, _ASK)
            victim = group.replicas[dice.randrange(len(group.replicas))]
            time.sleep(dice.uniform(0.0, 1.0))
            begun[str(sum(_ends(group, id) for id in ids) < _JOBS)] += 1
            victim.kill()
            died = time.monotonic()
            other = next(replica for replica in group.replicas if replica is not victim)
            until(lambda ids=ids: all(_ends(group, id) for id in ids), 120)  # type: ignore[misc]
            takes.append(time.monotonic() - died)
            assert other.health()["ready"]
            victim.start()
            ends = [_ends(group, id) for id in ids]
            lost, twice = lost + ends.count(0), twice + sum(n > 1 for n in ends)
    print_line(f"kill -9, {count} times with {_JOBS} jobs queued ({begun['True']} times before the last had ended): {count * _JOBS} jobs, "
        f"{lost} lost, {twice} ended twice; all ended at most {max(takes):.1f} s after the kill")  # fmt: skip


def _queue(group: ReplicaGroup, ids: list[str], asked: dict[str, Any]) -> None:
    with httpx.Client(timeout=60) as http:
        for number, id in enumerate(ids):
            url = group.replicas[number % len(group.replicas)].url
            http.put(f"{url}/v1/jobs/{id}", json={**asked, "seed": number}).raise_for_status()


def _ends(group: ReplicaGroup, id: str) -> int:
    """How many of the job's events end it, as the folder of the store has them."""
    events = (group.folder / "store" / "jobs" / "log" / "anyone" / id).glob("*.json")
    return sum(json.loads(path.read_bytes())["kind"] in ("done", "failed", "cancelled") for path in sorted(events))


def gone(count: int, replicas: int) -> None:
    _outage(count, replicas, silent=False)


def silent(count: int, replicas: int) -> None:
    _outage(count, replicas, silent=True)


class Servers:
    """MinIO and MLflow, which can go away and come back under the same addresses."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack, self._ports = folder, ExitStack(), (0, 0)
        self._stopped: list[int] = []
        self.start()

    def start(self) -> None:
        from audiotune.registry.mlflow_server import run_mlflow_server
        from tests.integration.minio import server

        self.minio = self._stack.enter_context(server(self._folder / "minio", self._ports[0]))
        os.environ |= self.minio.environment
        self.mlflow = self._stack.enter_context(run_mlflow_server(self._folder / "mlflow", self._ports[1]))
        self._ports = (_port(self.minio.endpoint), _port(self.mlflow))

    def end(self) -> None:
        self._stack.close()

    def pause(self) -> None:
        self._stopped = [pid for port in self._ports for pid in _listening(port)]
        for pid in self._stopped:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        for pid in self._stopped:
            os.kill(pid, signal.SIGCONT)
        self._stopped = []


@contextmanager
def start_servers() -> Iterator[Servers]:
    import boto3

    with tempfile.TemporaryDirectory() as name:
        servers = Servers(Path(name))
        try:
            boto3.client("s3", endpoint_url=servers.minio.endpoint).create_bucket(Bucket="endurance")
            yield servers
        finally:
            servers.go_on()
            servers.end()


def _outage(count: int, replicas: int, *, silent: bool) -> None:
    with start_servers() as servers:
        settings = {"AUDIOTUNE_STORE": "s3://endurance", "MLFLOW_TRACKING_URI": servers.mlflow}
        with start_replicas(replicas, **settings, AUDIOTUNE_GENERATION_LEASE_S="10") as group:
            ids = [f"outage-{n:03d}" for n in range(_WAITING)]
            _queue(group, ids, _LONG)
            before = _states(group, ids)
            (servers.pause if silent else servers.end)()
            said = _health_for(group, count)
            (servers.go_on if silent else servers.start)()
            back, ready = time.monotonic(), Counter[str]()
            until(lambda: not any(r.health().get("reason") for r in group.replicas), 240)
            well = time.monotonic() - back
            until(lambda: _states(group, ids)["done"] == len(ids), 240)
            ended, after = time.monotonic() - back, _states(group, ids)
            ready.update(str(r.health().get("reason")) for r in group.replicas)
            _queue(group, ["after-it-00"], _ASK)
            new = until(lambda: _states(group, ["after-it-00"])["done"] == 1, 60)
    kind = "silent" if silent else "gone"
    print_line(f"store and registry {kind} for {count} s: jobs before {dict(before)}, afterwards {dict(after)}; "
        f"health well {well:.0f} s after, all jobs ended {ended:.0f} s after, a new job took {new:.1f} s; then {dict(ready)}")  # fmt: skip
    for at_s, words in said:
        print_line(f"  health after {at_s:.0f} s: {words}")


def _health_for(group: ReplicaGroup, seconds: float) -> list[tuple[float, str]]:
    """(when, what) whenever health says something else; digits do not count."""
    began, said, last = time.monotonic(), [], ""
    while time.monotonic() - began < seconds:
        health = group.replicas[0].health()
        words = f"ready {health.get('ready')}, {str(health.get('reason'))[:300]}"
        if (kind := "".join(c for c in words if not c.isdigit())) != last:
            said.append((time.monotonic() - began, words))
            last = kind
        time.sleep(1)
    return said


def _states(group: ReplicaGroup, ids: list[str]) -> Counter[str]:
    states = Counter[str]()
    for number, id in enumerate(ids):
        url = group.replicas[number % len(group.replicas)].url
        try:
            states[str(httpx.get(f"{url}/v1/jobs/{id}", timeout=20).json().get("state"))] += 1
        except (httpx.HTTPError, ValueError):
            states["no answer"] += 1
    return states


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def _listening(port: int) -> list[int]:
    """Processes that hold a port, and their children."""
    import psutil

    pids = {c.pid for c in psutil.net_connections("tcp") if c.pid and c.laddr and c.laddr.port == port and c.status == "LISTEN"}
    return sorted(pids | {child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)})


MEASUREMENTS: dict[str, Measurement] = {"kill": (kill, 20), "gone": (gone, 60), "silent": (silent, 60)}


if __name__ == "__main__":
    run_measurements(__doc__ or "", MEASUREMENTS, "kills, or seconds of outage")
