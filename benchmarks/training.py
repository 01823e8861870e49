"""Our training beside stable-audio-tools' own training wrapper: same model, same weights, same sounds, same batch.

    python -m benchmarks.training [--base tiny] [--batch 16] [--steps 4] [--sounds folder] [--work shipped|latents|lora]
                                  [--encode 0] [--learn 0] [--run 0]

    shipped   upstream gets what its loader would give it: sounds padded to the model's window, and encodes them in every step
    latents   both get the same latents of whole windows, so that both do the same work; both keep a running mean
    lora      as `latents`, with LoRA of rank 16: peft's in ours, stable-audio-tools' own in the other

Upstream's trainer is Lightning's, its optimizer AdamW. Times are CPU seconds of one thread, so other work on the machine counts little;
steps alternate. `--learn n` trains n steps on the sounds and prints the loss. `--run n` trains n steps with the step's own defaults, and
prints how long the steps stood still for checkpoints and demos.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SOUNDS = Path(os.environ.get("AUDIOTUNE_REAL_SOUNDS", "../shared/data"))
SUFFIXES = (".wav", ".flac", ".aiff", ".aif", ".ogg", ".mp3")


def some_sounds(folder: Path, count: int, longest_s: float) -> list[tuple[str, Any]]:
    """Up to `count` sounds of a folder with their file names as captions, cut to `longest_s`; a simulated jam without a folder."""
    from audiotune.audio.sound import read_sound

    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    random = np.random.default_rng(0)
    chosen = [files[i] for i in random.permutation(len(files))[:count]]
    found = []
    for path in chosen:
        sound = read_sound(path)
        found.append((path.stem.replace("_", " "), sound.cut(0, round(longest_s * sound.sample_rate_hz))))
    if not found:
        from tests.fakes.jam import play_jam

        sound, events = play_jam(2, 0)
        rate_hz = sound.sample_rate_hz
        bounds = [(event.caption, round(event.start_s * rate_hz), round(event.end_s * rate_hz)) for event in events]
        found = [(caption, sound.cut(start, end)) for caption, start, end in bounds][:count]
    return found


class UpstreamTraining:
    """stable-audio-tools' wrapper in Lightning's trainer.

    Args:
        latents: float32 [batch, channels, frames] in place of sounds; None encodes the sounds in every step.
    """

    def __init__(self, sa: Any, sounds: Sequence[tuple[str, Any]], latents: Any = None, *, lora: bool = False) -> None:
        import torch

        from tests.fakes.upstream_training import import_upstream_training

        self.sa = sa
        for part in (sa.model.model, sa.model.conditioner):  # loaded frozen, for listening; the autoencoder stays so upstream
            part.requires_grad_(True)
        adamw = {"type": "AdamW", "config": {"lr": 1e-4, "betas": [0.9, 0.999], "weight_decay": 1e-3}}
        self.wrapper = import_upstream_training().DiffusionCondTrainingWrapper(
            sa.model,
            optimizer_configs={"diffusion": {"optimizer": adamw}},
            pre_encoded=latents is not None,
            lora_config={"rank": 16, "alpha": 16, "include": [".layers."]} if lora else None,
        )
        window = sa.window_frames
        audio, facts = np.zeros((len(sounds), sa.channels, window), np.float32), []
        for i, (prompt, sound) in enumerate(sounds):
            data = sound.to_channels(sa.channels).resample(sa.sample_rate_hz).data[:, :window]
            audio[i, :, : data.shape[1]] = data
            mask = torch.arange(window) < data.shape[1]
            seconds = data.shape[1] / sa.sample_rate_hz
            facts.append({"prompt": prompt, "seconds_start": 0, "seconds_total": seconds, "padding_mask": [mask]})
        self.batch = (torch.from_numpy(audio) if latents is None else latents, facts)

    def times(
        self, steps: int, meanwhile: Callable[[int], None], clock: Callable[[], float] = time.process_time, **options: Any
    ) -> list[float]:
        """Seconds of each step, the first left out; of the CPU, unless `clock` counts others.

        Args:
            meanwhile: called with the number of each step, between two of them.
            options: of Lightning's trainer, which trains on the CPU where they say nothing else.
        """
        import pytorch_lightning as pl

        watch = _watch(pl, meanwhile, clock)
        trainer = pl.Trainer(
            **{"accelerator": "cpu", **options},
            max_steps=steps + 1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[watch],
        )
        self.sa.model.train()
        trainer.fit(self.wrapper, RepeatedBatch(self.batch, steps + 1))
        return watch.times[1:]


class RepeatedBatch:
    """A loader that gives the same batch a number of times (a plain list would be taken for several loaders)."""

    def __init__(self, batch: Any, times: int) -> None:
        self.batch, self.times = batch, times

    def __iter__(self) -> Iterator[Any]:
        return iter([self.batch] * self.times)

    def __len__(self) -> int:
        return self.times


def _watch(pl: Any, meanwhile: Callable[[int], None], clock: Callable[[], float]) -> Any:
    class Watch(pl.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_batch_start(self, *args: Any) -> None:
            self.began = clock()

        def on_train_batch_end(self, *args: Any) -> None:
            self.times.append(clock() - self.began)
            meanwhile(len(self.times) - 1)

    return Watch()


class OurTraining:
    """The trainer of components/finetune on latents encoded once. `whole`: every sound fills the window, by repeating itself."""

    def __init__(self, base: Path, sounds: Sequence[tuple[str, Any]], store: Any, *, whole: bool = False, **knobs: Any) -> None:
        from audiotune.stable_audio.load import load_model
        from components.finetune.compute_backends import SingleCpuBackend
        from components.finetune.demos import DemoMaker
        from components.finetune.latent_dataset import LatentDataset
        from components.finetune.settings import Settings
        from components.finetune.trainer import Trainer
        from components.finetune.training_log import TrainingLog, UntrackedRun
        from components.finetune.training_model import TrainingModel
        from components.finetune.training_state import CheckpointWriter

        sa = load_model(base)
        began = time.process_time()
        rows = list(_rows(sa, sounds, store, whole=whole))
        self.encode_s = time.process_time() - began
        settings = Settings(base=str(base), experiment="", **knobs)
        tuned = TrainingModel(sa, settings)
        train = [row for row in rows if row.split == "train"] if len(rows) > settings.batch_size else rows
        held_out = [row for row in rows if row.split == "held_out"]
        digests = dict.fromkeys(("run_key", "base_digest", "dataset", "latents"), "0" * 64)
        log = TrainingLog(settings, lambda share, words: print("   ", words, flush=True), UntrackedRun())
        cached = not tuned.learns_words
        self.trainer = Trainer(
            settings,
            SingleCpuBackend(settings),
            tuned,
            LatentDataset(train, store, cached_words=cached),
            LatentDataset(held_out, store, cached_words=cached) if held_out else None,
            CheckpointWriter(store, {"kind": settings.mode, "base": "", **digests}, 2),
            log,
            _watch_nobody(store),
            make_demos=DemoMaker(sa, store, rows, settings, log.on_demos).make_round if settings.demos else None,
        )

    @property
    def latents(self) -> Any:
        """What an upstream batch of the same sounds is: float32 [batch, channels, frames]."""
        import torch

        rows = self.trainer.train.rows
        scale = float(getattr(self.trainer.model.wrapper.pretransform, "scale", 1.0))  # upstream divides what it is given
        return torch.stack([self.trainer.train._read_latents(row) for row in rows]) * scale

    def measure_step(self, step: int) -> float:
        """CPU seconds of a step."""
        began = time.process_time()
        self.trainer._train_step(step)
        return time.process_time() - began


def _watch_nobody(store: Any) -> Any:
    """The sounds of a benchmark are nobody's."""
    from components.finetune.permission_watch import PermissionWatch

    class FreeSounds(PermissionWatch):
        def ask(self) -> bool:
            return False

    return FreeSounds(store, {}, every_s=0)


