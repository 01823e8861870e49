"""Generation beside stable-audio-tools' generate_diffusion_cond: same model, sampler, steps and words, in one run.

    python -m benchmarks.generation [--base tiny] [--steps 20] [--times 3]

Upstream always denoises its full window; ours as many latent frames as the sound needs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

_SHARES = (1.0, 0.5, 0.25, 0.1)
_SAMPLER = "dpmpp-2m"


def upstream(sa: Any, steps: int, sampler: str = _SAMPLER, **options: float) -> Callable[[], Any]:
    from stable_audio_tools.inference.generation import generate_diffusion_cond

    from audiotune.stable_audio.upstream_factory import silence_output

    def make() -> None:
        words = [{"prompt": "low drone", "seconds_start": 0, "seconds_total": sa.window_frames / sa.sample_rate_hz}]
        with silence_output():
            generate_diffusion_cond(
                sa.model,
                steps=steps,
                cfg_scale=4.0,
                conditioning=words,
                sample_size=sa.window_frames,
                device=str(sa.device),
                seed=1,
                sampler_type=sampler,
                apg_scale=0.0,
                **options,
            )

    return make


def ours(sa: Any, steps: int, seconds: float, sampler: str = _SAMPLER) -> Callable[[], Any]:
    from audiotune.stable_audio.sample import SamplingRequest, generate_sounds

    request = SamplingRequest("low drone", seconds=seconds, steps=steps, seed=1, sampler=sampler)
    return lambda: generate_sounds(sa, [request])


def measured(ways: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """The best of some turns, taken in rounds so that a busy moment of the machine meets all ways alike."""
    best: dict[str, float] = {}
    for turn in range(times + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn:  # the first warms up
                best[name] = min(best.get(name, float("inf")), time.perf_counter() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    from audiotune.stable_audio.base_models import find_shipped_folder
    from audiotune.stable_audio.load import load_model

    folder = find_shipped_folder() / args.base
    sa = load_model(folder, folder / "model.safetensors")
    window_s = sa.window_frames / sa.sample_rate_hz
    ways = {"generate_diffusion_cond": upstream(sa, args.steps)}
    ways |= {f"ours, {part * window_s:.2f} s": ours(sa, args.steps, part * window_s) for part in _SHARES}
    found = measured(ways, args.times)
    table = Table("way", "seconds", "times as fast", title=f"{args.base}, {args.steps} steps, window {window_s:.2f} s")
    for name, seconds in found.items():
        table.add_row(name, f"{seconds:.3f}", f"{found['generate_diffusion_cond'] / seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
