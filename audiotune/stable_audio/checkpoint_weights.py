"""The weights of one of our checkpoints, merged with its base and written into a store, tensor by tensor."""

from __future__ import annotations

from contextlib import ExitStack

from audiotune.domain.checkpoint import Checkpoint
from audiotune.stable_audio.adapters import describe_adapter
from audiotune.stable_audio.base_models import BaseModelFolder
from audiotune.stable_audio.weight_merging import LoraWeights, collect_adapter_tensors, merge_weights
from audiotune.store import tensor_files
from audiotune.store.port import Store


def store_checkpoint_weights(
    source: Store, target: Store, kept: Checkpoint, base: BaseModelFolder, *, ema: bool, keep: bool
) -> tuple[str, str]:
    """Store keys of the model's weights and of a separate adapter file, or empty.

    Args:
        source: has the checkpoint's tensors.
        target: gets the weights.
        ema: take the running mean of the weights.
        keep: keep an adapter beside the base's weights, in place of merging it.
    """
    with ExitStack() as stack:
        tuned = stack.enter_context(tensor_files.open_tensors(source.fetch(kept.ema if ema else kept.weights)))
        whole = stack.enter_context(tensor_files.open_tensors(base.weights_path))
        adapters = LoraWeights.from_tensors(tuned, kept.lora_scale)
        if not keep or not adapters.pairs:
            return tensor_files.store_tensors(target, merge_weights(whole, tuned, adapters)), ""
        described = describe_adapter(adapters.scale, kept.origin)
        adapter = tensor_files.store_tensors(target, collect_adapter_tensors(adapters, whole), described)
        return tensor_files.store_tensors(target, merge_weights(whole, tuned, None)), adapter
