"""Demos: sounds generated from held-out captions, after the last step or in a separate process.

python -m components.finetune.demos <store> <checkpoint key>      logs the demos of a checkpoint to its MLflow run
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from audiotune.audio import figures
from audiotune.audio.sound import Sound
from audiotune.domain import manifest
from audiotune.domain.checkpoint import load_checkpoint
from audiotune.domain.dataset import LatentRow
from audiotune.stable_audio.model import StableAudio
from components.finetune.settings import Settings


@dataclass(frozen=True)
class DemoSound:
    """A sound generated from a caption."""

    prompt: str
    seed: int
    sound: Sound


def make_demos(sa: StableAudio, rows: Sequence[LatentRow], settings: Settings) -> list[DemoSound]:
    """Generates sounds for distinct captions of the rows, each as long as its row."""
    from audiotune.stable_audio.sample import SamplingRequest, generate_sounds

    captions = {row.captions[0]: row.seconds for row in rows}
    window_s = sa.window_frames / sa.sample_rate_hz
    requests = [
        SamplingRequest(
            prompt,
            seconds=min(max(seconds, 0.25), window_s),
            steps=settings.demo_steps,
            guidance=settings.demo_guidance,
            seed=settings.seed + i,
        )
        for i, (prompt, seconds) in enumerate(list(captions.items())[: settings.demos])
    ]
    with torch.no_grad():
        sounds = generate_sounds(sa, requests)
    return [DemoSound(r.prompt, r.seed, sound) for r, sound in zip(requests, sounds)]


def write_demo_files(demos: Sequence[DemoSound], folder: Path) -> list[Path]:
    """A WAV and a spectrogram for each demo."""
    files = []
    for number, demo in enumerate(demos):
        stem = f"{number:02d}-" + "".join(c if c.isalnum() else "-" for c in demo.prompt.lower())[:60].strip("-")
        files.append(demo.sound.write(folder / f"{stem}.wav"))
        image = folder / f"{stem}.png"
        image.write_bytes(figures.draw_spectrogram(demo.sound))
        files.append(image)
    return files


def main(store_url: str, key: str) -> int:
    """Generates the demos of a checkpoint and logs them to its MLflow run."""
    from audiotune.registry.runs import start_run
    from audiotune.stable_audio.base_models import resolve_base
    from audiotune.stable_audio.load import load_model
    from audiotune.store import open_store
    from components.finetune.training_model import TrainingModel
    from components.finetune.training_state import restore_training_state

    store = open_store(store_url)
    checkpoint = load_checkpoint(store, key)
    settings = Settings.model_validate(checkpoint.recipe)
    sa = load_model(resolve_base(store, checkpoint.base).folder)
    weights = checkpoint.model_copy(update={"weights": checkpoint.ema or checkpoint.weights})
    restore_training_state(store, weights, TrainingModel(sa, settings).trainable_parameters())
    rows = manifest.fetch_manifest(store, manifest.manifest_key("latents", checkpoint.latents), "latents", LatentRow).rows
    demos = make_demos(sa, [row for row in rows if row.split == "held_out"] or rows, settings)
    run = start_run(settings.experiment, "demos", {}, run_id=checkpoint.run or None)
    with tempfile.TemporaryDirectory() as folder:
        for path in write_demo_files(demos, Path(folder)):
            run.log_file(path, f"demos/step-{checkpoint.step}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
