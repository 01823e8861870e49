"""From a trainer's checkpoint to weights that stable-audio-tools, and the generation service, read.

Tensors go from file to file one at a time; of our checkpoints only the weights are fetched, of upstream's wrapped `.ckpt` only
the pages that hold the wanted tensors are read. Neither optimizer nor trainer state ever comes into memory.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

from audiotune import tensors
from audiotune.checkpoint import Checkpoint, load
from audiotune.errors import ModelError
from audiotune.progress import Progress
from audiotune.release import CheckpointPointer, WeightsPointer
from audiotune.stable_audio.mirror import Base, resolve, words_files
from audiotune.store.port import Store, digest_in
from components.executor import Result
from components.unwrap.merging import Adapters, adapter_of, whole_model
from components.unwrap.settings import Settings


def run(settings: Settings, store: Store, progress: Progress, *, checkpoint: Path, weights: Path, metrics: Path) -> Result:
    """Writes the weights pointer.

    Args:
        checkpoint: checkpoint pointer (JSON).
        weights: where the weights pointer goes.
        metrics: unused; the numbers are in the result.

    Raises:
        ModelError: the base is not the one the checkpoint was tuned from, or their tensors do not fit.
    """
    began = time.monotonic()
    pointer = CheckpointPointer.model_validate_json(checkpoint.read_bytes())
    kept = load(store, pointer.checkpoint)
    progress(0.1, f"finding the base model {kept.base}")
    base = resolve(store, kept.base)
    if base.digest != kept.base_digest:
        raise ModelError(
            f"{kept.base} is not the base this checkpoint was tuned from", where=kept.key, cure="bring the old base back"
        )
    ema = bool(kept.ema) if settings.ema is None else settings.ema
    if ema and not kept.ema:
        raise ModelError("the checkpoint has no running mean", where=kept.key, cure="leave ema unset, or train with ema_decay")
    progress(0.3, "writing the weights")
    made = _unwrapped(store, kept, base, ema=ema, keep=settings.lora == "keep")
    part = weights.with_name(f".{weights.name}.part")
    part.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    part.replace(weights)
    progress(1.0, f"weights of step {kept.step} are in the store")
    size = store.size(made.weights)
    return Result(
        metrics={"megabytes": round(size / 1e6, 3), "seconds": round(time.monotonic() - began, 2)},
        metadata={"weights": {"key": made.weights, "digest": made.weights_digest}},
    )


def _unwrapped(store: Store, kept: Checkpoint, base: Base, *, ema: bool, keep: bool) -> WeightsPointer:
    with ExitStack() as stack:
        tuned = stack.enter_context(tensors.opened(store.fetch(kept.ema if ema else kept.weights)))
        whole = stack.enter_context(tensors.opened(base.weights_path))
        scale = kept.lora["alpha"] / kept.lora["rank"] if kept.kind == "lora" else 0.0
        adapters = Adapters.among(tuned, scale)
        adapter = tensors.put(store, adapter_of(adapters), {"scale": str(scale)}) if keep and adapters.pairs else ""
        key = tensors.put(store, whole_model(whole, tuned, None if keep else adapters))
    return WeightsPointer(
        weights=key,
        weights_digest=digest_in(key) or "",
        config=store.put_blob(_config(base), ".json"),
        files={str(p.relative_to(base.folder)): store.put_blob(p, p.suffix.lower()) for p in words_files(base.folder)},
        adapter=adapter,
        step=kept.step,
        ema=ema,
        base=kept.base,
        base_digest=kept.base_digest,
        dataset=kept.dataset,
        run=kept.run,
        recipe=kept.recipe,
    )


def _config(base: Base) -> bytes:
    """The base's config: tuning changes numbers, not shapes."""
    return (json.dumps(base.config, indent=1) + "\n").encode()
