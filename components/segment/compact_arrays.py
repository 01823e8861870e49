"""Arrays for the features of hours of sound: they grow in place, and hold powers in two bytes each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_HIGHEST = float(np.finfo(np.float16).max)


class GrowingArray:
    """An array that grows row by row in place: joining parts at the end would need twice the memory."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._rows: NDArray[Any] = np.zeros(shape, dtype)
        self._count = 0

    def add_rows(self, count: int) -> NDArray[Any]:
        """`count` new rows of zeros to be filled; a view that is good until the next call."""
        first, self._count = self._count, self._count + count
        if self._count > len(self._rows):
            self._resize(self._count + max(1 << 14, self._count // 32))
        return self._rows[first : self._count]

    def trim_rows(self) -> NDArray[Any]:
        self._resize(self._count)
        return self._rows

    def _resize(self, count: int) -> None:
        self._rows.resize((count, *self._rows.shape[1:]), refcheck=False)  # no view of it exists by then: see `add_rows`


class PowerArray:
    """Rows of powers, kept as half-precision roots: indexing them like an array gives float32 powers.

    A half-precision number has 11 bits, so a power is right to 0.005 dB over 180 dB; what is quieter loses bits gradually, and
    what is louder is held at the highest.

    Args:
        bands: numbers a row.
        scale: of the roots before they are rounded; the highest power kept is (65504 / scale)^2, the lowest with
            all its bits (6.2e-5 / scale)^2.
    """

    def __init__(self, bands: int, scale: float) -> None:
        self._grown = GrowingArray((0, bands), np.float16)
        self._roots: NDArray[np.float16] = self._grown.trim_rows()
        self._scale = np.float32(scale)

    def add(self, powers: NDArray[np.float32]) -> None:
        """Takes the next rows, float32 [rows, bands]; they are worked on in place."""
        np.sqrt(powers, out=powers)
        powers *= self._scale
        np.minimum(powers, _HIGHEST, out=powers)
        self._grown.add_rows(len(powers))[:] = powers

    def finish(self) -> PowerArray:
        """The array without its spare capacity."""
        self._roots = self._grown.trim_rows()
        return self

    def __len__(self) -> int:
        return len(self._roots)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._roots.shape

    def __getitem__(self, at: Any) -> NDArray[np.float32]:
        """float32, a copy: a slice of hours takes four bytes a number."""
        found = self._roots[at].astype(np.float32)
        found /= self._scale
        return np.asarray(np.square(found, out=found))
