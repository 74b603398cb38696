"""Intensities of different scanners made comparable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainjax.errors import InputError


def brain_mask(image: np.ndarray) -> np.ndarray:
    """Marks the brain: voxels where the sum of the modalities is positive.

    Args:
      image: skull-stripped intensities `[D, H, W, C]`, before any normalisation.

    Returns:
      bool `[D, H, W]`.
    """
    total = image[..., 0].astype(np.float32)
    for channel in range(1, image.shape[-1]):
        total += image[..., channel]
    return total > 0


def brain_box(image: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box that holds the brain of ``brain_mask``.

    Args:
      image: skull-stripped intensities `[D, H, W, C]`, before any normalisation.

    Returns:
      One slice per axis D, H, W.

    Raises:
      InputError: the image has no brain voxel.

    >>> image = np.zeros((4, 4, 4, 2), np.float32)
    >>> image[1:3, 2, 0:2] = 7
    >>> brain_box(image)
    (slice(1, 3, None), slice(2, 3, None), slice(0, 2, None))
    """
    mask = brain_mask(image)
    plane = np.any(mask, axis=2)  # [D, H]
    profiles = (np.any(plane, axis=1), np.any(plane, axis=0), np.any(mask, axis=(0, 1)))
    if not profiles[0].any():
        raise _no_brain("image")
    first, second, third = (
        slice(int(profile.argmax()), int(profile.size - profile[::-1].argmax()))
        for profile in profiles
    )
    return first, second, third


def zscore(
    image: np.ndarray, *, modalities: Sequence[str] = (), case_id: str = "image"
) -> np.ndarray:
    """Gives each modality mean 0 and standard deviation 1 over the brain.

    As in the CGA U-Net paper: the brain is where the sum of the
    modalities is positive, the deviation is the population's, and the
    background stays 0.

    Args:
      image: skull-stripped intensities `[D, H, W, C]`.
      modalities: the C names, for errors.
      case_id: what an error should call the image.

    Returns:
      float32 `[D, H, W, C]`.

    Raises:
      InputError: the image has no brain voxel, or a modality is constant over the
        brain (as an empty file is): there is no contrast to normalise.

    >>> image = np.array([0.0, 1.0, 3.0]).reshape(3, 1, 1, 1)
    >>> zscore(image).ravel()
    array([ 0., -1.,  1.], dtype=float32)
    """
    mask = brain_mask(image)
    brain = image[mask].astype(np.float32, copy=False)  # [voxels, C]
    if not brain.size:
        raise _no_brain(case_id)
    normalized = np.zeros(image.shape, np.float32)
    for channel in range(image.shape[-1]):
        values = brain[:, channel]
        mean = values.mean(dtype=np.float64)
        deviation = values.std(dtype=np.float64)
        if values.min() == values.max() or not np.float32(deviation) > 0:
            name = modalities[channel] if modalities else f"number {channel}"
            raise InputError(
                f"{case_id}: modality {name} has the one value {mean:g} all over the brain, "
                f"expected an image; replace the file or leave the case out"
            )
        normalized[..., channel][mask] = (values - np.float32(mean)) / np.float32(deviation)
    return normalized


def _no_brain(name: str) -> InputError:
    return InputError(
        f"{name}: no brain found: the sum of the modalities is nowhere positive; "
        f"expected skull-stripped images with background 0"
    )
