"""Does the gate stop models that learned nothing, and pass those that learned?

    make demo && python -m benchmarks.gate demo [--each 5]

Takes the dataset and the latents of a demo, and tunes the tiny base again with other seeds:

- `learned`: as the demo does it, 240 steps;
- `few steps`: six steps;
- `shuffled`: 240 steps, each segment with the captions of another;
- `random base`: the base's diffusion weights are drawn anew, then six steps.

Each is evaluated with the default settings of the gate, at other seeds of the sounds. Prints what passed, and the reasons.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from audiotune.domain.dataset import LatentRow
from audiotune.domain.manifest import Manifest, load_manifest
from audiotune.domain.release import Evaluation
from audiotune.registry.mlflow_server import run_mlflow_server
from audiotune.reporting.progress import ignore_progress
from audiotune.stable_audio.base_models import find_shipped_folder
from audiotune.store import FolderStore, Store
from components.encode.settings import Settings as EncodeSettings
from components.encode.step import run_step as encode
from components.evaluate.settings import Settings as EvaluateSettings
from components.evaluate.step import run_step as evaluate
from components.finetune.settings import Settings as FinetuneSettings
from components.finetune.step import run_step as finetune
from components.unwrap.settings import Settings as UnwrapSettings
from components.unwrap.step import run_step as unwrap

KINDS = ("learned", "few steps", "shuffled", "random base")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of a finished demo")
    parser.add_argument("--each", type=int, default=5, help="runs of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    args = parser.parse_args()
    dataset = next(args.demo.glob("runs/*/artifacts/*/annotate-merge/dataset"))
    with tempfile.TemporaryDirectory() as folder, run_mlflow_server(Path(folder) / "mlflow") as url:
        os.environ["MLFLOW_TRACKING_URI"] = url
        shutil.copytree(args.demo / "store", Path(folder) / "store", symlinks=True)
        trial = Trial(Path(folder), dataset)
        for kind in args.kinds:
            passed, reasons = 0, Counter[str]()
            for seed in range(args.each):
                result = trial.play(kind, seed)
                passed += not result
                reasons.update(words.split(":")[0] for words in result)
                print(f"{kind} {seed}: {'; '.join(result) or 'passed'}", flush=True)
            print(f"{kind}: {passed} of {args.each} passed; reasons {dict(reasons)}", flush=True)
    return 0


class Trial:
    """Trains and evaluates in one store."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        self._folder, self._store, self._dataset = folder, FolderStore(folder / "store"), dataset
        self._latents: dict[str, Path] = {}

    def play(self, kind: str, seed: int) -> tuple[str, ...]:
        """The gate's reasons against one model; none when it passed."""
        base = str(draw_base(self._folder, seed)) if kind == "random base" else "tiny"
        latents = self._encode(base)
        if kind == "shuffled":
            latents = shuffle_captions(self._store, latents, self._folder / f"shuffled-{seed}", seed)
        steps = 240 if kind in ("learned", "shuffled") else 6
        tune = FinetuneSettings(
            base=base, steps=steps, batch_size=16, learning_rate=2e-4, seed=100 + seed, validate_rows=0, demos=0
        )
        at = {
            name: self._folder / f"{kind}-{seed}-{name}" for name in ("checkpoint", "report", "metrics", "weights", "evaluation")
        }
        finetune(
            tune,
            self._store,
            ignore_progress,
            latents=latents,
            dataset=self._dataset,
            checkpoint=at["checkpoint"],
            report=at["report"],
            metrics=at["metrics"],
        )
        unwrap(
            UnwrapSettings(),
            self._store,
            ignore_progress,
            checkpoint=at["checkpoint"],
            weights=at["weights"],
            metrics=at["metrics"],
        )
        evaluate(
            EvaluateSettings(sounds=20, train_sounds=0, loss_rows=0, players=0, seed=5000 + 1000 * seed),
            self._store,
            ignore_progress,
            weights=at["weights"],
            latents=self._encode(base),
            dataset=self._dataset,
            evaluation=at["evaluation"],
            report=at["report"],
            metrics=at["metrics"],
        )
        result = Evaluation.model_validate_json(at["evaluation"].read_bytes())
        shown = ("kad_before", "kad_after", "kad_gain_lowest", "similarity_share", "word_gain_db_before", "word_gain_db_after")
        print("   ", {name: round(result.metrics[name], 3) for name in shown if name in result.metrics})
        return result.reasons

    def _encode(self, base: str) -> Path:
        if base not in self._latents:
            latents = self._folder / f"latents-{len(self._latents)}"
            encode(
                EncodeSettings(base=base),
                self._store,
                ignore_progress,
                dataset=self._dataset,
                latents=latents,
                metrics=self._folder / "metrics",
            )
            self._latents[base] = latents
        return self._latents[base]


def shuffle_captions(store: Store, latents: Path, target: Path, seed: int) -> Path:
    """The same latents, each with the captions of another segment."""
    rng, rows = np.random.default_rng(seed), load_manifest(latents, "latents", LatentRow)
    order = rng.permutation(len(rows.rows))
    mixed = [
        row.model_copy(update={"captions": rows.rows[i].captions, "embeddings": rows.rows[i].embeddings})
        for row, i in zip(rows.rows, order)
    ]
    manifest = Manifest("latents", mixed, rows.meta)
    manifest.save(store)
    return manifest.write(target)


def draw_base(folder: Path, seed: int) -> Path:
    """The tiny base with a diffusion model of random weights, as large as the trained ones."""
    import torch
    from safetensors.torch import load_file, save_file

    target = folder / f"random-{seed}"
    if not target.exists():
        shutil.copytree(find_shipped_folder() / "tiny", target)
        (target / "model.safetensors").chmod(0o644)
        tensors, generator = load_file(target / "model.safetensors"), torch.Generator().manual_seed(seed)
        save_file(dict(draw_weights(tensors, generator)), target / "model.safetensors")
    return target


def draw_weights(tensors: dict[str, Any], generator: Any) -> Iterator[tuple[str, Any]]:
    """The diffusion model's weights drawn anew, with the spread of the old ones; the autoencoder and the conditioner stay."""
    import torch

    for name, tensor in tensors.items():
        is_drawn = name.startswith("model.") and tensor.is_floating_point() and tensor.numel() > 1
        yield name, torch.randn(tensor.shape, generator=generator) * tensor.std() if is_drawn else tensor


if __name__ == "__main__":
    sys.exit(main())
