"""Smooth random fields, defined at every position in millimetres."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage, sparse

_PERIOD_MM = 224.0
_UNIT_VARIANCE = (315.0 / 151.0) ** 1.5  # of white noise under a cubic B-spline in 3D

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Voxel centres in mm along x, y and z; each one-dimensional."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise:
    """Smooth periodic noise of unit variance: a cubic B-spline over a random lattice.

    ``coefficients`` is `[n, n, n]`; ``step_mm`` is the lattice's spacing.
    """

    coefficients: np.ndarray
    step_mm: float

    def on_grid(self, axes: Axes) -> np.ndarray:
        """Samples the noise on a grid `[D, H, W]`, float32."""
        return along_axes(self.coefficients, [self._basis(axis) for axis in axes])

    def at(self, points: list[np.ndarray]) -> np.ndarray:
        """Samples the noise at scattered positions, three arrays of one shape, in mm."""
        lattice = [point / np.float32(self.step_mm) for point in points]
        return ndimage.map_coordinates(
            self.coefficients, lattice, order=3, prefilter=False, mode="grid-wrap"
        )

    def _basis(self, axis: np.ndarray) -> sparse.csr_array:
        count = self.coefficients.shape[0]
        position = axis / self.step_mm
        cell = np.floor(position).astype(int)
        t = position - cell
        weights = (
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        )
        columns = (cell[:, None] + np.arange(-1, 3)) % count
        rows = np.repeat(np.arange(axis.size), 4)
        entries = (np.stack(weights, axis=1).astype(np.float32).ravel(), (rows, columns.ravel()))
        return sparse.csr_array(entries, shape=(axis.size, count))


def along_axes(values: np.ndarray, bases: Sequence[sparse.csr_array]) -> np.ndarray:
    """Applies one matrix `[new, old]` along each axis of an array: separable interpolation.

    The matrices have a handful of entries per row; dense products would be slower here
    and would differ between numbers of threads.
    """
    for basis in bases:  # the first axis goes to the back each time
        product = basis @ values.reshape(values.shape[0], -1)
        values = np.moveaxis(product.reshape(-1, *values.shape[1:]), 0, -1)
    return np.ascontiguousarray(values)


def draw_noise(rng: np.random.Generator, step_mm: float, *, band_pass: bool = False) -> Noise:
    """Draws noise whose bumps are about two to three ``step_mm`` across.

    ``band_pass`` takes the slow part away, which leaves sheets at an even distance.
    """
    count = max(4, round(_PERIOD_MM / step_mm))
    coefficients = rng.standard_normal((count, count, count), dtype=np.float32)
    if band_pass:
        coefficients = coefficients - ndimage.gaussian_filter(coefficients, 1.4, mode="wrap")
    return Noise(coefficients=coefficients * np.float32(_UNIT_VARIANCE), step_mm=_PERIOD_MM / count)
