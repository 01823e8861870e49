"""The parts of the measurement on a GPU (`gpu.py`), each for a process of its own: the shape of Stable Audio Open 1.0, random weights.

A part returns rows: name -> {"time_s": of a step or a sound, "peak_bytes": of tensors, "counted_bytes": by the plan}; each figure only
where the part knows it. On a CPU the peak is counted by storages.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

BASE = "stabilityai/stable-audio-open-1.0"
CLIP_S = 12.0
Rows = dict[str, dict[str, float]]
UPSTREAM = "stable-audio-tools"


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        config: the base's.
        training_window_frames: of stable-audio-tools' training, as in the notebook.
        text_layers: of the text encoder.
        steps: measured training steps, after a first one.
        denoising_steps: of a sound.
    """

    config: Mapping[str, Any]
    batch: int
    clip_s: float
    training_window_frames: int
    text_layers: int
    steps: int
    denoising_steps: int
    device: str


def choose_sizes(*, rehearse: bool) -> Sizes:
    """The true sizes on a GPU, or for a rehearsal small ones on the CPU."""
    from audiotune.stable_audio.generation_defaults import add_generation_defaults
    from audiotune.stable_audio.known_shapes import read_base_config

    config = add_generation_defaults(copy.deepcopy(read_base_config(BASE)[0]), BASE)
    if not rehearse:
        return Sizes(config, 16, CLIP_S, 524288, 12, 5, 50, "cuda")
    config["sample_size"] = 65536
    config["model"]["diffusion"]["config"].update(embed_dim=128, depth=2, num_heads=2, cond_token_dim=64, global_cond_dim=128)
    config["model"]["conditioning"]["cond_dim"] = 64
    for side in ("encoder", "decoder"):
        config["model"]["pretransform"]["config"][side]["config"]["channels"] = 4
    return Sizes(config, 2, 0.5, 32768, 1, 1, 2, "cpu")


# our trainings: a row's name -> settings of finetune
TRAININGS: Mapping[str, Mapping[str, Any]] = {
    "full": {"mode": "full"},
    "full, little memory": {"mode": "full", "activation_checkpointing": True, "optimizer_state": "int8"},
    "LoRA": {"mode": "lora", "weights": "bf16"},
    "LoRA, little memory": {"mode": "lora", "weights": "bf16", "optimizer_state": "int8", "activation_checkpointing": True},
}


def measure_our_training(sizes: Sizes, name: str) -> Rows:
    """Seconds of a step, and the peak of all steps, as components/finetune trains."""
    from components.finetune.compute_backends import launch_processes

    settings = _make_settings(sizes, name)
    row: dict[str, float] = launch_processes(settings, _run_our_steps, settings, sizes)
    return {name: row}


def _run_our_steps(backend: Any, settings: Any, sizes: Sizes) -> dict[str, float]:
    from components.finetune.memory_count import make_counted_trainer

    sa = make_random_base(sizes, sizes.config)
    trainer = make_counted_trainer(sa, settings, sizes.clip_s, lambda _: backend)
    sa.model.pretransform.to("cpu")  # where it is during a training
    sa.model.conditioner.conditioners["prompt"].encoder.to("cpu")
    times = []
    with measure_peak(sizes.device, trainer.model) as peak:
        for step in range(sizes.steps + 2):
            began = read_clock(sizes.device)
            trainer._train_step(step)
            times.append(read_clock(sizes.device) - began)
    return {"time_s": median(times[2:] or times[1:]), **peak}


def _make_settings(sizes: Sizes, name: str) -> Any:
    from components.finetune.settings import Settings

    shared = {"base": BASE, "batch_size": sizes.batch, "precision": "bf16", "demos": 0, "experiment": "", "device": sizes.device}
    return Settings.model_validate(shared | dict(TRAININGS[name]))


