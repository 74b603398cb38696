"""The box that holds the brain: nothing outside it needs the network."""

from __future__ import annotations

import numpy as np

Box = tuple[slice, slice, slice]


def signal_box(image: np.ndarray) -> Box:
    """Returns the smallest box that holds every voxel with signal.

    Args:
      image: `[D, H, W, C]`, skull-stripped and z-scored, background exactly 0.

    Returns:
      Three slices; the whole volume if no voxel has signal.

    >>> image = np.zeros((6, 5, 4, 2))
    >>> image[2:4, 1, 0:3] = 1.0
    >>> signal_box(image)
    (slice(2, 4, None), slice(1, 2, None), slice(0, 3, None))
    """
    signal = image[..., 0] != 0  # [D, H, W]
    for channel in range(1, image.shape[-1]):
        signal |= image[..., channel] != 0
    plane = signal.any(axis=2)  # [D, H]
    if not plane.any():
        return whole_box(image.shape)
    profiles = (plane.any(axis=1), plane.any(axis=0), signal.any(axis=(0, 1)))
    d, h, w = (np.flatnonzero(profile)[[0, -1]].tolist() for profile in profiles)
    return (slice(d[0], d[1] + 1), slice(h[0], h[1] + 1), slice(w[0], w[1] + 1))


def whole_box(shape: tuple[int, ...]) -> Box:
    """Returns the box that is the whole volume of spatial ``shape`` `(D, H, W)`."""
    return (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))


def place_in_background(
    probabilities: np.ndarray, box: Box, shape: tuple[int, int, int]
) -> np.ndarray:
    """Puts a box's probabilities into a volume that is background elsewhere.

    Args:
      probabilities: `[d, h, w, K]` of the box; class 0 is background.
      box: where it lies.
      shape: `(D, H, W)` of the result.

    Returns:
      `[D, H, W, K]` float32.
    """
    volume = np.zeros((*shape, probabilities.shape[-1]), np.float32)
    if probabilities.shape[:3] != shape:
        volume[..., 0] = 1.0
    volume[box] = probabilities
    return volume