def _rows(sa: Any, sounds: Sequence[tuple[str, Any]], store: Any, *, whole: bool = False) -> Iterator[Any]:
    import torch

    from audiotune.domain.dataset import LatentRow
    from audiotune.stable_audio import text_embeddings
    from audiotune.stable_audio.autoencoder import encode_sound
    from audiotune.store import tensor_files

    embeddings = text_embeddings.store_embeddings(store, sa, [prompt for prompt, _ in sounds])
    for i, (prompt, sound) in enumerate(sounds):
        fitted = _repeat_to_window(sa, sound) if whole else sound
        latents = torch.from_numpy(encode_sound(sa, fitted))
        key = tensor_files.store_tensors(store, {"latents": tensor_files.wrap_tensor(latents)})
        digest = f"{i:064d}"
        yield LatentRow(
            segment=digest,
            recording=digest,
            split="held_out" if i % 5 == 4 else "train",
            latents=key,
            latent_frames=latents.shape[1],
            seconds=fitted.duration_s,
            captions=(prompt,),
            embeddings=(embeddings[i],),
        )


def _repeat_to_window(sa: Any, sound: Any) -> Any:
    from audiotune.audio.sound import Sound

    fitted = sound.to_channels(sa.channels).resample(sa.sample_rate_hz)
    times = -(-sa.window_frames // max(1, fitted.frames))
    return Sound(np.tile(fitted.data, (1, times))[:, : sa.window_frames], sa.sample_rate_hz)


def main(argv: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    import torch

    torch.set_num_threads(1)
    from audiotune.stable_audio.base_models import resolve_base
    from audiotune.stable_audio.load import load_model
    from audiotune.store import FolderStore

    with tempfile.TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))
        base = resolve_base(store, args.base).folder
        sa = load_model(base)
        longest_s = sa.window_frames / sa.sample_rate_hz
        sounds = some_sounds(args.sounds, args.batch, longest_s)
        lengths = [min(sound.duration_s, longest_s) for _, sound in sounds]
        print(f"{args.base}: batch of {len(sounds)}, window {longest_s:.2f} s, sounds of {np.mean(lengths):.2f} s on average")
        for work in args.work if args.steps else ():
            compare(load_model(base), base, sounds, store, work, args.steps)
        if args.encode:
            compare_encoding(base, args.encode)
        if args.learn:
            learn(base, some_sounds(args.sounds, args.rows, longest_s), store, args)
        if args.run:
            run_defaults(base, some_sounds(args.sounds, args.rows, longest_s), store, args.run, args.batch)


