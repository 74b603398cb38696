"""Any 2D image to the size and channels that the records hold."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from brainjax.errors import InputError
from brainjax.records.slice_schema import SliceRecordOptions

#: The head is looked for in a copy whose longer side is about this many pixels.
_SEARCH_SIDE = 96

#: Brighter than this share of the bright level (99th percentile) is not background.
_BACKGROUND_SHARE = 0.1

#: Parts smaller than this share of the largest are letters, scale bars and noise.
_SMALL_PART = 0.05

#: A box with a side below this share of the image's is not taken for a head.
_LEAST_SIDE = 0.2

Box = tuple[int, int, int, int]


def fit_image(image: np.ndarray, options: SliceRecordOptions) -> np.ndarray:
    """Brings an image to the options' size and channels, the same way for training and prediction.

    In this order: cut to the head (``crop_to_head``), padded with black to the
    target's shape (``fit="pad"``), resized with antialiasing, channels made.
    One channel becomes three by repetition, three become one by luminance (Rec. 601).

    Args:
      image: uint8 [H, W, C].
      options: the target.

    Returns:
      uint8 [h, w, channels].

    Raises:
      InputError: the channels can not be made from these.
    """
    image = as_channels(image, 1) if options.channels == 1 else image
    top, left, bottom, right = head_box(image) if options.crop_to_head else (0, 0, *image.shape[:2])
    if options.fit == "pad":
        image, (top, left, bottom, right) = _pad_to_aspect(
            image[top:bottom, left:right], options.image_size
        )
    return as_channels(
        _resize(image, (top, left, bottom, right), options.image_size), options.channels
    )


def fit_region(region: np.ndarray, image: np.ndarray, options: SliceRecordOptions) -> np.ndarray:
    """Brings a region of an image to where ``fit_image`` brings what it marks.

    Args:
      region: bool [H, W].
      image: the image that it belongs to, uint8 [H, W, C].
      options: the target.

    Returns:
      bool [h, w]: pixels of which at least half belong to the region.

    Raises:
      InputError: the channels can not be made from the image's.
    """
    image = as_channels(image, 1) if options.channels == 1 else image
    top, left, bottom, right = head_box(image) if options.crop_to_head else (0, 0, *image.shape[:2])
    plane = region[..., None].astype(np.uint8) * 255
    if options.fit == "pad":
        plane, (top, left, bottom, right) = _pad_to_aspect(
            plane[top:bottom, left:right], options.image_size
        )
    return _resize(plane, (top, left, bottom, right), options.image_size)[..., 0] >= 128


def head_box(image: np.ndarray) -> Box:
    """Finds the box of the head: what is brighter than the dark around it.

    The threshold is a tenth of the 99th percentile, in a copy reduced by
    averaging so that noise and thin lines vanish. Parts much smaller than the
    largest, such as letters, do not count. Where no box makes sense (an empty
    image), it is the whole image.

    Args:
      image: uint8 [H, W, C].

    Returns:
      (top, left, bottom, right), the last two exclusive.

    >>> image = np.zeros((96, 80, 1), np.uint8)
    >>> image[10:70, 20:60] = 200
    >>> head_box(image)
    (10, 20, 70, 60)
    """
    height, width, _ = image.shape
    factor = max(1, max(height, width) // _SEARCH_SIDE)
    grey = image.max(axis=-1) if image.shape[-1] > 1 else image[..., 0]
    small = np.asarray(Image.fromarray(grey).reduce(factor)) if factor > 1 else grey
    bright = small > _BACKGROUND_SHARE * np.percentile(small, 99)
    parts, count = ndimage.label(bright)
    if not count:
        return 0, 0, height, width
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    head = (areas >= _SMALL_PART * areas.max())[parts]
    top, bottom = _extent(head.any(axis=1), factor, height)
    left, right = _extent(head.any(axis=0), factor, width)
    if bottom - top < _LEAST_SIDE * height or right - left < _LEAST_SIDE * width:
        return 0, 0, height, width
    return top, left, bottom, right


def as_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Makes one channel from three or three from one; as many stay as they are.

    Args:
      image: uint8 [H, W, C].
      channels: how many are wanted.

    Returns:
      uint8 [H, W, channels].

    Raises:
      InputError: any other change.

    >>> as_channels(np.array([[[255, 0, 0]]], np.uint8), 1).item()
    76
    """
    found = image.shape[-1]
    if found == channels:
        return image
    if (found, channels) == (1, 3):
        return np.repeat(image, 3, axis=-1)
    if (found, channels) == (3, 1):
        return np.asarray(Image.fromarray(image, "RGB").convert("L"))[..., np.newaxis]
    raise InputError(
        f"channels: expected images of {channels} channels (1 and 3 are made from each other), "
        f"found one of {found}; set channels to {found} or choose other files"
    )


def _extent(line: np.ndarray, factor: int, size: int) -> tuple[int, int]:
    found = np.flatnonzero(line)
    return int(found[0]) * factor, min((int(found[-1]) + 1) * factor, size)


def _pad_to_aspect(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Box]:
    """Puts the image in the middle of a black one that has the target's ratio of sides."""
    height, width, channels = image.shape
    scale = max(height / size[0], width / size[1])
    full = (max(height, round(size[0] * scale)), max(width, round(size[1] * scale)))
    if full != (height, width):
        padded = np.zeros((*full, channels), np.uint8)
        top, left = (full[0] - height) // 2, (full[1] - width) // 2
        padded[top : top + height, left : left + width] = image
        image = padded
    return image, (0, 0, *full)


def _resize(image: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    top, left, bottom, right = box
    if (bottom - top, right - left) == size:
        return np.ascontiguousarray(image[top:bottom, left:right])
    colours = image.shape[-1] == 3
    planes = [image] if colours else [image[..., c] for c in range(image.shape[-1])]
    resized = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane)).resize(
                (size[1], size[0]),
                Image.Resampling.BILINEAR,
                box=(left, top, right, bottom),
                reducing_gap=3.0,
            )
        )
        for plane in planes
    ]
    return resized[0] if colours else np.stack(resized, axis=-1)
