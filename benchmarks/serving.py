"""The generation service's bars, each part runnable alone.

    python -m benchmarks.serving batching | small | all  [--count N]

batching  sounds a second at 8 waiting requests, beside stable-audio-tools' generate_diffusion_cond one at a time; short sounds too
small     health and job states a second, beside a bare FastAPI application under the same server

`batching` plays the tiny base through the real engine in this process. What needs time and several processes is measured by
load.py, endurance.py and outages.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

_STEPS = 20
_SAMPLER = "dpmpp-2m"
CONSOLE = Console()


def model() -> Any:
    """The tiny base as the service loads it."""
    from audiotune.stable_audio.onednn_layers import pack_linear_layers

    return pack_linear_layers(plain_model())


def plain_model() -> Any:
    """The tiny base as stable-audio-tools has it."""
    from audiotune.stable_audio.base_models import find_shipped_folder
    from audiotune.stable_audio.load import load_model

    return load_model(find_shipped_folder() / "tiny")


def loaded_tiny(sa: Any, version: str = "1") -> Any:
    from services.generation.engine.work import LoadedRelease
    from tests.fakes.fake_models import a_release

    return LoadedRelease(a_release(version), sa)


def engine_on(loaded: Any, **settings: Any) -> Any:
    from audiotune.stable_audio.sample import generate_batch
    from services.generation.engine.engine import Engine
    from services.generation.engine.loaded_releases import LoadedReleases
    from services.generation.settings import GenerationSettings

    served = LoadedReleases()
    served.put(loaded)
    served.names = (loaded.release.name,)
    return Engine(GenerationSettings(**settings), served, generate_batch).start()


def ask(seed: int, seconds: float, steps: int = _STEPS) -> Any:
    from audiotune.stable_audio.sample import SamplingRequest

    return SamplingRequest("low drone", seconds=seconds, steps=steps, seed=seed, sampler=_SAMPLER)


def batching(count: int) -> None:
    """Rounds take turns, so that a busy moment of the machine meets all ways alike; the best round of each counts.

    Told by the clock and by processor time: the second holds on a busy machine too, while one thread computes.
    """
    import torch

    sa, theirs = model(), plain_model()
    longest_s = sa.window_frames / sa.sample_rate_hz
    loaded = loaded_tiny(sa)
    engine = engine_on(loaded, batch=8, batch_s=600, queue_s=86_400)
    ways: dict[str, Callable[[], None]] = {"generate_diffusion_cond, one at a time": lambda: _upstream(theirs, count)}
    for seconds in (longest_s, longest_s / 2, longest_s / 4, 0.25):
        ways[f"8 waiting, {seconds:.2f} s"] = lambda s=seconds: _waiting(engine, loaded, s, 8)  # type: ignore[misc]
        ways[f"one at a time, {seconds:.2f} s"] = lambda s=seconds: _one_by_one(engine, loaded, s, count)  # type: ignore[misc]
    numbers = {name: 8 if name.startswith("8") else count for name in ways}
    best, busy = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    for turn in range(4):
        for name, way in ways.items():
            began, spent = time.perf_counter(), time.process_time()
            way()
            if turn:  # the first warms up
                best[name] = max(best[name], numbers[name] / (time.perf_counter() - began))
                busy[name] = max(busy[name], numbers[name] / (time.process_time() - spent))
    threads = f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''} on both sides"
    title = f"tiny base, {_STEPS} steps, {_SAMPLER}, guidance 4, {threads}"
    table = Table("way", "sounds a second", "times upstream", "a processor second", "times upstream", title=title)
    first = "generate_diffusion_cond, one at a time"
    for name, rate in best.items():
        by_clock, by_work = f"{rate / best[first]:.2f}", f"{busy[name] / busy[first]:.2f}"
        table.add_row(name, f"{rate:.2f}", by_clock, f"{busy[name]:.2f}", by_work)
    CONSOLE.print(table)
    engine.stop()


def _upstream(sa: Any, count: int) -> None:
    from stable_audio_tools.inference.generation import generate_diffusion_cond

    from audiotune.stable_audio.upstream_factory import silence_output

    words = [{"prompt": "low drone", "seconds_start": 0, "seconds_total": sa.window_frames / sa.sample_rate_hz}]
    for seed in range(count):
        with silence_output():
            generate_diffusion_cond(
                sa.model,
                steps=_STEPS,
                cfg_scale=4.0,
                conditioning=words,
                sample_size=sa.window_frames,
                device="cpu",
                seed=seed,
                sampler_type=_SAMPLER,
                apg_scale=0.0,
            )


def _waiting(engine: Any, loaded: Any, seconds: float, count: int) -> None:
    works = [engine.submit(loaded, [ask(seed, seconds)], f"member{seed % 4}") for seed in range(count)]
    for work in works:
        work.result.result(600)


def _one_by_one(engine: Any, loaded: Any, seconds: float, count: int) -> None:
    for seed in range(count):
        engine.submit(loaded, [ask(seed, seconds)]).result.result(600)


def small(count: int) -> None:
    """Requests a second of one client, one connection each way, in rounds."""
    import tempfile
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

    from tests.fakes.in_process_service import ASK, InProcessService, until
    from tests.fakes.live_service import serve_http

    bare = FastAPI()

    @bare.get("/v1/health")
    async def health() -> dict[str, Any]:
        return {"ready": True}

    with tempfile.TemporaryDirectory() as folder:
        bench = InProcessService(Path(folder))
        other = InProcessService(Path(folder) / "bare")
        other.client.app = bare
        bench.loaded()
        with serve_http(bench) as ours, serve_http(other) as theirs, httpx.Client() as http:
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


MEASUREMENTS: dict[str, tuple[Callable[[int], None], int]] = {
    "batching": (batching, 4),
    "small": (small, 300),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="?", choices=(*MEASUREMENTS, "all"), default="all")
    parser.add_argument("--count", type=int, help="requests or rounds; each part has a small default")
    args = parser.parse_args()
    for name, (part, count) in MEASUREMENTS.items():
        if args.part in (name, "all"):
            part(args.count or count)


if __name__ == "__main__":
    main()