def compare(sa: Any, base: Path, sounds: Sequence[tuple[str, Any]], store: Any, work: str, steps: int) -> float:
    """Prints CPU seconds a step and their ratio, which it returns."""
    knobs = {"batch_size": len(sounds), "warmup_steps": 0, "learning_rate": 1e-4, "demos": 0}
    knobs |= {"mode": "lora"} if work == "lora" else {"ema_decay": 0.9999}
    ours = OurTraining(base, sounds, store, whole=work != "shipped", **knobs)
    theirs = UpstreamTraining(sa, sounds, None if work == "shipped" else ours.latents, lora=work == "lora")
    our: list[float] = []
    upstream = theirs.times(steps, lambda step: our.append(ours.measure_step(step)))
    a, b = float(np.median(upstream)), float(np.median(our[1:]))
    load = os.getloadavg()[0]
    print(f"{work:8} upstream {a:7.3f}, ours {b:7.3f} CPU s a step: {a / b:.2f} times as fast (load {load:.1f})", end="")
    print(f"; encoding once cost {ours.encode_s:.2f} s for all" if work == "shipped" else "", flush=True)
    return a / b


def compare_encoding(base: Path, seconds: float) -> float:
    """Prints CPU seconds to encode a sound with upstream's activations and with ours, the largest difference, and the ratio."""
    from audiotune.audio.sound import Sound
    from audiotune.stable_audio.autoencoder import encode_sound
    from audiotune.stable_audio.load import load_model

    sa = load_model(base)
    random = np.random.default_rng(0)
    frames = round(min(seconds, sa.window_frames / sa.sample_rate_hz) * sa.sample_rate_hz)
    sound = Sound(random.normal(0, 0.1, (sa.channels, frames)).astype(np.float32), sa.sample_rate_hz)
    snakes = [part for part in sa.model.pretransform.modules() if type(part).__name__ == "SnakeBeta"]
    ours = {part: vars(part)["forward"] for part in snakes}
    took: dict[str, list[float]] = {"upstream": [], "ours": []}
    made = {}
    for turn in range(6):
        whose = ("upstream", "ours")[turn % 2]
        for part in snakes:
            vars(part).pop("forward", None) if whose == "upstream" else vars(part).update(forward=ours[part])
        began = time.process_time()
        made[whose] = encode_sound(sa, sound)
        took[whose].append(time.process_time() - began)
    a, b = (float(np.median(took[whose])) for whose in ("upstream", "ours"))
    apart = float(np.abs(made["upstream"] - made["ours"]).max(initial=0.0))
    print(f"encode   upstream {a:7.3f}, ours {b:7.3f} CPU s for {sound.duration_s:.1f} s: {a / b:.2f} times as fast, ", end="")
    print(f"at most {apart:.1e} apart (load {os.getloadavg()[0]:.1f})", flush=True)
    return a / b


def learn(base: Path, sounds: Sequence[tuple[str, Any]], store: Any, args: argparse.Namespace) -> None:
    """Trains and prints the losses."""
    knobs = {"steps": args.learn, "batch_size": args.batch, "checkpoint_every": max(1, args.learn // 3), "learning_rate": 2e-4}
    ours = OurTraining(base, sounds, store, ema_decay=0.9999, demos=0, **knobs)
    print(f"learning from {len(sounds)} sounds:")
    ours.trainer.run(None)


def run_defaults(base: Path, sounds: Sequence[tuple[str, Any]], store: Any, steps: int, batch: int) -> float:
    """Trains with the defaults; prints and returns the share of the time in which the steps stood still."""
    ours = OurTraining(base, sounds, store, steps=steps, batch_size=batch)
    began = time.monotonic()
    ours.trainer.run(None)
    took_s = time.monotonic() - began
    shares = {cause: seconds / took_s for cause, seconds in ours.trainer.beside_s.items()}
    print(f"{steps} steps in {took_s:.1f} s (load {os.getloadavg()[0]:.1f}):", {k: f"{v:.2%}" for k, v in shares.items()})
    return shares.get("checkpoint", 0.0) + shares.get("demos", 0.0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    works = ("shipped", "latents", "lora")
    parser.add_argument("--work", nargs="*", choices=works, default=works)
    parser.add_argument("--encode", type=float, default=0, help="seconds of sound to encode with and without our activations")
    parser.add_argument("--run", type=int, default=0, help="steps to train with the defaults")
    parser.add_argument("--sounds", type=Path, default=SOUNDS)
    parser.add_argument("--learn", type=int, default=0, help="steps to train afterwards")
    parser.add_argument("--rows", type=int, default=96, help="sounds to learn from; every fifth is held out")
    return parser


if __name__ == "__main__":
    main()
