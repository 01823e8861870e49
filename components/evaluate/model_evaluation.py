"""Measures the base model, then the tuned one; never both are in memory."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from audiotune.audio.sound import Sound
from audiotune.domain.dataset import DatasetRow, LatentRow, Split
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, WeightsPointer
from audiotune.errors import ManifestError
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_models import resolve_base
from audiotune.stable_audio.generation_defaults import read_generation_defaults
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.row_losses import Losses, measure_loss_by_level
from audiotune.stable_audio.threads import describe_threads
from audiotune.store.port import Store
from components.evaluate import checkpoint_choice, metrics, report
from components.evaluate.confidence import compare_words
from components.evaluate.gate import find_gate_failures
from components.evaluate.measured_sounds import (
    CachedSoundGenerator,
    MeasuredSound,
    build_request,
    build_requests,
    choose_sampling,
    load_recorded_segments,
)
from components.evaluate.metrics import MetricValues, SoundComparison, TrainingMatch
from components.evaluate.pitch import measure_asked_pitches
from components.evaluate.settings import Settings

_PROBE_S = 2.0
_SPLITS: tuple[Split, Split] = ("held_out", "train")


@dataclass(frozen=True)
class EvaluationSegments:
    """Recordings of both splits, and the segments whose captions are the prompts."""

    held_out: list[MeasuredSound]
    train: list[MeasuredSound]
    targets: list[MeasuredSound]
    train_targets: list[MeasuredSound]

    @property
    def reference(self) -> list[MeasuredSound]:
        """The reference of KAD: all held-out segments, or the targets if there are too few."""
        return self.held_out if len(self.held_out) > 1 else self.targets


@dataclass(frozen=True)
class MeasuredModel:
    """A tuned model beside its base. `matches` are those of its sounds for held-out captions."""

    pointer: WeightsPointer
    evaluation: Evaluation
    made: SoundComparison
    matches: list[TrainingMatch]
    losses: dict[str, Losses]


def evaluate_model(
    settings: Settings,
    store: Store,
    progress: ProgressCallback,
    pointer: WeightsPointer,
    dataset: Manifest[DatasetRow],
    latents: Manifest[LatentRow],
) -> tuple[Evaluation, str]:
    """The evaluation and its report page; of an earlier checkpoint of the run if that is better (`Evaluation.chosen`)."""
    progress(0.01, "listening to the recordings")
    settings = choose_sampling(settings, read_generation_defaults(json.loads(store.get(pointer.config)), pointer.base))
    material = _select_segments(settings, store, dataset, latents)

    def open_base() -> StableAudio:
        return load_model(resolve_base(store, pointer.base).folder, device=settings.device, base=pointer.base)

    base = CachedSoundGenerator(store, pointer.base_digest, open_base, settings)
    before = _generate_sounds(settings, base, material, progress, 0.05, "base model")
    base_losses = _measure_losses(settings, store, base, latents, "base model")
    base.close()

    def measure(tuned: WeightsPointer) -> MeasuredModel:
        return _measure_tuned(settings, store, progress, tuned, latents, material, before, base_losses)

    best = measure(pointer)
    if pointer.earlier and settings.screening_sounds:
        best = _choose_checkpoint(settings, store, progress, material, best, measure)
    progress(0.95, "writing the report")
    return best.evaluation, report.render_report(settings, best.evaluation, best.made, best.matches, best.losses)


def _choose_checkpoint(
    settings: Settings,
    store: Store,
    progress: ProgressCallback,
    material: EvaluationSegments,
    last: MeasuredModel,
    measure: Callable[[WeightsPointer], MeasuredModel],
) -> MeasuredModel:
    """The last checkpoint or an earlier one; its evaluation says which were judged and why it was chosen."""
    screened = checkpoint_choice.screen_checkpoints(
        settings, store, progress, last.pointer, material.targets, material.reference, material.train
    )
    key = checkpoint_choice.find_best_earlier(settings, screened)
    if key is None:
        return last
    progress(0.45, f"evaluating step {screened[key].step} beside the last")
    earlier = measure(checkpoint_choice.store_candidate(store, last.pointer, key))
    is_better = checkpoint_choice.is_earlier_better(settings, earlier.evaluation, last.evaluation)
    chosen, other = (earlier, last) if is_better else (last, earlier)
    judged = [one.model_copy(update={"chosen": one.step == chosen.pointer.step}) for one in screened.values()]
    words = checkpoint_choice.describe_choice(
        judged, chosen.pointer.step, other.pointer.step, chosen.evaluation, other.evaluation
    )
    facts = {"checkpoints": tuple(judged), "choice": words, "chosen": earlier.pointer if is_better else None}
    return replace(chosen, evaluation=chosen.evaluation.model_copy(update=facts))


def _measure_tuned(
    settings: Settings,
    store: Store,
    progress: ProgressCallback,
    pointer: WeightsPointer,
    latents: Manifest[LatentRow],
    material: EvaluationSegments,
    before: list[MeasuredSound],
    base_losses: dict[str, Losses],
) -> MeasuredModel:
    tuned = checkpoint_choice.open_generator(settings, store, pointer)
    after = _generate_sounds(settings, tuned, material, progress, 0.45, "tuned model")
    losses = base_losses | _measure_losses(settings, store, tuned, latents, "tuned model")
    values = _probe_prompts(settings, tuned)
    tuned.close()
    progress(0.88, "comparing")
    count = len(material.targets)
    made = SoundComparison(material.targets, before[:count], after[:count])
    trained = SoundComparison(material.train_targets, before[count:], after[count:])
    matches = metrics.find_training_matches(after, material.train)
    held_out = metrics.find_training_matches(material.held_out, material.train)
    values |= metrics.compute_kad(settings, material.reference, material.train, made)
    values |= metrics.measure_change(made) | measure_asked_pitches(made.before, made.after)
    values |= compare_words(made.before, made.after, made.targets)
    values |= metrics.compute_log_mel_distances(made) | metrics.compute_log_mel_distances(trained, "_train")
    values |= (
        metrics.measure_sound_faults(after, material.reference)
        | metrics.measure_copying(settings, matches, held_out)
        | _summarise_losses(losses)
    )
    values |= {"held_out_segments": len(material.held_out), "training_segments": len(material.train), "sounds": count}
    reasons = find_gate_failures(settings, values)
    result = Evaluation(
        metrics=values, passed=not reasons, reasons=reasons, weights=pointer.weights_digest, adapter=pointer.adapter_digest
    )
    return MeasuredModel(pointer, result, made, matches[:count], losses)


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


def _generate_sounds(
    settings: Settings,
    generator: CachedSoundGenerator,
    material: EvaluationSegments,
    progress: ProgressCallback,
    start: float,
    name: str,
) -> list[MeasuredSound]:
    """Sounds for held-out captions, then for training captions."""
    requests = build_requests(settings, [*material.targets, *material.train_targets], settings.seed)

    def report_progress(done: int, total: int) -> None:
        computed = f", on {describe_threads(generator.threads)}" if generator.threads else ""
        progress(start + 0.35 * done / total, f"sounds of the {name}: {done} of {total}{computed}")

    return generator.generate_sounds(requests, report_progress)


def _measure_losses(
    settings: Settings, store: Store, generator: CachedSoundGenerator, latents: Manifest[LatentRow], name: str
) -> dict[str, Losses]:
    """Loss by noise level of both splits, with labels for the page."""
    if not settings.loss_rows:
        return {}
    names = {"held_out": "held-out", "train": "training"}
    return {
        f"{names[split]}, {name}": measure_loss_by_level(generator.stable_audio, store, _select_rows(latents, split, settings))
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
    values = {short[name]: sum(by_level.values()) / len(by_level) for name, by_level in losses.items() if by_level}
    values |= {f"loss_held_out_t_{level}": loss for level, loss in losses.get("held-out, tuned model", {}).items()}
    if values.get("loss_train_after") and "loss_held_out_after" in values:
        values["loss_gap"] = values["loss_held_out_after"] / values["loss_train_after"] - 1
    return values


def _probe_prompts(settings: Settings, tuned: CachedSoundGenerator) -> MetricValues:
    if not settings.probe_seeds:
        return {}

    def sounds(prompt: str) -> list[Sound]:
        seeds = range(settings.seed, settings.seed + settings.probe_seeds)
        requests = [build_request(settings, prompt, _PROBE_S, seed) for seed in seeds]
        return [heard.sound for heard in tuned.generate_sounds(requests)]

    return metrics.measure_prompt_separation(sounds(settings.probe_low), sounds(settings.probe_high))
