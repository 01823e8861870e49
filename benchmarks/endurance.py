"""The generation service over time: real processes, real load, things that go wrong.

    python -m benchmarks.endurance swaps | rolling | outage | soak | all  [--count N] [--replicas 2]

swaps     the alias moves again and again, some versions are broken: failed requests, time from the alias to the first answer
rolling   one replica after the other is ended by SIGTERM and started anew: failed requests
outage    MinIO and MLflow stand still for a minute while jobs wait: lost jobs, what health says, recovery
soak      load for --count minutes: memory and disk at the beginning and at the end

Replicas are `python -m services.generation` on the tiny base, all on this machine. Clients go from replica to replica as a load
balancer does: on to the next one when a connection is refused or the answer is 503 with Retry-After; everything else that is not
the answer asked for counts as failed. All loops are bounded.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

_ASK = {"prompt": "low dark drone", "seconds": 0.25, "steps": 1, "format": "wav"}
_CLIENTS = 6
_PATIENCE_S = 60.0
_REQUESTS = 5000


def say(words: str) -> None:
    print(words, flush=True)


@dataclass
class Replica:
    """One process; `url` stays the same when it is started anew."""

    port: int
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> float:
        """Starts and waits until it is ready; the seconds it took."""
        began = time.monotonic()
        with self.log.open("a") as out:
            command = [sys.executable, "-m", "services.generation", "--port", str(self.port)]
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **self.environment}
            )
        while time.monotonic() - began < 300:
            if self.health().get("ready"):
                return time.monotonic() - began
            time.sleep(0.2)
        raise SystemExit(f"not ready: {self.health()}; {self.log.read_text()[-2000:]}")

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def health(self) -> dict[str, object]:
        try:
            return dict(httpx.get(f"{self.url}/v1/health", timeout=5).json())
        except (httpx.HTTPError, ValueError) as e:
            return {"ready": False, "reason": type(e).__name__}

    @property
    def memory_mib(self) -> float:
        """Resident, of the process and its children."""
        assert self.process is not None
        told = subprocess.run(["ps", "-o", "rss=", "-s", str(self.process.pid)], capture_output=True, text=True, check=False)
        return sum(int(line) for line in told.stdout.split()) / 1024


@dataclass
class Crowd:
    """Clients that ask without a pause until they are told to stop."""

    replicas: list[Replica]
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator[Crowd]:
        threads = [threading.Thread(target=self._one, args=(n,)) for n in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(_PATIENCE_S + 60)

    def _one(self, number: int) -> None:
        dice, turns = random.Random(number), itertools.cycle(self.replicas)
        with httpx.Client(timeout=_PATIENCE_S) as http:
            while not self._stop.is_set():
                kind = dice.choice(("sound", "sound", "health", "releases"))
                why = self._ask(http, kind, dice.randrange(1 << 30), turns)
                self.counts[kind] += 1
                if why:
                    self.failures.append(f"{kind}: {why}")

    def _ask(self, http: httpx.Client, kind: str, seed: int, turns: Iterator[Replica]) -> str:
        """What went wrong, or ""."""
        end, why = time.monotonic() + _PATIENCE_S, ""
        while time.monotonic() < end:
            url = next(turns).url
            try:
                if kind == "sound":
                    answer = http.post(f"{url}/v1/generations", json={**_ASK, "seed": seed})
                else:
                    answer = http.get(f"{url}/v1/{kind}")
            except httpx.ConnectError:
                self.counts["refused, next replica"] += 1
                time.sleep(0.05)
                continue
            except httpx.HTTPError as e:
                return f"{type(e).__name__} {e}"
            if answer.status_code == 503 and (kind == "health" or "retry-after" in answer.headers):
                self.counts["503, next replica"] += 1
                time.sleep(0.1)
                continue
            return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:200]}"
        return f"no answer within {_PATIENCE_S:.0f} s {why}"

    @property
    def asked(self) -> int:
        return sum(n for name, n in list(self.counts.items()) if "next" not in name)

    def told(self) -> str:
        parts = ", ".join(f"{n} {name}" for name, n in sorted(self.counts.items()))
        first = f"; the first: {self.failures[0]}" if self.failures else ""
        return f"{self.asked} requests ({parts}): {len(self.failures)} failed{first}"


@dataclass
class Stand:
    """A group's store and registry with replicas on it."""

    folder: Path
    environment: dict[str, str]
    replicas: list[Replica]

    def version(self, number: int) -> str:
        """Registers one more release: the same weights under another digest."""
        from safetensors.torch import load_file, save_file

        from audiotune.registry import releases
        from audiotune.store import digest_of, open_store
        from tests.fakes.small_release import publish

        store, first = open_store(), publish(open_store())
        named = self.folder / "weights.safetensors"
        save_file(load_file(store.fetch(first.weights.weights)), named, metadata={"number": str(number)})
        key = store.put_blob(named, ".safetensors")
        pointer = first.weights.model_copy(update={"weights": key, "weights_digest": digest_of(named)})
        return str(releases.register_release(first.model_copy(update={"weights": pointer, "version": ""}), {}).version)


