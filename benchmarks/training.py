"""Our training step beside stable-audio-tools' own training wrapper: same model, same weights, same sounds, same batch.

    python -m benchmarks.training [--base tiny] [--batch 16] [--steps 4] [--sounds folder] [--learn 0]

Upstream gets what its loader would give it: sounds padded to the model's window, and encodes them in every step; its trainer is
Lightning's, its optimizer AdamW, its running mean on, as in its defaults. Ours gets latents that were encoded once, at true
lengths, also with a running mean. Times are CPU seconds of one thread, so other work on the machine does not count; the runs
alternate. `--learn n` then trains n steps on the sounds and prints the loss.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
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
    """stable-audio-tools' wrapper in Lightning's trainer; one call is one step."""

    def __init__(self, sa: Any, sounds: Sequence[tuple[str, Any]]) -> None:
        import torch

        from tests.fakes.upstream_training import import_upstream_training

        self.sa = sa
        for part in (sa.model.model, sa.model.conditioner):  # loaded frozen, for listening; the autoencoder stays so upstream
            part.requires_grad_(True)
        adamw = {"type": "AdamW", "config": {"lr": 1e-4, "betas": [0.9, 0.999], "weight_decay": 1e-3}}
        self.wrapper = import_upstream_training().DiffusionCondTrainingWrapper(
            sa.model, optimizer_configs={"diffusion": {"optimizer": adamw}}
        )
        window = sa.window_frames
        audio, facts = np.zeros((len(sounds), sa.channels, window), np.float32), []
        for i, (prompt, sound) in enumerate(sounds):
            data = sound.to_channels(sa.channels).resample(sa.sample_rate_hz).data[:, :window]
            audio[i, :, : data.shape[1]] = data
            mask = torch.arange(window) < data.shape[1]
            seconds = data.shape[1] / sa.sample_rate_hz
            facts.append({"prompt": prompt, "seconds_start": 0, "seconds_total": seconds, "padding_mask": [mask]})
        self.batch = (torch.from_numpy(audio), facts)

    def times(self, steps: int) -> list[float]:
        """CPU seconds of each step, the first left out."""
        import pytorch_lightning as pl

        watch = _watch(pl)
        trainer = pl.Trainer(
            accelerator="cpu",
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


def _watch(pl: Any) -> Any:
    class Watch(pl.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_batch_start(self, *args: Any) -> None:
            self.began = time.process_time()

        def on_train_batch_end(self, *args: Any) -> None:
            self.times.append(time.process_time() - self.began)

    return Watch()


class OurTraining:
    """The trainer of components/finetune on latents encoded once."""

    def __init__(self, base: Path, sounds: Sequence[tuple[str, Any]], store: Any, **knobs: Any) -> None:
        from audiotune.stable_audio.load import load_model
        from components.finetune.compute_backends import SingleCpuBackend
        from components.finetune.latent_dataset import LatentDataset
        from components.finetune.permission_watch import PermissionWatch
        from components.finetune.settings import Settings
        from components.finetune.trainer import Trainer
        from components.finetune.training_log import TrainingLog, UntrackedRun
        from components.finetune.training_model import TrainingModel
        from components.finetune.training_state import CheckpointWriter

        sa = load_model(base)
        began = time.process_time()
        rows = list(_rows(sa, sounds, store))
        self.encode_s = time.process_time() - began
        settings = Settings(base=str(base), ema_decay=0.9999, **knobs)
        tuned = TrainingModel(sa, settings)
        held_out = [row for i, row in enumerate(rows) if i % 5 == 4]
        material = LatentDataset(
            [row for i, row in enumerate(rows) if i % 5 != 4] if len(rows) > settings.batch_size else rows,
            store,
            cached_words=False,
        )
        digests = dict.fromkeys(("run_key", "base_digest", "dataset", "latents"), "0" * 64)
        keeper = CheckpointWriter(store, {"kind": settings.mode, "base": "", **digests}, 1)
        journal = TrainingLog(settings, lambda share, words: print("   ", words, flush=True), store.url, UntrackedRun())
        self.trainer = Trainer(
            settings,
            SingleCpuBackend(settings),
            tuned,
            material,
            LatentDataset(held_out, store, cached_words=False),
            keeper,
            journal,
            PermissionWatch(store, {}, every_s=0),
        )

    def times(self, steps: int) -> list[float]:
        found = []
        for step in range(steps + 1):
            began = time.process_time()
            self.trainer._train_step(step, None)
            found.append(time.process_time() - began)
        return found[1:]


def _rows(sa: Any, sounds: Sequence[tuple[str, Any]], store: Any) -> Iterator[Any]:
    import torch

    from audiotune.domain.dataset import LatentRow
    from audiotune.stable_audio.autoencoder import encode_sound
    from audiotune.store import tensor_files

    for i, (prompt, sound) in enumerate(sounds):
        latents = torch.from_numpy(encode_sound(sa, sound))
        key = tensor_files.store_tensors(store, {"latents": tensor_files.wrap_tensor(latents)})
        digest = f"{i:064d}"
        yield LatentRow(
            segment=digest,
            recording=digest,
            split="train",
            latents=key,
            latent_frames=latents.shape[1],
            seconds=sound.duration_s,
            captions=(prompt,),
        )


def main() -> None:
    args = _parser().parse_args()
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
        if args.steps:
            compare(sa, base, sounds, store, args)
        if args.learn:
            learn(base, some_sounds(args.sounds, args.rows, longest_s), store, args)


def compare(sa: Any, base: Path, sounds: Sequence[tuple[str, Any]], store: Any, args: argparse.Namespace) -> None:
    """Prints CPU seconds a step and their ratio."""
    theirs, ours = (
        UpstreamTraining(sa, sounds),
        OurTraining(base, sounds, store, batch_size=len(sounds), warmup_steps=0, learning_rate=1e-4),
    )
    our = ours.times(args.steps)
    print("ours, step by step: ", " ".join(f"{s:.3f}" for s in our), flush=True)
    upstream = theirs.times(args.steps)
    print("upstream, step by step: ", " ".join(f"{s:.3f}" for s in upstream), flush=True)
    a, b = float(np.median(upstream)), float(np.median(our))
    print(f"{'':28}{'CPU s a step':>14}")
    print(f"{'stable-audio-tools wrapper':28}{a:14.3f}")
    print(f"{'ours':28}{b:14.3f}     {a / b:.1f}x faster; encoding once cost {ours.encode_s:.2f} s for all")


def learn(base: Path, sounds: Sequence[tuple[str, Any]], store: Any, args: argparse.Namespace) -> None:
    """Trains and prints the losses."""
    knobs = {"steps": args.learn, "batch_size": args.batch, "checkpoint_every": max(1, args.learn // 3), "learning_rate": 2e-4}
    ours = OurTraining(base, sounds, store, **knobs)
    print(f"learning from {len(sounds)} sounds:")
    ours.trainer.run(None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--sounds", type=Path, default=SOUNDS)
    parser.add_argument("--learn", type=int, default=0, help="steps to train afterwards")
    parser.add_argument("--rows", type=int, default=96, help="sounds to learn from; every fifth is held out")
    return parser


if __name__ == "__main__":
    main()
