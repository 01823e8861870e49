"""The measuring itself, model by model: base first, then the tuned one; never both in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audiotune.dataset import DatasetRow, LatentRow, Split
from audiotune.errors import ManifestError
from audiotune.manifest import Manifest
from audiotune.progress import Progress
from audiotune.release import Evaluation, WeightsPointer
from audiotune.sound import Sound
from audiotune.stable_audio.load import StableAudio, load_model
from audiotune.stable_audio.mirror import resolve
from audiotune.stable_audio.released import open_weights
from audiotune.stable_audio.sample import Request
from audiotune.store.port import Store
from components.evaluate import judge, show
from components.evaluate.judge import Made, Values
from components.evaluate.loss import Losses, loss_by_level, mean
from components.evaluate.material import Heard, Maker, recorded, requests_for
from components.evaluate.settings import Settings

_PROBE_S = 2.0


@dataclass(frozen=True)
class Material:
    """Recordings of both splits, and the captions sounds are made of."""

    held_out: list[Heard]
    train: list[Heard]
    targets: list[Heard]
    train_targets: list[Heard]

    @property
    def reference(self) -> list[Heard]:
        """What KAD compares with: all held-out segments, or the targets where there are too few."""
        return self.held_out if len(self.held_out) > 1 else self.targets


def measure(
    settings: Settings,
    store: Store,
    progress: Progress,
    pointer: WeightsPointer,
    dataset: Manifest[DatasetRow],
    latents: Manifest[LatentRow],
) -> tuple[Evaluation, str]:
    """The evaluation and its page."""
    progress(0.01, "listening to the recordings")
    material = _material(settings, store, dataset, latents)
    losses: dict[str, Losses] = {}
    base, tuned = _makers(settings, store, pointer)
    before = _sounds(settings, base, material, progress, 0.05, "base model")
    losses |= _losses(settings, store, base, latents, "base model")
    base.close()
    after = _sounds(settings, tuned, material, progress, 0.45, "tuned model")
    losses |= _losses(settings, store, tuned, latents, "tuned model")
    values = _probe(settings, tuned)
    progress(0.88, "comparing")
    count = len(material.targets)
    made = Made(material.targets, before[:count], after[:count])
    trained = Made(material.train_targets, before[count:], after[count:])
    found = judge.copies(after, material.train)
    held_out = judge.copies(material.held_out, material.train)
    values |= judge.nearness(settings, material.reference, material.train, made)
    values |= judge.log_mel_distances(made) | judge.log_mel_distances(trained, "_train")
    values |= judge.sanity(after, material.reference) | judge.copying(settings, found, held_out) | _loss_values(losses)
    values |= {"held_out_segments": len(material.held_out), "training_segments": len(material.train), "sounds": count}
    reasons = judge.gate(settings, values)
    result = Evaluation(
        metrics=values, passed=not reasons, reasons=reasons, weights=pointer.weights_digest, adapter=pointer.adapter_digest
    )
    progress(0.95, "writing the report")
    return result, show.page(settings, result, made, found[:count], losses)


def _material(settings: Settings, store: Store, dataset: Manifest[DatasetRow], latents: Manifest[LatentRow]) -> Material:
    held_out, train = (recorded(store, dataset, latents, split, settings) for split in _SPLITS)
    targets = (held_out or train)[: settings.sounds]
    if len(held_out) < 2:
        targets = [*held_out, *train][: settings.sounds]
    if len(targets) < 2:
        raise ManifestError(f"{len(targets)} segments to compare with", where="the dataset", cure="bring at least two segments")
    return Material(held_out, train, targets, train[: settings.train_sounds])


_SPLITS: tuple[Split, Split] = ("held_out", "train")


def _makers(settings: Settings, store: Store, pointer: WeightsPointer) -> tuple[Maker, Maker]:
    def open_base() -> StableAudio:
        return load_model(resolve(store, pointer.base).folder, device=settings.device)

    def open_tuned() -> StableAudio:
        return open_weights(store, pointer, device=settings.device)

    tuned = f"{pointer.identity} {pointer.config}"
    return Maker(store, pointer.base_digest, open_base, settings), Maker(store, tuned, open_tuned, settings)


def _sounds(settings: Settings, maker: Maker, material: Material, progress: Progress, start: float, who: str) -> list[Heard]:
    """Sounds of held-out captions, then of trained ones."""
    requests = requests_for(settings, [*material.targets, *material.train_targets], settings.seed)

    def tell(done: int, total: int) -> None:
        progress(start + 0.35 * done / total, f"sounds of the {who}: {done} of {total}")

    return maker.made(requests, tell)


def _losses(settings: Settings, store: Store, maker: Maker, latents: Manifest[LatentRow], who: str) -> dict[str, Losses]:
    """Loss by noise level of both splits, named for the page."""
    if not settings.loss_rows:
        return {}
    names = {"held_out": "held-out", "train": "training"}
    return {f"{names[split]}, {who}": loss_by_level(maker.sa, store, _some(latents, split, settings)) for split in _SPLITS}


def _some(latents: Manifest[LatentRow], split: Split, settings: Settings) -> Sequence[LatentRow]:
    rows = sorted((row for row in latents.rows if row.split == split), key=lambda row: (row.segment, row.latents))
    return rows[: settings.loss_rows]


def _loss_values(losses: dict[str, Losses]) -> Values:
    short = {
        "held-out, base model": "loss_held_out_before", "training, base model": "loss_train_before",
        "held-out, tuned model": "loss_held_out_after", "training, tuned model": "loss_train_after",
    }  # fmt: skip
    values = {short[name]: mean(by_level) for name, by_level in losses.items() if by_level}
    for name, by_level in losses.items():
        if name.startswith("held-out, tuned"):
            values |= {f"loss_held_out_t_{level}": loss for level, loss in by_level.items()}
    if values.get("loss_train_after") and "loss_held_out_after" in values:
        values["loss_gap"] = values["loss_held_out_after"] / values["loss_train_after"] - 1
    return values


def _probe(settings: Settings, tuned: Maker) -> Values:
    def sounds(prompt: str) -> list[Sound]:
        seeds = range(settings.seed, settings.seed + settings.probe_seeds)
        requests = [Request(prompt, seconds=_PROBE_S, steps=settings.steps, guidance=settings.guidance, seed=s) for s in seeds]
        return [heard.sound for heard in tuned.made(requests, _quietly)]

    return judge.separation(sounds(settings.probe_low), sounds(settings.probe_high)) if settings.probe_seeds else {}


def _quietly(done: int, total: int) -> None: ...