@contextmanager
def stand(replicas: int, **settings: str) -> Iterator[Stand]:
    """A folder store, MLflow's own SQLite, `replicas` processes that follow the alias every second."""
    from audiotune.store import open_store
    from tests.fakes.small_release import publish

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            "AUDIOTUNE_STORE": str(folder / "store"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "AUDIOTUNE_GENERATION_POLL_S": "1", "AUDIOTUNE_GENERATION_RATE_PER_MINUTE": "1000000",
            "AUDIOTUNE_GENERATION_QUEUE": "200", "AUDIOTUNE_GENERATION_MEMBER_QUEUE": "200", "AUDIOTUNE_ACCESS": "open",
            "OMP_NUM_THREADS": "1", **settings,
        }  # fmt: skip
        os.environ |= environment
        publish(open_store())
        made = [
            Replica(_free_port(), folder / f"log{n}", {"AUDIOTUNE_CACHE": str(folder / f"cache{n}")}) for n in range(replicas)
        ]
        try:
            took = [replica.start() for replica in made]
            say(f"start to ready: {', '.join(f'{s:.1f} s' for s in took)}")
            yield Stand(folder, environment, made)
        finally:
            for replica in made:
                if replica.process is not None and replica.process.poll() is None:
                    replica.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def swaps(count: int, replicas: int) -> None:
    """`count` moves of the alias, every seventh to a version whose weights are damaged."""
    from audiotune.registry import releases

    with stand(replicas) as group:
        versions = [group.version(n) for n in range(1, count + 1)]
        broken = set(versions[6::7])
        for version in broken:
            path = group.folder / "store" / releases.get("ours", version).weights.weights
            path.write_bytes(path.read_bytes()[:-1000])
        took, told = [], 0
        with Crowd(group.replicas).asking() as crowd:
            for version in versions:
                began = time.monotonic()
                releases.set_alias("ours", "champion", version)
                if version in broken:
                    told += _until(lambda: all("ours" in str(r.health().get("reason")) for r in group.replicas), 60) < 60
                else:
                    _until(lambda v=version: all(r.health().get("version") == v for r in group.replicas), 120)  # type: ignore[misc]
                    took.append(time.monotonic() - began)
                time.sleep(2)
            _until(lambda: crowd.asked >= _REQUESTS, 400)
        say(f"swaps: {len(versions)}, {len(broken)} of them to broken versions ({told} told by health); {crowd.told()}")
        p95 = sorted(took)[int(0.95 * len(took))]
        say(f"alias to served by all {replicas} replicas: median {statistics.median(took):.1f} s, p95 {p95:.1f} s")


def rolling(count: int, replicas: int) -> None:
    with stand(max(2, replicas)) as group, Crowd(group.replicas).asking() as crowd:
        codes, ready = [], []
        for number in range(count):
            replica = group.replicas[number % len(group.replicas)]
            codes.append(replica.stop())
            ready.append(replica.start())
            time.sleep(1)
        say(
            f"rolling restarts: {count}, exit codes {dict(Counter(codes))}, ready after {statistics.median(ready):.1f} s; {crowd.told()}"
        )


