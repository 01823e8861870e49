"""Measures a tuned model beside its base on held-out captions, writes the report and the gate's word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from audiotune import manifest
from audiotune.dataset import DatasetRow, LatentRow
from audiotune.errors import ManifestError, ModelError
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
from components.evaluate.loss import loss_by_level
from components.evaluate.material import Recorded, made, made_once, recorded, requests_for
from components.evaluate.settings import Settings
from components.executor import Result


def run(
    settings: Settings,
    store: Store,
    progress: Progress,
    *,
    weights: Path,
    latents: Path,
    dataset: Path,
    evaluation: Path,
    report: Path,
    metrics: Path,
) -> Result:
    """Writes the evaluation and its report.

    Raises:
        ModelError: weights and dataset do not belong together.
        ManifestError: fewer than two segments to compare with.
    """
    pointer = _pointer(weights)
    rows = manifest.load(dataset, "datasets", DatasetRow)
    if pointer.dataset != rows.digest:
        raise ModelError(
            "these weights were not trained on this dataset", where=pointer.weights, cure="pass the dataset of their run"
        )
    latent_rows = manifest.load(latents, "latents", LatentRow)
    progress(0.02, "loading the tuned model")
    tuned = open_weights(store, pointer, device=_device(settings))
    longest_s = tuned.window_frames / tuned.sample_rate_hz
    train = recorded(store, rows, "train", longest_s)
    targets = _targets(settings, recorded(store, rows, "held_out", longest_s), train)
    requests = requests_for(settings, targets)
    after = made(tuned, requests, _telling(progress, 0.1, 0.4, "tuned model"))
    before = made_once(
        store, pointer.base_digest, lambda: _base(store, pointer, settings), requests, _telling(progress, 0.4, 0.7, "base model")
    )
    progress(0.75, "measuring")
    found = judge.likenesses(after, [request.prompt for request in requests], train)
    values = {**judge.nearness(before, after, targets), **judge.sanity(after), **judge.copying(found)}
    values |= _probe(settings, tuned)
    losses = _losses(settings, store, tuned, latent_rows)
    values |= {f"loss_{split}": sum(levels.values()) / len(levels) for split, levels in losses.items() if levels}
    result = _evaluation(settings, store, values, found, before, losses, report)
    part = evaluation.with_name(f".{evaluation.name}.part")
    part.write_text(result.model_dump_json(indent=1) + "\n")
    part.replace(evaluation)
    progress(1.0, "the gate passed" if result.passed else "the gate did not pass: " + "; ".join(result.reasons))
    return Result(parameters={"passed": result.passed}, metrics={**values, "passed": int(result.passed)})


def _pointer(path: Path) -> WeightsPointer:
    try:
        return WeightsPointer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as e:
        raise ManifestError("no weights pointer can be read", where=str(path), cure="run unwrap again") from e


def _device(settings: Settings) -> str:
    import torch

    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _base(store: Store, pointer: WeightsPointer, settings: Settings) -> StableAudio:
    return load_model(resolve(store, pointer.base).folder, device=_device(settings))


def _targets(settings: Settings, held_out: list[Recorded], train: list[Recorded]) -> list[Recorded]:
    """Held-out segments first; a small group fills up with training ones."""
    targets = [*held_out, *train][: settings.sounds]
    if len(targets) < 2:
        raise ManifestError(f"{len(targets)} segments to compare with", where="the dataset", cure="bring at least two segments")
    return targets


def _probe(settings: Settings, tuned: StableAudio) -> dict[str, float]:
    if not settings.probe_seeds:
        return {}
    seconds = min(2.0, tuned.window_frames / tuned.sample_rate_hz)

    def sounds(prompt: str) -> list[Sound]:
        seeds = range(settings.seed, settings.seed + settings.probe_seeds)
        requests = [Request(prompt, seconds=seconds, steps=settings.steps, guidance=settings.guidance, seed=s) for s in seeds]
        return made(tuned, requests, lambda done, total: None)

    return judge.separation(sounds(settings.probe_low), sounds(settings.probe_high))


def _losses(settings: Settings, store: Store, tuned: StableAudio, rows: Manifest[LatentRow]) -> dict[str, dict[float, float]]:
    def some(split: str) -> Sequence[LatentRow]:
        return sorted((row for row in rows.rows if row.split == split), key=lambda row: row.segment)[: settings.loss_rows]

    return {split: loss_by_level(tuned, store, some(split)) for split in ("train", "held_out")}


def _evaluation(
    settings: Settings,
    store: Store,
    values: dict[str, float],
    found: list[judge.Likeness],
    before: list[Sound],
    losses: dict[str, dict[float, float]],
    report: Path,
) -> Evaluation:
    reasons = judge.gate(settings, values)
    result = Evaluation(metrics=values, passed=not reasons, reasons=reasons)
    text = show.page(result, found, before, losses, settings.players)
    report.write_text(text)
    return result.model_copy(update={"report": store.put_blob(text.encode(), ".html")})


def _telling(progress: Progress, start: float, end: float, who: str) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        if done == total or done % 20 == 0:
            progress(start + (end - start) * done / total, f"sounds of the {who}: step {done} of {total}")

    return tell
