"""Measures the base model first, then the tuned one; never both in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audiotune.audio.sound import Sound
from audiotune.domain.dataset import DatasetRow, LatentRow, Split
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, WeightsPointer
from audiotune.errors import ManifestError
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_models import resolve_base
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.release_weights import open_weights
from audiotune.stable_audio.sample import SamplingRequest
from audiotune.stable_audio.threads import describe_threads
from audiotune.store.port import Store
from components.evaluate import metrics, report
from components.evaluate.gate import find_gate_failures
from components.evaluate.loss import Losses, average_loss, measure_loss_by_level
from components.evaluate.measured_sounds import CachedSoundGenerator, MeasuredSound, build_requests, load_recorded_segments
from components.evaluate.metrics import MetricValues, SoundComparison
from components.evaluate.settings import Settings

_PROBE_S = 2.0


@dataclass(frozen=True)
class EvaluationSegments:
    """Recordings of both splits, and the captions sounds are made of."""

    held_out: list[MeasuredSound]
    train: list[MeasuredSound]
    targets: list[MeasuredSound]
    train_targets: list[MeasuredSound]

    @property
    def reference(self) -> list[MeasuredSound]:
        """What KAD compares with: all held-out segments, or the targets where there are too few."""
        return self.held_out if len(self.held_out) > 1 else self.targets


def evaluate_model(
    settings: Settings,
    store: Store,
    progress: ProgressCallback,
    pointer: WeightsPointer,
    dataset: Manifest[DatasetRow],
    latents: Manifest[LatentRow],
) -> tuple[Evaluation, str]:
    """The evaluation and its page."""
    progress(0.01, "listening to the recordings")
    material = _select_segments(settings, store, dataset, latents)
    losses: dict[str, Losses] = {}
    base, tuned = _make_generators(settings, store, pointer)
    before = _generate_sounds(settings, base, material, progress, 0.05, "base model")
    losses |= _measure_losses(settings, store, base, latents, "base model")
    base.close()
    after = _generate_sounds(settings, tuned, material, progress, 0.45, "tuned model")
    losses |= _measure_losses(settings, store, tuned, latents, "tuned model")
    values = _probe_prompts(settings, tuned)
    progress(0.88, "comparing")
    count = len(material.targets)
    made = SoundComparison(material.targets, before[:count], after[:count])
    trained = SoundComparison(material.train_targets, before[count:], after[count:])
    found = metrics.find_training_matches(after, material.train)
    held_out = metrics.find_training_matches(material.held_out, material.train)
    values |= metrics.compute_kad(settings, material.reference, material.train, made)
    values |= metrics.compute_log_mel_distances(made) | metrics.compute_log_mel_distances(trained, "_train")
    values |= (
        metrics.measure_sound_faults(after, material.reference)
        | metrics.measure_copying(settings, found, held_out)
        | _summarise_losses(losses)
    )
    values |= {"held_out_segments": len(material.held_out), "training_segments": len(material.train), "sounds": count}
    reasons = find_gate_failures(settings, values)
    result = Evaluation(
        metrics=values, passed=not reasons, reasons=reasons, weights=pointer.weights_digest, adapter=pointer.adapter_digest
    )
    progress(0.95, "writing the report")
    return result, report.render_report(settings, result, made, found[:count], losses)


def _select_segments(
    settings: Settings, store: Store, dataset: Manifest[DatasetRow], latents: Manifest[LatentRow]
) -> EvaluationSegments:
    held_out, train = (load_recorded_segments(store, dataset, latents, split, settings) for split in _SPLITS)
    targets = (held_out or train)[: settings.sounds]
    if len(held_out) < 2:
        targets = [*held_out, *train][: settings.sounds]
    if len(targets) < 2:
        raise ManifestError(f"{len(targets)} segments to compare with", where="the dataset", cure="bring at least two segments")
    return EvaluationSegments(held_out, train, targets, train[: settings.train_sounds])


_SPLITS: tuple[Split, Split] = ("held_out", "train")


def _make_generators(
    settings: Settings, store: Store, pointer: WeightsPointer
) -> tuple[CachedSoundGenerator, CachedSoundGenerator]:
    def open_base() -> StableAudio:
        return load_model(resolve_base(store, pointer.base).folder, device=settings.device)

    def open_tuned() -> StableAudio:
        return open_weights(store, pointer, device=settings.device)

    tuned = f"{pointer.identity} {pointer.config}"
    return CachedSoundGenerator(store, pointer.base_digest, open_base, settings), CachedSoundGenerator(
        store, tuned, open_tuned, settings
    )


def _generate_sounds(
    settings: Settings,
    maker: CachedSoundGenerator,
    material: EvaluationSegments,
    progress: ProgressCallback,
    start: float,
    who: str,
) -> list[MeasuredSound]:
    """Sounds of held-out captions, then of trained ones."""
    requests = build_requests(settings, [*material.targets, *material.train_targets], settings.seed)

    def tell(done: int, total: int) -> None:
        computed = f", on {describe_threads(maker.threads)}" if maker.threads else ""
        progress(start + 0.35 * done / total, f"sounds of the {who}: {done} of {total}{computed}")

    return maker.generate_sounds(requests, tell)


def _measure_losses(
    settings: Settings, store: Store, maker: CachedSoundGenerator, latents: Manifest[LatentRow], who: str
) -> dict[str, Losses]:
    """Loss by noise level of both splits, named for the page."""
    if not settings.loss_rows:
        return {}
    names = {"held_out": "held-out", "train": "training"}
    return {
        f"{names[split]}, {who}": measure_loss_by_level(maker.stable_audio, store, _select_rows(latents, split, settings))
        for split in _SPLITS
    }


def _select_rows(latents: Manifest[LatentRow], split: Split, settings: Settings) -> Sequence[LatentRow]:
    rows = sorted((row for row in latents.rows if row.split == split), key=lambda row: (row.segment, row.latents))
    return rows[: settings.loss_rows]


def _summarise_losses(losses: dict[str, Losses]) -> MetricValues:
    short = {
        "held-out, base model": "loss_held_out_before",
        "training, base model": "loss_train_before",
        "held-out, tuned model": "loss_held_out_after",
        "training, tuned model": "loss_train_after",
    }
    values = {short[name]: average_loss(by_level) for name, by_level in losses.items() if by_level}
    for name, by_level in losses.items():
        if name.startswith("held-out, tuned"):
            values |= {f"loss_held_out_t_{level}": loss for level, loss in by_level.items()}
    if values.get("loss_train_after") and "loss_held_out_after" in values:
        values["loss_gap"] = values["loss_held_out_after"] / values["loss_train_after"] - 1
    return values


def _probe_prompts(settings: Settings, tuned: CachedSoundGenerator) -> MetricValues:
    def sounds(prompt: str) -> list[Sound]:
        seeds = range(settings.seed, settings.seed + settings.probe_seeds)
        requests = [
            SamplingRequest(prompt, seconds=_PROBE_S, steps=settings.steps, guidance=settings.guidance, seed=s) for s in seeds
        ]
        return [heard.sound for heard in tuned.generate_sounds(requests, _ignore_progress)]

    return (
        metrics.measure_prompt_separation(sounds(settings.probe_low), sounds(settings.probe_high)) if settings.probe_seeds else {}
    )


def _ignore_progress(done: int, total: int) -> None: ...
