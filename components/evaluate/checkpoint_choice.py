"""Chooses among the checkpoints of a run: all are screened by a few sounds; the best of the earlier ones and the last are judged in full.

The frontier: checkpoints to which no other is nearer without copying more. On it the nearest is chosen that does not copy more than the
gate lets pass.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audiotune.audio import distance
from audiotune.domain.checkpoint import Checkpoint, load_checkpoint
from audiotune.domain.lineage import bind_weights
from audiotune.domain.release import Evaluation, JudgedCheckpoint, WeightsPointer
from audiotune.reporting.progress import ProgressCallback
from audiotune.stable_audio.base_models import BaseModelFolder, resolve_base
from audiotune.stable_audio.checkpoint_weights import store_checkpoint_weights
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.model import StableAudio
from audiotune.stable_audio.release_weights import open_weights
from audiotune.store import FolderStore
from audiotune.store.port import Store, digest_from_key
from components.evaluate.embeddings import embed_sound_sets
from components.evaluate.measured_sounds import CachedSoundGenerator, MeasuredSound, build_requests
from components.evaluate.metrics import find_training_matches, measure_copying
from components.evaluate.settings import Settings

_SAME_KAD = 1e-6


def screen_checkpoints(
    settings: Settings,
    store: Store,
    progress: ProgressCallback,
    pointer: WeightsPointer,
    targets: Sequence[MeasuredSound],
    reference: Sequence[MeasuredSound],
    train: Sequence[MeasuredSound],
) -> dict[str, JudgedCheckpoint]:
    """Checkpoint key ("" for the weights of the pointer) -> what few sounds of it say, by the same words and seeds for all.

    Sounds and weights of an earlier checkpoint are made in a temporary folder: the store gets what is chosen only.
    """
    requests = build_requests(settings, targets[: settings.screening_sounds], settings.seed)
    screened = {}
    for place, key in enumerate((*pointer.earlier, "")):
        progress(0.02 * place / (len(pointer.earlier) + 1), f"screening checkpoint {place + 1} of {len(pointer.earlier) + 1}")
        with tempfile.TemporaryDirectory(prefix="audiotune-checkpoint-") as folder:
            step, generator = _open_candidate(settings, store, FolderStore(Path(folder)), pointer, key)
            made = generator.generate_sounds(requests)
        screened[key] = _judge_sounds(settings, step, made, reference, train)
    return mark_frontier(screened)


def find_best_earlier(settings: Settings, screened: dict[str, JudgedCheckpoint]) -> str | None:
    """The key of the earlier checkpoint that is to be judged in full."""
    earlier = [key for key in screened if key]
    last = screened[""].copied_share
    return min(
        earlier, key=lambda key: (screened[key].copied_share > last + settings.gate_copies, screened[key].kad), default=None
    )


def store_candidate(store: Store, pointer: WeightsPointer, key: str) -> WeightsPointer:
    """Unwraps an earlier checkpoint into the store as the last one was unwrapped; the store knows then what it was trained on."""
    kept = load_checkpoint(store, key)
    weights, adapter = _unwrap_as_last(store, store, pointer, kept, resolve_base(store, pointer.base))
    known = {"weights": weights, "weights_digest": digest_from_key(weights) or "", "adapter": adapter}
    unwrapped = pointer.model_copy(update={**known, "step": kept.step, "ema": _takes_mean(pointer, kept), "earlier": ()})
    if unwrapped.dataset:
        bind_weights(store, unwrapped)
    return unwrapped


def mark_frontier(judged: dict[str, JudgedCheckpoint]) -> dict[str, JudgedCheckpoint]:
    """Marks those to which no other is nearer without copying more."""

    def is_beaten(one: JudgedCheckpoint) -> bool:
        return any(
            other.kad <= one.kad and other.copied_share <= one.copied_share and (other.kad, other.copied_share) != _pair(one)
            for other in judged.values()
        )

    return {key: one.model_copy(update={"on_frontier": not is_beaten(one)}) for key, one in judged.items()}


def is_earlier_better(settings: Settings, earlier: Evaluation, last: Evaluation) -> bool:
    """Whether the earlier checkpoint is the one to release: by the gate first, then by the frontier."""
    if earlier.passed != last.passed:
        return earlier.passed
    near, copied = _compare(earlier, last)
    if near < -_SAME_KAD:
        return copied <= 0 or not _copies_too_much(settings, earlier)
    return copied < 0 and _copies_too_much(settings, last)


def describe_choice(
    screened: Sequence[JudgedCheckpoint], chosen_step: int, other_step: int, chosen: Evaluation, other: Evaluation
) -> str:
    """Why one of two checkpoints was chosen, in words without a full stop."""
    steps = ", ".join(str(one.step) for one in screened)
    nearness = f"KAD {chosen.metrics['kad_after']:.3g}, at step {other_step} {other.metrics['kad_after']:.3g}"
    copies = f"copies {chosen.metrics.get('copied_share', 0.0):.0%}, there {other.metrics.get('copied_share', 0.0):.0%}"
    near, copied = _compare(chosen, other)
    if chosen.passed != other.passed:
        why = f"it passes the gate, and step {other_step} does not"
    elif near < -_SAME_KAD:
        why = "it is nearer to the recordings" + ("" if copied <= 0 else ", and copies no more than the gate lets pass")
    elif copied < 0:
        why = "it copies less"
    else:
        why = f"step {other_step}, the best of the others, is not nearer"
    return f"step {chosen_step} was chosen of the checkpoints {steps}: {why} ({nearness}; {copies})"


def _copies_too_much(settings: Settings, judged: Evaluation) -> bool:
    """Whether more is copied than held-out recordings, which cannot be copies, resemble the training, and the gate lets pass."""
    natural = judged.metrics.get("copied_share_of_held_out", 0.0)
    return judged.metrics.get("copied_share", 0.0) - natural > settings.gate_copies


def _compare(one: Evaluation, other: Evaluation) -> tuple[float, float]:
    """How much farther, and how much more copied, the first is."""
    names = ("kad_after", "copied_share")
    far, copied = (one.metrics.get(name, 0.0) - other.metrics.get(name, 0.0) for name in names)
    return far, copied


def _pair(one: JudgedCheckpoint) -> tuple[float, float]:
    return one.kad, one.copied_share


def _open_candidate(
    settings: Settings, store: Store, scratch: Store, pointer: WeightsPointer, key: str
) -> tuple[int, CachedSoundGenerator]:
    """Its step, and what makes its sounds. The last one's are kept in the store: the full evaluation takes them from there."""
    if not key:
        return pointer.step, open_generator(settings, store, pointer)
    kept, base = load_checkpoint(store, key), resolve_base(store, pointer.base)

    def open_model() -> StableAudio:
        weights, adapter = _unwrap_as_last(store, scratch, pointer, kept, base)
        beside = scratch.fetch(adapter) if adapter else None
        return load_model(base.folder, scratch.fetch(weights), adapter=beside, device=settings.device)

    return kept.step, CachedSoundGenerator(scratch, key, open_model, settings)


