"""Pictures from DICOM series: slices that are not empty, scaled to 8 bits, as channels."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from brainjax.errors import InputError
from brainjax.scans.dicom import read_series
from brainjax.scans.slice import Slice, SliceFile, scale_to_uint8

PERCENTILES = (0.5, 99.5)
"""Of the voxels of a series that are not 0: they become 0 and 255."""

EMPTY_SHARE = 0.01
"""A slice is empty if fewer of its pixels than this are bright."""

EMPTY_LEVEL = 0.05
"""A pixel is bright above this share of the way from the background to the upper percentile."""

_CACHED_SERIES = 8  # two cases of four modalities, about 50 MB each
_SAMPLES = 2**22


def read_series_slice(file: SliceFile) -> Slice:
    """Reads one example: the slice at ``file.position`` of each series, as channels.

    The series are read whole, and the last ones are kept in memory, so that the slices of
    a case in a row cost one reading. ``file.position`` counts among the slices that are
    not empty, of each series by itself. Channels of another size than the first are
    resized to it.

    Returns:
      The image, uint8 `[H, W, series]`.

    Raises:
      InputError: a series cannot be read, or all its slices are empty.
    """
    channels = []
    for folder in file.files:
        pictures = _pictures(folder)
        index = min(max(int(file.position * len(pictures)), 0), len(pictures) - 1)
        channels.append(pictures[index])
    shape = channels[0].shape
    image = np.stack([resize_grey(channel, shape) for channel in channels], axis=-1)
    return Slice(image=image, mask=None, slice_id=file.slice_id)


def count_pictures(folder: Path) -> int:
    """The number of slices of a series that are not empty; reads the series.

    Raises:
      InputError: the series cannot be read, or all its slices are empty.
    """
    return len(_pictures(folder))


def scale_series(volume: np.ndarray) -> np.ndarray:
    """Drops empty slices and scales a series to 8 bits.

    Args:
      volume: `[slices, H, W]`.

    Returns:
      uint8 `[slices that are not empty, H, W]`; `PERCENTILES` of the voxels that are not
      0 become 0 and 255, or, if they are equal, 0 and that value.

    >>> volume = np.zeros((3, 4, 4)); volume[1, 1:3, 1:3] = 7
    >>> scale_series(volume)[:, 1].tolist()
    [[0, 255, 255, 0]]
    """
    inside = volume[volume != 0]
    if not inside.size:
        return np.zeros((0, *volume.shape[1:]), np.uint8)
    low, high = np.percentile(inside[:: max(1, inside.size // _SAMPLES)], PERCENTILES).tolist()
    background = min(0.0, float(volume.min()))
    if high <= low:
        low = min(background, high - 1e-3)
    bright = volume > background + EMPTY_LEVEL * (high - background)
    kept = volume[bright.mean(axis=(1, 2)) >= EMPTY_SHARE]
    pictures = np.empty(kept.shape, np.uint8)
    for index, picture in enumerate(kept):
        pictures[index] = scale_to_uint8(picture, low, high)
    return pictures


def resize_grey(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resizes uint8 `[H, W]` linearly, smoothed before it shrinks.

    >>> resize_grey(np.full((2, 3), 9, np.uint8), (4, 2)).tolist()
    [[9, 9], [9, 9], [9, 9], [9, 9]]
    """
    if picture.shape == shape:
        return picture
    factors = [new / old for new, old in zip(shape, picture.shape, strict=True)]
    sigma = [max(0.0, (1 / factor - 1) / 2) for factor in factors]
    smooth = ndimage.gaussian_filter(picture.astype(np.float32), sigma, mode="nearest")
    values = ndimage.zoom(smooth, factors, order=1, mode="nearest", grid_mode=True)
    return scale_to_uint8(values, 0.0, 255.0)


def _pictures(folder: Path) -> np.ndarray:
    with _lock(folder):  # threads that want the same series read it once
        return _read_pictures(folder, _signature(folder))


@lru_cache(maxsize=_CACHED_SERIES)
def _read_pictures(folder: Path, signature: tuple[tuple[str, int, int], ...]) -> np.ndarray:
    del signature  # a series whose files changed is another one
    pictures = scale_series(read_series(folder).volume)
    if not len(pictures):
        raise InputError(f"{folder}: all slices of the series are empty; leave the case out")
    pictures.setflags(write=False)
    return pictures


@lru_cache(maxsize=64)
def _lock(folder: Path) -> threading.Lock:
    del folder
    return threading.Lock()


def _signature(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of each file, to know a series again."""
    try:
        entries = [folder] if folder.is_file() else [Path(e.path) for e in os.scandir(folder)]
        stats = [(entry.name, entry.stat()) for entry in entries]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from error
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))
