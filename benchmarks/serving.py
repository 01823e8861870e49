"""The generation service's bars, each part runnable alone.

    python -m benchmarks.serving batching | seeds | small | load | kill | all  [--count N]

batching  sounds a second at 8 waiting requests, beside stable-audio-tools' generate_diffusion_cond one at a time; short sounds too
seeds     one request among others, in any order, after a restart and a swap: equal sounds
small     health and job states a second, beside a bare FastAPI application under the same server
load      Poisson arrivals at parts of the measured capacity: latency, goodput, whether Retry-After works
kill      kill -9 of a worker process with jobs queued: lost, ended twice

`batching`, `seeds` and `load` play the tiny base through the real engine in this process; `small` and `kill` use real processes
(the second on tones, so that the store and the leases are measured and not the model).
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

_STEPS = 20
_SAMPLER = "dpmpp-2m"
CONSOLE = Console()


def model() -> Any:
    from audiotune.stable_audio.load import base_folder, load_model

    return load_model(base_folder("tiny"))


def loaded_tiny(sa: Any, version: str = "1") -> Any:
    from services.generation.work import Loaded
    from tests.fakes.model import a_release

    return Loaded(a_release(version), sa)


def engine_on(loaded: Any, **settings: Any) -> Any:
    from audiotune.stable_audio.sample import generate_alike
    from services.generation.engine import Engine
    from services.generation.settings import Settings
    from services.generation.shelf import Shelf

    shelf = Shelf()
    shelf.put(loaded)
    shelf.names = (loaded.release.name,)
    return Engine(Settings(**settings), shelf, generate_alike).start()


def ask(seed: int, seconds: float, steps: int = _STEPS) -> Any:
    from audiotune.stable_audio.sample import Request

    return Request("low drone", seconds=seconds, steps=steps, seed=seed, sampler=_SAMPLER)


def batching(count: int) -> None:
    """Rounds take turns, so that a busy moment of the machine meets all ways alike; the best round of each counts."""
    sa = model()
    longest_s = sa.window_frames / sa.sample_rate_hz
    loaded = loaded_tiny(sa)
    engine = engine_on(loaded, batch=8, batch_s=600, queue_s=86_400)
    ways: dict[str, Callable[[], None]] = {"generate_diffusion_cond, one at a time": lambda: _upstream(sa, count)}
    for seconds in (longest_s, longest_s / 2, longest_s / 4, 0.25):
        ways[f"8 waiting, {seconds:.2f} s"] = lambda s=seconds: _waiting(engine, loaded, s, 8)  # type: ignore[misc]
        ways[f"one at a time, {seconds:.2f} s"] = lambda s=seconds: _one_by_one(engine, loaded, s, count)  # type: ignore[misc]
    numbers = {name: 8 if name.startswith("8") else count for name in ways}
    best = dict.fromkeys(ways, 0.0)
    for turn in range(4):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn:  # the first warms up
                best[name] = max(best[name], numbers[name] / (time.perf_counter() - began))
    table = Table("way", "sounds a second", "times upstream", title=f"tiny base, {_STEPS} steps, {_SAMPLER}, guidance 4")
    first = best["generate_diffusion_cond, one at a time"]
    for name, rate in best.items():
        table.add_row(name, f"{rate:.2f}", f"{rate / first:.2f}")
    CONSOLE.print(table)
    engine.stop()


def _upstream(sa: Any, count: int) -> None:
    from stable_audio_tools.inference.generation import generate_diffusion_cond

    from audiotune.stable_audio.upstream import quiet

    words = [{"prompt": "low drone", "seconds_start": 0, "seconds_total": sa.window_frames / sa.sample_rate_hz}]
    for seed in range(count):
        with quiet():
            generate_diffusion_cond(
                sa.model, steps=_STEPS, cfg_scale=4.0, conditioning=words, sample_size=sa.window_frames, device="cpu", seed=seed,
                sampler_type=_SAMPLER,
            )  # fmt: skip


def _waiting(engine: Any, loaded: Any, seconds: float, count: int) -> None:
    works = [engine.submit(loaded, [ask(seed, seconds)], f"member{seed % 4}") for seed in range(count)]
    for work in works:
        work.result.result(600)


def _one_by_one(engine: Any, loaded: Any, seconds: float, count: int) -> None:
    for seed in range(count):
        engine.submit(loaded, [ask(seed, seconds)]).result.result(600)


def seeds(count: int) -> None:
    """The same request in random company and order; in the middle a restart (new engine, model loaded anew) and a swap."""
    first, differ, made = loaded_tiny(model()), 0, 0
    engine, dice = engine_on(first, batch=8, batch_s=600, queue_s=86_400, queue=10_000, member_queue=10_000), random.Random(1)
    right = engine.submit(first, [ask(7, 0.5, 6)]).result.result(600)[0].data.tobytes()
    while made < count:
        if made >= count // 2 and engine.shelf.get().release.version == "1":
            engine.stop()
            first = loaded_tiny(model(), "2")
            engine = engine_on(first, batch=8, batch_s=600, queue_s=86_400, queue=10_000, member_queue=10_000)
        part = min(20, count - made)
        company = [ask(dice.randrange(1000) + 100, dice.choice((0.5, 0.5, 0.3)), 6) for _ in range(dice.randrange(10))]
        asked = [ask(7, 0.5, 6) for _ in range(part)] + company
        dice.shuffle(asked)
        works = [(request, engine.submit(first, [request], f"m{dice.randrange(4)}")) for request in asked]
        for request, work in works:
            data = work.result.result(600)[0].data.tobytes()
            if request.seed == 7:
                made, differ = made + 1, differ + (data != right)
    CONSOLE.print(f"seed contract: {made} requests, {made - differ} equal sounds, {differ} different")
    engine.stop()


def small(count: int) -> None:
    """Requests a second of one client, one connection each way, in rounds."""
    import tempfile
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

    from tests.fakes.live import listening
    from tests.fakes.service import ASK, Bench, until

    bare = FastAPI()

    @bare.get("/v1/health")
    async def health() -> dict[str, Any]:
        return {"ready": True}

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        other = Bench(Path(folder) / "bare")
        other.client.app = bare
        bench.loaded()
        with listening(bench) as ours, listening(other) as theirs, httpx.Client() as http:
            http.put(f"{ours}/v1/jobs/benchmark-1", json=ASK)
            until(lambda: http.get(f"{ours}/v1/jobs/benchmark-1").json()["state"] == "done")
            ways = {
                "bare FastAPI": f"{theirs}/v1/health",
                "health": f"{ours}/v1/health",
                "state of a job": f"{ours}/v1/jobs/benchmark-1",
            }
            best = dict.fromkeys(ways, 0.0)
            for _ in range(4):
                for name, url in ways.items():
                    began = time.perf_counter()
                    for _ in range(count):
                        assert http.get(url).status_code == 200
                    best[name] = max(best[name], count / (time.perf_counter() - began))
        bench.stop()
        other.stop()
    table = Table("request", "a second", "of the bare one", title="small requests, uvicorn, one client")
    for name, rate in best.items():
        table.add_row(name, f"{rate:.0f}", f"{rate / best['bare FastAPI']:.0%}")
    CONSOLE.print(table)


def load(count: int) -> None:
    """Open-loop arrivals: they come when they come, whether or not the service keeps up."""
    from services.generation.work import BusyError

    loaded, dice = loaded_tiny(model()), random.Random(2)
    lengths = (0.25, 0.5, 1.0)
    engine = engine_on(loaded, batch=8, batch_s=2.0, queue_s=6.0, queue=200, member_queue=200)
    for seconds in lengths:
        _waiting(engine, loaded, seconds, 8)
    began = time.perf_counter()
    works = [engine.submit(loaded, [ask(n, dice.choice(lengths), 10)], "warm") for n in range(24)]
    for work in works:
        work.result.result(600)
    capacity = 24 / (time.perf_counter() - began)
    table = Table(
        "of capacity", "p50 s", "p95 s", "p99 s", "made a second", "refused", "retries that were let in",
        title=f"Poisson arrivals, {count} requests of 0.25 to 1 s, 10 steps; capacity {capacity:.2f} a second",
    )  # fmt: skip
    for part in (0.5, 0.8, 1.0, 1.2):
        times: list[float] = []
        retried: list[bool] = []
        threads = []

        def one(seed: int, seconds: float, times: list[float] = times, retried: list[bool] = retried) -> None:
            came = time.perf_counter()
            for attempt in range(2):
                try:
                    work = engine.submit(loaded, [ask(seed, seconds, 10)], f"m{seed % 5}")
                except BusyError as e:
                    if attempt:
                        retried.append(False)
                        return
                    time.sleep(e.retry_s)
                    came = time.perf_counter()
                    continue
                if attempt:
                    retried.append(True)
                work.result.result(600)
                times.append(time.perf_counter() - came)
                return

        start = time.perf_counter()
        for seed in range(count):
            time.sleep(dice.expovariate(part * capacity))
            threads.append(threading.Thread(target=one, args=(seed, dice.choice(lengths))))
            threads[-1].start()
        for thread in threads:
            thread.join(120)
        rate, ordered = len(times) / (time.perf_counter() - start), sorted(times)
        at = [f"{ordered[min(len(ordered) - 1, int(q * len(ordered)))]:.2f}" for q in (0.5, 0.95, 0.99)]
        table.add_row(f"{part:.1f}", *at, f"{rate:.2f}", str(len(retried)), f"{sum(retried)} of {len(retried)}")
    CONSOLE.print(table)
    engine.stop()


def kill(count: int) -> None:
    """Worker processes on a folder store are killed again and again; what the book says at the end is counted."""
    import json
    import os
    import signal
    import tempfile
    from pathlib import Path

    from audiotune.generation import GenerationRequest
    from audiotune.store import FolderStore
    from services.generation.jobs.book import Book

    with tempfile.TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))
        book, dice = Book(store), random.Random(3)
        ids = [f"job-{number:05d}" for number in range(50)]
        for number, id in enumerate(ids):
            book.make(f"m{number % 5}", id, GenerationRequest(prompt="x", seconds=0.1, steps=4, seed=number))
        workers = [_worker(folder) for _ in range(2)]
        killed = 0
        end = time.monotonic() + 200
        while any(True for _ in book.open()) and time.monotonic() < end:
            time.sleep(dice.uniform(0.5, 1.5))
            if killed < count:
                place = dice.randrange(2)
                os.killpg(workers[place].pid, signal.SIGKILL)
                workers[place].wait()
                workers[place], killed = _worker(folder), killed + 1
        for worker in workers:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        events: dict[str, int] = {}
        for entry in store.list("jobs/log/"):
            ends = json.loads(store.get(entry.key))["kind"] in ("done", "failed", "cancelled")
            events[entry.key.split("/")[3]] = events.get(entry.key.split("/")[3], 0) + ends
    lost, twice = sum(events.get(id, 0) == 0 for id in ids), sum(events.get(id, 0) > 1 for id in ids)
    CONSOLE.print(f"kill -9: {killed} times, {len(ids)} jobs: {lost} lost, {twice} ended twice")


def _worker(folder: str) -> Any:
    """A process with an engine on tones and a runner with a short lease."""
    import subprocess
    import sys

    program = f"""
import time
from pathlib import Path
from tests.fakes.service import Bench
bench = Bench(Path({folder!r}), lease_s=2, jobs_poll_s=0.1)
plain = bench.tones._tone
bench.tones._tone = lambda *a: (time.sleep(0.3), plain(*a))[1]
time.sleep(1000)
"""
    return subprocess.Popen([sys.executable, "-c", program], start_new_session=True)


PARTS: dict[str, tuple[Callable[[int], None], int]] = {
    "batching": (batching, 4),
    "seeds": (seeds, 200),
    "small": (small, 300),
    "load": (load, 60),
    "kill": (kill, 20),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="?", choices=(*PARTS, "all"), default="all")
    parser.add_argument("--count", type=int, help="requests, kills or rounds; each part has a small default")
    args = parser.parse_args()
    for name, (part, count) in PARTS.items():
        if args.part in (name, "all"):
            part(args.count or count)


if __name__ == "__main__":
    main()
