"""Dataset: the segments and captions of one training run, frozen and content-addressed, with all contributors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Digest
from audiotune.domain.segment import Segment

Split = Literal["train", "held_out"]


class Caption(FrozenModel):
    """The words a segment is trained with, merged from several members' annotations.

    Attributes:
        text: the main caption.
        variants: other true captions (free words, minority views); one is drawn per training step.
        tags: facet -> term id -> posterior probability that the term holds, in [0, 1].
        annotators: member ids whose annotations are in it.
    """

    text: str = Field(min_length=1)
    variants: tuple[str, ...] = ()
    tags: dict[str, dict[str, float]] = {}
    annotators: tuple[str, ...] = ()

    @property
    def all_texts(self) -> tuple[str, ...]:
        """The main caption and its variants, each once, main first."""
        return tuple(dict.fromkeys((self.text, *self.variants)))


class DatasetRow(FrozenModel):
    """A row of the dataset manifest: one captioned segment with its lineage."""

    segment: Segment
    caption: Caption
    split: Split
    contributors: tuple[str, ...] = Field(min_length=1)
    licence: str
    recording_name: str = ""


class LatentRow(FrozenModel):
    """A row of the latents manifest: one segment, encoded by the base model's autoencoder.

    Attributes:
        latents: store key of a .safetensors file; tensor `latents` float32 [latent_channels, latent_frames], without padding.
        seconds: duration of the sound in seconds.
        captions: the texts, main first; `embeddings[i]` is the store key of the conditioning of `captions[i]`.
    """

    segment: Digest
    recording: Digest
    split: Split
    latents: str
    latent_frames: int = Field(gt=0)
    seconds: float = Field(gt=0)
    captions: tuple[str, ...] = Field(min_length=1)
    embeddings: tuple[str, ...] = ()


def list_contributors(dataset: Manifest[DatasetRow]) -> tuple[str, ...]:
    """The members heard in a dataset, by id."""
    return tuple(sorted({member for row in dataset.rows for member in row.contributors}))


class UsedRecording(tuple[str, ...]):
    """The contributors of a recording of a dataset. `parts`: (start, end) in seconds of what the dataset uses of it."""

    parts: tuple[tuple[float, float], ...] = ()


def contributors_by_recording(dataset: Manifest[DatasetRow]) -> dict[Digest, tuple[str, ...]]:
    """Recording id -> its contributors: everybody whom a row of that recording names; they know what is used of it."""
    people: dict[Digest, dict[str, None]] = {}
    parts: dict[Digest, list[tuple[float, float]]] = {}
    for row in dataset.rows:
        segment = row.segment
        people.setdefault(segment.recording, {}).update(dict.fromkeys(row.contributors))
        parts.setdefault(segment.recording, []).append((segment.start_s, segment.start_s + segment.duration_s))
    found: dict[Digest, tuple[str, ...]] = {}
    for recording, named in people.items():
        used = UsedRecording(named)
        used.parts = tuple(parts[recording])
        found[recording] = used
    return found