def outage(count: int, replicas: int) -> None:
    """MinIO, then MLflow too, do not answer for `count` seconds; jobs were queued before and wait."""
    from audiotune.registry.server import serving
    from tests.integration.minio import server

    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory())
        minio = stack.enter_context(server(Path(name) / "minio"))
        os.environ |= minio.environment
        mlflow = stack.enter_context(serving(Path(name) / "mlflow"))
        import boto3

        boto3.client("s3", endpoint_url=minio.endpoint).create_bucket(Bucket="endurance")
        group = stack.enter_context(
            stand(replicas, AUDIOTUNE_STORE="s3://endurance", MLFLOW_TRACKING_URI=mlflow, AUDIOTUNE_GENERATION_LEASE_S="10")
        )
        urls = [replica.url for replica in group.replicas]
        ids = [f"outage-{n:03d}" for n in range(30)]
        for n, id in enumerate(ids):
            httpx.put(
                f"{urls[n % len(urls)]}/v1/jobs/{id}", json={**_ASK, "seconds": 1.0, "steps": 20, "seed": n}, timeout=60
            ).raise_for_status()
        still = _listening(minio.endpoint) + _listening(mlflow)
        for pid in still:
            os.kill(pid, signal.SIGSTOP)
        began, said = time.monotonic(), Counter[str]()
        while time.monotonic() - began < count:
            said[str(group.replicas[0].health().get("reason"))[:90]] += 1
            time.sleep(2)
        for pid in still:
            os.kill(pid, signal.SIGCONT)
        back = time.monotonic()
        states: Counter[str] = Counter()

        def all_done() -> bool:
            states.clear()
            for id in ids:
                try:
                    states[str(httpx.get(f"{urls[0]}/v1/jobs/{id}", timeout=20).json().get("state"))] += 1
                except (httpx.HTTPError, ValueError):
                    states["no answer"] += 1
            return states["done"] == len(ids)

        _until(all_done, 240)
        say(
            f"outage of {count} s ({len(still)} processes stopped): jobs {dict(states)}, all ended {time.monotonic() - back:.0f} s after it"
        )
        say(f"health said meanwhile: {dict(said)}; afterwards: {group.replicas[0].health()}")


def soak(count: int, replicas: int) -> None:
    with stand(replicas, AUDIOTUNE_GENERATION_KEEP="false") as group, Crowd(group.replicas).asking() as crowd:
        time.sleep(60)  # caches fill
        first, disk = [r.memory_mib for r in group.replicas], _bytes(group.folder)
        time.sleep(60 * count)
        last = [r.memory_mib for r in group.replicas]
        say(f"soak of {count} min: memory {[f'{a:.0f} -> {b:.0f} MiB' for a, b in zip(first, last, strict=True)]}, "
            f"disk {disk / 1e6:.1f} -> {_bytes(group.folder) / 1e6:.1f} MB; {crowd.told()}")  # fmt: skip


def _listening(url: str) -> list[int]:
    """Processes that hold a port, and their children."""
    import psutil

    port = int(url.rsplit(":", 1)[1])
    pids = {c.pid for c in psutil.net_connections("tcp") if c.pid and c.laddr and c.laddr.port == port and c.status == "LISTEN"}
    return sorted(pids | {child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)})


def _until(true: Callable[[], bool], patience_s: float) -> float:
    began = time.monotonic()
    while time.monotonic() - began < patience_s and not true():
        time.sleep(0.1)
    return time.monotonic() - began


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


PARTS: dict[str, tuple[Callable[[int, int], None], int]] = {
    "swaps": (swaps, 20), "rolling": (rolling, 20), "outage": (outage, 60), "soak": (soak, 10),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="?", choices=(*PARTS, "all"), default="all")
    parser.add_argument("--count", type=int, help="swaps, restarts, seconds of outage or minutes of soak")
    parser.add_argument("--replicas", type=int, default=2)
    args = parser.parse_args()
    for name, (part, count) in PARTS.items():
        if args.part in (name, "all"):
            part(args.count or count, args.replicas)


if __name__ == "__main__":
    main()
