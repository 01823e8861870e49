"""Demos: sounds of the training model for the same words and seeds every time, beside the recordings that the words were said of.

The words are captions of held-out segments, which the training never sees.

python -m components.finetune.demos <store> <checkpoint key>      logs the demos of a checkpoint to its MLflow run
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from audiotune.domain import manifest
from audiotune.domain.checkpoint import load_checkpoint
from audiotune.domain.dataset import LatentRow
from audiotune.reporting.progress import print_progress
from audiotune.stable_audio.listening_parts import bring_listening_parts
from audiotune.stable_audio.model import StableAudio
from audiotune.store import tensor_files
from audiotune.store.port import Store
from components.finetune.demo_sounds import DemoRound, DemoSound
from components.finetune.settings import Settings

_SHORTEST_S = 0.25
_MOST_STEPS = 30  # of a demo where nobody says otherwise: with 50, demos took 2.2 % of a training of 500 steps


@dataclass
class DemoMaker:
    """Makes the demos of a run on the device of the training.

    Attributes:
        rows: of the latents manifest.
        on_round: called with each round, also with one that failed, and with the held-out segments.
        truth: the held-out segments, decoded in the first round that worked.
    """

    sa: StableAudio
    store: Store
    rows: Sequence[LatentRow]
    settings: Settings
    on_round: Callable[[DemoRound, Sequence[DemoSound]], None] = lambda made, truth: None
    rounds: list[DemoRound] = field(default_factory=list)
    truth: tuple[DemoSound, ...] = ()

    def make_round(self, step: int) -> DemoRound:
        """The demos after a step. An error becomes the round's `fault`: no training fails because of a demo."""
        began = time.monotonic()
        chosen = choose_demo_rows(self.rows, self.settings.demos)
        try:
            with bring_listening_parts(self.sa):
                sounds = generate_demos(self.sa, chosen, self.settings)
                self.truth = self.truth or decode_rows(self.sa, self.store, chosen)
            made = DemoRound(step, sounds, duration_s=time.monotonic() - began)
        except Exception as e:  # whatever it is: the weights are worth more than the demo
            made = DemoRound(step, fault=f"{type(e).__name__}: {e}", duration_s=time.monotonic() - began)
        self.rounds.append(made)
        self.on_round(made, self.truth)
        return made


def choose_demo_rows(rows: Sequence[LatentRow], count: int) -> list[LatentRow]:
    """Up to `count` rows with different captions: held-out ones, else any. The same for the same dataset, in any order of its rows."""
    held_out = [row for row in rows if row.split == "held_out"] or list(rows)
    by_caption = {row.captions[0]: row for row in sorted(held_out, key=lambda row: (row.segment, row.latents), reverse=True)}
    return sorted(by_caption.values(), key=lambda row: (row.segment, row.latents))[:count]


def generate_demos(sa: StableAudio, rows: Sequence[LatentRow], settings: Settings) -> tuple[DemoSound, ...]:
    """A sound for the caption of each row, as long as the row; its seed is the training's seed plus its place."""
    import torch

    from audiotune.stable_audio.sample import SamplingRequest, generate_sounds

    window_s = sa.window_frames / sa.sample_rate_hz
    requests = [
        SamplingRequest(
            row.captions[0],
            seconds=min(max(row.seconds, _SHORTEST_S), window_s),
            steps=settings.demo_steps or min(sa.defaults.steps, _MOST_STEPS),
            guidance=sa.defaults.guidance if settings.demo_guidance is None else settings.demo_guidance,
            seed=settings.seed + place,
        )
        for place, row in enumerate(rows)
    ]
    with torch.no_grad():
        sounds = generate_sounds(sa, requests)
    return tuple(DemoSound(i, r.prompt, r.seed, sound) for i, (r, sound) in enumerate(zip(requests, sounds)))


def decode_rows(sa: StableAudio, store: Store, rows: Sequence[LatentRow]) -> tuple[DemoSound, ...]:
    """The segments of the rows, decoded from their latents: the best that the base's autoencoder lets a training reach."""
    from audiotune.stable_audio.autoencoder import decode_latents

    found = []
    for place, row in enumerate(rows):
        latents = tensor_files.read_tensors(store.fetch(row.latents))["latents"].float().numpy()
        sound = decode_latents(sa, latents, round(row.seconds * sa.sample_rate_hz))
        found.append(DemoSound(place, row.captions[0], None, sound))
    return tuple(found)


def main(store_url: str, key: str) -> int:
    """Makes the demos of a checkpoint and logs them to its MLflow run. 1 if they failed."""
    from audiotune.stable_audio.base_models import resolve_base
    from audiotune.stable_audio.load import load_model
    from audiotune.store import open_store
    from components.finetune.lora_start import read_start
    from components.finetune.training_log import TrainingLog
    from components.finetune.training_model import TrainingModel
    from components.finetune.training_state import restore_training_state

    store = open_store(store_url)
    checkpoint = load_checkpoint(store, key)
    settings = Settings.model_validate(checkpoint.recipe)
    sa = load_model(resolve_base(store, checkpoint.base).folder, base=checkpoint.base)
    weights = checkpoint.model_copy(update={"weights": checkpoint.ema or checkpoint.weights})
    tuned = TrainingModel(sa, settings, read_start(store, settings))
    restore_training_state(store, weights, tuned.trainable_parameters())
    tuned.eval()
    rows = manifest.fetch_manifest(store, manifest.manifest_key("latents", checkpoint.latents), "latents", LatentRow).rows
    log = TrainingLog.open_run(settings, print_progress, {}, checkpoint.run)
    made = DemoMaker(sa, store, rows, settings, log.on_demos).make_round(checkpoint.step)
    log.end("FAILED" if made.fault else "FINISHED")
    return 1 if made.fault else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
