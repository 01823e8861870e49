"""Arrays for the features of hours of sound: they grow in place and store powers in two bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_HIGHEST = float(np.finfo(np.float16).max)


class GrowingArray:
    """An array that grows by rows in place; concatenating parts would need twice the memory."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._rows: NDArray[Any] = np.zeros(shape, dtype)
        self._count = 0

    def add_rows(self, count: int) -> NDArray[Any]:
        """A view of `count` new rows of zeros, valid until the next call."""
        first, self._count = self._count, self._count + count
        if self._count > len(self._rows):
            self._resize(self._count + max(1 << 14, self._count // 32))
        return self._rows[first : self._count]

    def trim_rows(self) -> NDArray[Any]:
        self._resize(self._count)
        return self._rows

    def _resize(self, count: int) -> None:
        self._rows.resize((count, *self._rows.shape[1:]), refcheck=False)  # views are invalid by now, see `add_rows`


class PowerArray:
    """Rows of powers, stored as square roots in half precision. Indexing returns float32 powers.

    A half-precision number has 11 bits: powers are accurate to 0.005 dB over 180 dB. Lower ones lose bits gradually, higher ones are
    clipped.

    Args:
        bands: numbers per row.
        scale: of the roots before rounding; the highest power is (65504 / scale)^2, the lowest with full precision is
            (6.2e-5 / scale)^2.
    """

    def __init__(self, bands: int, scale: float) -> None:
        self._grown = GrowingArray((0, bands), np.float16)
        self._roots: NDArray[np.float16] = self._grown.trim_rows()
        self._scale = np.float32(scale)

    def add(self, powers: NDArray[np.float32]) -> None:
        """Appends rows, float32 [rows, bands], and overwrites their array."""
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
        """A float32 copy."""
        powers = self._roots[at].astype(np.float32)
        powers /= self._scale
        return np.asarray(np.square(powers, out=powers))
