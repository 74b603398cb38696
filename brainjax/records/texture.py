"""Texture by grey-level co-occurrence, as numbers beside the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainjax.errors import InputError

#: Directions in which neighbours lie, (rows, columns): 0, 45, 90 and 135 degrees.
_DIRECTIONS = ((0, 1), (-1, 1), (-1, 0), (-1, -1))

#: Numbers per image by default: three distances by four angles.
TEXTURE_FEATURES = 12


def glcm_energy(
    image: np.ndarray,
    *,
    levels: int = 32,
    distances: Sequence[int] = (1, 2, 3),
    angles: int = 4,
) -> np.ndarray:
    """Measures how regular an image is: the energy of its co-occurrence matrices.

    Entry (i, j) of a matrix is the share p of pairs of pixels, ``distance``
    apart in one direction and counted both ways, with the grey levels i and j.
    The energy is the square root of the angular second moment sum p^2
    (Haralick 1973): 1 for a uniform image, towards 1 / levels for noise.

    Args:
      image: uint8 [h, w] or [h, w, C]; channels are averaged.
      levels: grey levels that the 256 are reduced to.
      distances: in pixels; a diagonal neighbour at d is d rows and d columns away.
      angles: how many of 0, 45, 90 and 135 degrees (counter-clockwise).

    Returns:
      float32 [F], F = distances x angles; the angles of the first distance first.

    Raises:
      InputError: an option has no meaning, or the image is too small for a distance.

    >>> glcm_energy(np.array([[0, 0], [0, 255]], np.uint8), distances=(1,), angles=1)
    array([0.612], dtype=float32)
    """
    if not 2 <= levels <= 256:
        raise InputError(f"levels: expected 2 to 256, found {levels}")
    if not 1 <= angles <= len(_DIRECTIONS):
        raise InputError(f"angles: expected 1 to 4, found {angles}")
    if not distances or min(distances) < 1 or max(distances) >= min(image.shape[:2]):
        raise InputError(
            f"distances: expected 1 to {min(image.shape[:2]) - 1} pixels in an image of "
            f"{image.shape[0]}x{image.shape[1]}, found {tuple(distances)}"
        )
    if image.ndim == 3:
        image = image[..., 0] if image.shape[-1] == 1 else image.mean(axis=-1)
    grey = image.astype(np.int32) * levels // 256
    height, width = grey.shape
    energies = []
    for distance in distances:
        for direction in _DIRECTIONS[:angles]:
            down, right = direction[0] * distance, direction[1] * distance
            first = grey[max(0, -down) : height - max(0, down)]
            first = first[:, max(0, -right) : width - max(0, right)]
            second = grey[max(0, down) : height - max(0, -down)]
            second = second[:, max(0, right) : width - max(0, -right)]
            pairs = (first * levels + second).ravel()
            counts = np.bincount(pairs, minlength=levels**2).reshape(levels, levels)
            share = (counts + counts.T) / (2 * pairs.size)
            energies.append(np.sqrt(np.vdot(share, share)))
    return np.asarray(energies, np.float32)


def texture_features(
    images: np.ndarray,
    *,
    levels: int = 32,
    distances: Sequence[int] = (1, 2, 3),
    angles: int = 4,
) -> np.ndarray:
    """Measures :func:`glcm_energy` of each image.

    Args:
      images: uint8 [N, h, w, C].
      levels: as there.
      distances: as there.
      angles: as there.

    Returns:
      float32 [N, F].
    """
    rows = np.empty((len(images), len(distances) * angles), np.float32)
    for row, image in zip(rows, images, strict=True):
        row[:] = glcm_energy(image, levels=levels, distances=distances, angles=angles)
    return rows
