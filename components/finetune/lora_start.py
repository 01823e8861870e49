"""The adapter that a training begins with: read from the store, and its people asked for."""

from pathlib import Path

from pydantic import ValidationError

from audiotune.domain.dataset import DatasetRow, contributors_by_recording
from audiotune.domain.foreign_origin import ORIGIN, ForeignOrigin
from audiotune.domain.lineage import find_datasets_of_adapter, read_dataset
from audiotune.domain.manifest import Manifest
from audiotune.errors import LineageError, ModelError
from audiotune.stable_audio.adapters import read_adapter
from audiotune.stable_audio.weight_merging import LoraWeights
from audiotune.store import tensor_files
from audiotune.store.port import Store, digest_from_key
from components.finetune.settings import Settings


def read_start(store: Store, settings: Settings) -> LoraWeights | None:
    """The matrices of `lora_start`; None where training begins with the base alone. Raises ModelError: it is no adapter."""
    return read_adapter(store.fetch(settings.lora_start)) if settings.lora_start else None


def find_start_origin(store: Store, settings: Settings) -> ForeignOrigin | None:
    """Where `lora_start` came from, if from outside."""
    return read_origin(store.fetch(settings.lora_start)) if settings.lora_start else None


def require_start_lineage(store: Store, settings: Settings, dataset: Manifest[DatasetRow]) -> None:
    """Checks whose sounds are in `lora_start`.

    What the group trained on before is in the adapter, so those recordings must be in this dataset too: then everybody heard in the
    result is asked, and a withdrawal finds it.

    Raises:
        LineageError: nobody knows where it comes from, or the group trained it on recordings that this dataset does not have.
    """
    if not settings.lora_start:
        return
    earlier = find_datasets_of_adapter(store, digest_from_key(settings.lora_start) or "")
    if not earlier and find_start_origin(store, settings) is None:
        cure = "bring it in with `audiotune adapter import`, which asks by whom it is and under what licence"
        raise LineageError("the store does not know where this adapter comes from", where=settings.lora_start, cure=cure)
    heard = contributors_by_recording(dataset)
    for known in earlier:
        missing = contributors_by_recording(read_dataset(store, known)).keys() - heard.keys()
        if missing:
            what = f"this adapter was trained on {len(missing)} recordings that this dataset does not have"
            raise LineageError(what, where="lora_start", cure="train on a dataset that has them, or begin with the base")


def read_origin(path: Path) -> ForeignOrigin | None:
    """The origin in an adapter's file; None for one of the group. Raises ModelError: it cannot be read."""
    text = tensor_files.read_metadata(path).get(ORIGIN)
    try:
        return ForeignOrigin.model_validate_json(text) if text else None
    except ValidationError as e:
        what = f"the adapter's origin cannot be read: {e.errors()[0]['msg']}"
        raise ModelError(what, where=str(path), cure="import it again") from e