def _unwrap_as_last(
    store: Store, target: Store, pointer: WeightsPointer, kept: Checkpoint, base: BaseModelFolder
) -> tuple[str, str]:
    """Keys of a checkpoint's weights and adapter in `target`, unwrapped as the pointer's were."""
    return store_checkpoint_weights(store, target, kept, base, ema=_takes_mean(pointer, kept), keep=bool(pointer.adapter))


def _takes_mean(pointer: WeightsPointer, kept: Checkpoint) -> bool:
    return pointer.ema and bool(kept.ema)


def open_generator(settings: Settings, store: Store, pointer: WeightsPointer) -> CachedSoundGenerator:
    """Makes sounds with tuned weights, and keeps them in the store."""
    return CachedSoundGenerator(
        store,
        f"{pointer.identity} {pointer.config}",
        lambda: open_weights(store, pointer, device=settings.device),
        settings,
    )


def _judge_sounds(
    settings: Settings, step: int, made: list[MeasuredSound], reference: Sequence[MeasuredSound], train: Sequence[MeasuredSound]
) -> JudgedCheckpoint:
    held, sounds = embed_sound_sets(settings, reference, made)
    matches = find_training_matches(made, train)
    copying = measure_copying(settings, matches, [])
    return JudgedCheckpoint(
        step=step,
        kad=distance.compute_kad(held, sounds, settings.kernel),
        copied_share=copying.get("copied_share", 0.0),
        likeness=float(np.median([one.like for one in matches])) if matches else 0.0,
        sounds=len(made),
    )
