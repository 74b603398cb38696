"""Where a training patch starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Start = tuple[int, int, int]


def padded_shape(full_shape: Sequence[int], *, multiple: int) -> tuple[int, int, int]:
    """The volume's size with each axis rounded up to a multiple.

    >>> padded_shape((240, 240, 155), multiple=8)
    (240, 240, 160)
    """
    first, second, third = (-(-size // multiple) * multiple for size in full_shape)
    return first, second, third


def uniform_start(
    rng: np.random.Generator, full_shape: Sequence[int], patch_shape: Sequence[int]
) -> Start:
    """Draws a start so that each position of the patch within the volume is equally likely.

    Where the patch is longer than the volume, the volume lies in its middle.

    Args:
      rng: the generator to draw from.
      full_shape: size of the volume (D, H, W).
      patch_shape: size of the patch (d, h, w).

    Returns:
      The first voxel, which is negative where the patch is the longer.
    """
    first, second, third = (
        int(rng.integers(size - patch + 1)) if size > patch else -((patch - size) // 2)
        for size, patch in zip(full_shape, patch_shape, strict=True)
    )
    return first, second, third


def start_around(
    rng: np.random.Generator,
    voxel: Sequence[int],
    full_shape: Sequence[int],
    patch_shape: Sequence[int],
) -> Start:
    """Draws a start so that a voxel lies in the middle half of the patch.

    Where that would leave the volume, the patch is moved back into it and the
    voxel lies nearer to its edge. Where the patch is longer than the volume,
    the volume lies in its middle.

    Args:
      rng: the generator to draw from.
      voxel: a position in the volume (D, H, W).
      full_shape: size of the volume (D, H, W).
      patch_shape: size of the patch (d, h, w).

    Returns:
      The first voxel.
    """
    starts = []
    for position, size, patch in zip(voxel, full_shape, patch_shape, strict=True):
        if size <= patch:
            starts.append(-((patch - size) // 2))
        else:
            quarter = patch // 4
            within = int(rng.integers(quarter, patch - quarter))
            starts.append(int(np.clip(int(position) - within, 0, size - patch)))
    return starts[0], starts[1], starts[2]
