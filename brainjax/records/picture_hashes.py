"""Short descriptions of a picture by which its copies are found."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from brainjax.records.fit_image import as_channels, fit_image
from brainjax.records.slice_schema import THUMBNAIL_SIDE, SliceRecordOptions

_THUMBNAIL = SliceRecordOptions(
    image_size=(THUMBNAIL_SIDE, THUMBNAIL_SIDE), fit="pad", crop_to_head=True
)


def hash_pixels(image: np.ndarray) -> str:
    """Returns the SHA-256 of shape and pixels: equal only for exact copies.

    A picture whose three channels are equal is grey, and hashes as such.

    Args:
      image: uint8 [H, W, C].

    >>> grey = np.ones((2, 2, 1), np.uint8)
    >>> hash_pixels(grey) == hash_pixels(np.repeat(grey, 3, axis=-1))
    True
    """
    if image.shape[-1] == 3 and (image == image[..., :1]).all():
        image = image[..., :1]
    digest = hashlib.sha256("x".join(str(side) for side in image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """Makes a small grey copy of the head, alike for copies of other size, margin or format.

    Args:
      image: uint8 [H, W, C]; of several modalities the mean is taken.

    Returns:
      uint8 [32, 32].
    """
    if image.shape[-1] not in (1, 3):
        image = np.rint(image.mean(axis=-1, keepdims=True)).astype(np.uint8)
    return fit_image(as_channels(image, 1), _THUMBNAIL)[..., 0]


def difference_hash(thumbnail: np.ndarray) -> str:
    """Returns 64 bits: whether each of 8 x 8 cells is darker than its right neighbour.

    Args:
      thumbnail: uint8 [h, w].

    Returns:
      16 hexadecimal digits, row by row.

    >>> difference_hash(np.tile(np.arange(0, 90, 10, np.uint8), (8, 1)))
    'ffffffffffffffff'
    """
    return f"{hash_cells(average_cells(thumbnail)).item():016x}"


def average_cells(thumbnail: np.ndarray) -> np.ndarray:
    """Reduces a thumbnail [h, w] to the cells [8, 9] of :func:`difference_hash`, uint8."""
    return np.asarray(Image.fromarray(thumbnail).resize((9, 8), Image.Resampling.BILINEAR))


def hash_cells(cells: np.ndarray) -> np.ndarray:
    """Returns the :func:`difference_hash` of cells, uint8 [..., 8, 9], as uint64 [...]."""
    bits = (cells[..., 1:] > cells[..., :-1]).reshape(*cells.shape[:-2], 64)
    return np.packbits(bits, axis=-1).view(">u8")[..., 0].astype(np.uint64)
