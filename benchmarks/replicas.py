"""Real processes of the generation service on this machine, with a store and a registry: what the benchmarks over time play on."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from audiotune.store.port import Store

Measurement = tuple[Callable[[int, int], None], int]  # what is measured with (count, replicas), and the count when none is given


def run_measurements(words: str, parts: dict[str, Measurement], counted: str) -> None:
    """The command line of a benchmark: one of its parts, or all. `words` is its docstring, `counted` what --count means."""
    parser = argparse.ArgumentParser(description=words.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=(*parts, "all"), default="all")
    parser.add_argument("--count", type=int, help=counted)
    parser.add_argument("--replicas", type=int, default=2)
    args = parser.parse_args()
    for name, (part, count) in parts.items():
        if args.part in (name, "all"):
            part(args.count or count, args.replicas)


def print_line(words: str) -> None:
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
        while time.monotonic() - began < 900:
            if self.health().get("ready"):
                return time.monotonic() - began
            time.sleep(0.2)
        raise SystemExit(f"not ready: {self.health()}; {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9 of all its processes at once."""
        import psutil

        assert self.process is not None
        first = psutil.Process(self.process.pid)
        for process in (*first.children(recursive=True), first):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(60)

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
        """Resident, of the process and all its children."""
        import psutil

        assert self.process is not None
        first = psutil.Process(self.process.pid)
        return float(sum(process.memory_info().rss for process in (first, *first.children(recursive=True))) / 2**20)


@dataclass
class ReplicaGroup:
    """A group's store and registry with replicas on it."""

    folder: Path
    environment: dict[str, str]
    replicas: list[Replica]

    def token(self, member: str) -> dict[str, str]:
        """The headers of a member."""
        from audiotune.access import tokens
        from audiotune.store import open_store

        return {"Authorization": f"Bearer {tokens.issue_token(open_store(), member, ['generate', 'read'], 1)}"}

    def version(self, number: int) -> str:
        """Registers one more release: the same weights under another digest."""
        from safetensors.torch import load_file, save_file

        from audiotune.domain.lineage import bind_weights
        from audiotune.registry import releases
        from audiotune.store import compute_digest, open_store
        from tests.fakes.small_release import publish

        store, first = open_store(), publish(open_store())
        named = self.folder / "weights.safetensors"
        save_file(load_file(store.fetch(first.weights.weights)), named, metadata={"number": str(number)})
        key = store.put_blob(named, ".safetensors")
        pointer = first.weights.model_copy(update={"weights": key, "weights_digest": compute_digest(named)})
        bind_weights(store, pointer)
        return str(releases.register_release(first.model_copy(update={"weights": pointer, "version": ""}), {}).version)


@contextmanager
def start_replicas(replicas: int, prepare: Callable[[Store], object] | None = None, **settings: str) -> Iterator[ReplicaGroup]:
    """A folder store, MLflow's own SQLite, `replicas` processes that follow the alias every second.

    `prepare` registers releases; without it there is one, `ours`.
    """
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
        (prepare or publish)(open_store())
        made = [
            Replica(_free_port(), folder / f"log{n}", {"AUDIOTUNE_CACHE": str(folder / f"cache{n}")}) for n in range(replicas)
        ]
        try:
            took = [replica.start() for replica in made]
            print_line(f"start to ready: {', '.join(f'{s:.1f} s' for s in took)}")
            yield ReplicaGroup(folder, environment, made)
        finally:
            for replica in made:
                if replica.process is not None and replica.process.poll() is None:
                    replica.stop()


@contextmanager
def start_proxy(group: ReplicaGroup) -> Iterator[Replica]:
    """proxy.py in front of a group's replicas."""
    proxy = Replica(_free_port(), group.folder / "log of the proxy", {})
    command = [sys.executable, "-m", "benchmarks.proxy", str(proxy.port), *(replica.url for replica in group.replicas)]
    with proxy.log.open("w") as out:
        proxy.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        if until(lambda: bool(proxy.health().get("ready")), 60) >= 60:
            raise SystemExit(f"the proxy sees no replica: {proxy.log.read_text()[-2000:]}")
        yield proxy
    finally:
        proxy.process.terminate()
        proxy.process.wait(60)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(true: Callable[[], bool], patience_s: float) -> float:
    began = time.monotonic()
    while time.monotonic() - began < patience_s and not true():
        time.sleep(0.1)
    return time.monotonic() - began
