"""Views of a segment: the same sound with another crop, gain, polarity and channel order, for datasets of few sounds.

A view is drawn from the seed, the segment's bytes and its number, so that a second run finds every view again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from audiotune.audio.sound import Sound
from components.encode.settings import Settings


@dataclass(frozen=True)
class SegmentView:
    """What is done to a segment before it is encoded.

    Attributes:
        start, end: bounds of the part that is kept, as shares of its length.
        noise_seed: of the draw from the autoencoder's posterior; None takes its mean.
    """

    start: float = 0.0
    end: float = 1.0
    gain_db: float = 0.0
    is_inverted: bool = False
    is_swapped: bool = False
    noise_seed: int | None = None

    def apply(self, sound: Sound) -> Sound:
        """The view of a sound, at least one frame long."""
        first = min(round(self.start * sound.frames), max(0, sound.frames - 1))
        part = sound.cut(first, max(first + 1, round(self.end * sound.frames))).apply_gain(self.gain_db)
        data = part.data[::-1] if self.is_swapped else part.data
        return Sound(np.ascontiguousarray(-data if self.is_inverted else data), part.sample_rate_hz)


def draw_view(settings: Settings, blob: str, number: int) -> SegmentView:
    """View `number` of a segment's bytes; number 0 is the segment as it is."""
    if number == 0:
        return SegmentView()
    digest = hashlib.sha256(f"{settings.view_seed}/{blob.rpartition('/')[2]}/{number}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    start, end, gain, polarity, order = random.random(5)
    return SegmentView(
        start=float(start) * settings.view_crop / 2,
        end=1.0 - float(end) * settings.view_crop / 2,
        gain_db=float(2 * gain - 1) * settings.view_gain_db,
        is_inverted=settings.view_polarity and bool(polarity < 0.5),
        is_swapped=settings.view_swap and bool(order < 0.5),
        noise_seed=int(random.integers(1 << 62)) if settings.view_posterior else None,
    )