def measure_upstream_training(sizes: Sizes, name: str) -> Rows:
    """stable-audio-tools' training wrapper as its users run it: 16-mixed, AdamW, sounds that are encoded in each step."""
    from audiotune.audio.sound import Sound
    from benchmarks.training import UpstreamTraining

    sa = make_random_base(sizes, {**sizes.config, "sample_size": sizes.training_window_frames})
    frames = min(round(sizes.clip_s * sa.sample_rate_hz), sa.window_frames)
    random = np.random.default_rng(0)
    sounds = [
        (f"sound {i}", Sound(random.normal(0, 0.1, (sa.channels, frames)).astype(np.float32), sa.sample_rate_hz))
        for i in range(sizes.batch)
    ]
    training = UpstreamTraining(sa, sounds, lora=name == "LoRA")
    options = {"accelerator": "gpu", "devices": 1, "precision": "16-mixed"} if sizes.device == "cuda" else {}
    with measure_peak(sizes.device, training.wrapper) as peak:
        times = training.times(sizes.steps, lambda _: None, lambda: read_clock(sizes.device), **options)
    return {f"{name}, {UPSTREAM}": {"time_s": median(times), **peak}}


def measure_generation(sizes: Sizes) -> Rows:
    """A clip alone, beside generate_diffusion_cond, which denoises the whole window. Same sampler, noise levels, steps and words."""
    import torch

    from benchmarks.generation import ours, upstream

    sa = make_random_base(sizes, sizes.config)
    sampler, levels = sa.defaults.sampler, {"sigma_min": sa.defaults.sigma_min, "sigma_max": sa.defaults.sigma_max}
    rows = {
        f"clip, {UPSTREAM}": _measure_call(sizes, sa, upstream(sa, sizes.denoising_steps, sampler, **levels)),
        "clip, fp32": _measure_call(sizes, sa, ours(sa, sizes.denoising_steps, sizes.clip_s, sampler)),
    }
    sa.model.model.to(torch.bfloat16)
    return rows | {"clip": _measure_call(sizes, sa, ours(sa, sizes.denoising_steps, sizes.clip_s, sampler))}


def measure_decoding(sizes: Sizes) -> Rows:
    """Decoding of a clip and of the whole window, with the autoencoder alone on the GPU."""
    from audiotune.stable_audio.autoencoder import decode_latents

    sa = make_random_base(sizes, sizes.config)
    for part in (sa.model.model, sa.model.conditioner, sa.model.conditioner.conditioners["prompt"].encoder):
        part.to("cpu")
    rows = {}
    for name, seconds in _list_decoded(sizes).items():
        frames = -(-round(seconds * sa.sample_rate_hz) // sa.downsampling_ratio)
        latents = np.zeros((sa.latent_channels, frames), np.float32)

        def decode(latents: Any = latents) -> None:
            decode_latents(sa, latents)

        rows[name] = _measure_call(sizes, sa, decode, sa.model.pretransform)
    return rows


def count_plan(sizes: Sizes) -> Rows:
    """What the plan says of the same trainings and decodings, by tensors without content."""
    from components.finetune.memory_count import count_decoding, count_training

    counted = {name: count_training(sizes.config, _make_settings(sizes, name), sizes.clip_s).step_peak for name in TRAININGS} | {
        name: count_decoding(sizes.config, seconds) for name, seconds in _list_decoded(sizes).items()
    }
    return {name: {"counted_bytes": float(size)} for name, size in counted.items()}


def _list_decoded(sizes: Sizes) -> dict[str, float]:
    return {"decode a clip": sizes.clip_s, "decode the window": sizes.config["sample_size"] / sizes.config["sample_rate"]}


def _measure_call(sizes: Sizes, sa: Any, call: Callable[[], Any], *modules: Any) -> dict[str, float]:
    call()  # the first is slower
    with measure_peak(sizes.device, *(modules or (sa.model,))) as peak:
        began = read_clock(sizes.device)
        call()
        took_s = read_clock(sizes.device) - began
    return {"time_s": took_s, **peak}


def make_random_base(sizes: Sizes, config: Mapping[str, Any]) -> Any:
    """The model of a config on the device with random weights, its T5 too: nothing is read or fetched."""
    import torch

    from audiotune.stable_audio.load import TINY_BASE, build_bare_model, move_to_device
    from audiotune.stable_audio.local_parts import localize_config
    from audiotune.stable_audio.model import StableAudio
    from audiotune.stable_audio.snake import speed_up_snakes

    bare = copy.deepcopy(dict(config))
    words = next(part for part in bare["model"]["conditioning"]["configs"] if part["type"] == "t5")
    length, width = int(words["config"]["max_length"]), int(bare["model"]["conditioning"]["cond_dim"])
    words.update(type="number", config={"min_val": 0, "max_val": 1})
    torch.manual_seed(0)
    with torch.device(sizes.device):  # a billion random numbers are made there in no time
        model = build_bare_model(localize_config(bare, TINY_BASE), TINY_BASE)
        model.conditioner.conditioners[words["id"]] = _make_random_words(length, width, sizes.text_layers, sizes.device)
    model.eval().requires_grad_(False)
    speed_up_snakes(model.pretransform)
    move_to_device(model, sizes.device, "fp32")
    return StableAudio(model, dict(config))


def _make_random_words(length: int, width: int, layers: int, device: str) -> Any:
    """A conditioner that runs a T5 with random weights on random tokens, as many as a prompt of stable-audio-tools has."""
    import torch
    from transformers import T5Config, T5EncoderModel

    shape = T5Config(d_model=width, d_ff=4 * width, d_kv=64, num_heads=width // 64, num_layers=layers)
    dtype = torch.float16 if device == "cuda" else torch.float32

    class RandomWords(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.__dict__["encoder"] = T5EncoderModel(shape).to(dtype).eval().requires_grad_(False)

        def forward(self, texts: list[str], device: Any) -> tuple[Any, Any]:
            tokens = torch.randint(shape.vocab_size, (len(texts), length), device=device)
            with torch.no_grad():
                embeddings = self.encoder.to(device)(input_ids=tokens).last_hidden_state
            return torch.nan_to_num(embeddings.float()), torch.ones(len(texts), length, dtype=torch.bool, device=device)

    return RandomWords()


@contextlib.contextmanager
def measure_peak(device: str, *modules: Any) -> Iterator[dict[str, float]]:
    """Fills what it gives with the bytes at the fullest moment of the block, when this ends."""
    import torch

    from audiotune.stable_audio.storage_count import StorageCount

    found: dict[str, float] = {}
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        yield found
        found |= {"peak_bytes": float(torch.cuda.max_memory_allocated())}
        found |= {"reserved_bytes": float(torch.cuda.max_memory_reserved())}
        return
    with StorageCount(device) as count:
        for module in modules:
            count.add_tensors(*module.parameters(), *module.buffers())
        yield found
    found["peak_bytes"] = float(count.peak_bytes)


def read_clock(device: str) -> float:
    """Seconds, when the device has done what it was told."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def describe_device(sizes: Sizes) -> dict[str, Any]:
    """What was measured on."""
    import torch

    if sizes.device != "cuda":
        return {"name": "CPU, rehearsal at reduced size", "torch": torch.__version__}
    card = torch.cuda.get_device_properties(0)
    return {"name": card.name, "memory_bytes": card.total_memory, "torch": torch.__version__, "cuda": torch.version.cuda}


PARTS: Mapping[str, Callable[[Sizes], Rows]] = {
    "plan": count_plan,
    **{name: lambda sizes, name=name: measure_our_training(sizes, name) for name in TRAININGS},  # type: ignore[misc]
    f"full, {UPSTREAM}": lambda sizes: measure_upstream_training(sizes, "full"),
    f"LoRA, {UPSTREAM}": lambda sizes: measure_upstream_training(sizes, "LoRA"),
    "generation": measure_generation,
    "decoding": measure_decoding,
}
