"""Reads and writes single image files; the only place that imports Pillow."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from brainjax.errors import InputError
from brainjax.files import atomic_path
from brainjax.scans.slice import scale_to_uint8

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP")
"""What is read, told by a file's first bytes and never by its name."""

SMALLEST_SIDE = 8
"""Pixels; an image with a shorter side shows no brain."""

LARGEST_AREA = 2**26
"""Pixels (8192 x 8192); a header that declares more is damaged or an attack."""

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
}
_BITMAP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes of BMP's second header
_BEYOND_8_BITS = ("I", "F")
_WITH_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")
# Pillow warns of harmless metadata, and the list of filters belongs to the whole
# process: one thread at a time may change it. Pixels are decoded outside.
_FILTERS = threading.Lock()


def image_format(path: str | os.PathLike[str]) -> str:
    """Tells the format of an image by the first bytes of the file.

    Returns:
      One of `FORMATS`, or ``""`` for a file that is none of them.

    Raises:
      InputError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            start = stream.read(18)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    for signature, name in _SIGNATURES.items():
        if start.startswith(signature):
            return name
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WEBP"
    if start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BITMAP_HEADERS:
        return "BMP"
    return ""


def read_image_file(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads one image as uint8 `[H, W, C]`, C = 1 when all its colour channels agree, else 3.

    8-bit images keep their values. Images of more bits are scaled from their least to
    their greatest value to 0..255; pixels that are not finite become 0. Transparent
    pixels lie on black, unless all are transparent, in which case alpha is ignored.
    CMYK is turned to RGB. EXIF data, its rotation as well, is ignored.

    Args:
      path: a file in one of `FORMATS`, whatever its name.

    Raises:
      InputError: the file is missing, empty, damaged or no image, it holds several
        frames, or its sides are out of range.
    """
    if not image_format(path):
        size = Path(path).stat().st_size
        found = "another kind of file" if size else "an empty file"
        raise InputError(f"{path}: expected an image ({', '.join(FORMATS)}), found {found}")
    try:
        with _open(path) as image:
            image.load()
            array = _decode(image)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: too large for this machine's memory") from error
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        reason = _one_line(error) or type(error).__name__
        raise InputError(f"{path}: damaged image ({reason}); replace it or leave it out") from error
    if array is None:
        raise InputError(
            f"{path}: expected numbers, found no finite pixel; replace it or leave it out"
        )
    if (array == array[..., :1]).all():
        array = array[..., :1]
    return np.ascontiguousarray(array)


def write_image_file(
    path: str | os.PathLike[str], image: np.ndarray, *, mode: str = "", quality: int = 90
) -> None:
    """Writes uint8 `[H, W, C]`, C = 1 or 3, as JPEG, or as PNG where ``mode`` asks for one.

    Args:
      path: of any name; the format follows from ``mode`` alone.
      image: the pixels.
      mode: ``""`` a JPEG, ``"RGB"`` a JPEG in colour, ``"P"`` a PNG with a palette,
        ``"RGBA"`` a PNG with an opaque alpha channel.
      quality: of a JPEG, 1 to 95.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if mode:
        picture = picture.convert(mode)
    with atomic_path(path) as temporary:
        if mode in ("P", "RGBA"):
            picture.save(temporary, format="PNG")
        else:
            picture.save(temporary, format="JPEG", quality=quality)


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Opens a file's header and checks what it declares, before anything is decoded."""
    with Path(path).open("rb") as stream:
        with _FILTERS, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\b")
            try:
                image = Image.open(stream, formats=FORMATS)
            except Image.DecompressionBombError as error:
                raise InputError(
                    f"{path}: expected at most {LARGEST_AREA} pixels, its header declares many "
                    f"more; replace it or leave it out"
                ) from error
            frames = getattr(image, "n_frames", 1)
        width, height = image.size
        if width * height > LARGEST_AREA:
            raise InputError(
                f"{path}: expected at most {LARGEST_AREA} pixels, its header declares "
                f"{width} x {height}; replace it or leave it out"
            )
        if min(width, height) < SMALLEST_SIDE:
            raise InputError(
                f"{path}: expected sides of {SMALLEST_SIDE} pixels or more, found "
                f"{width} x {height}; replace it or leave it out"
            )
        # A JPEG may carry small copies of itself; other formats' frames are images.
        if frames > 1 and image.format not in ("JPEG", "MPO"):
            raise InputError(
                f"{path}: expected one image, found {frames} frames; save each as a file"
            )
        yield image


def _decode(image: Image.Image) -> np.ndarray | None:
    """Turns a loaded image into uint8 `[H, W, C]`; None when no pixel is finite."""
    if image.mode.startswith(_BEYOND_8_BITS):
        values = np.asarray(image)
        finite = values[np.isfinite(values)]
        if not finite.size:
            return None
        values = np.where(np.isfinite(values), values, finite.min())
        return scale_to_uint8(values, float(finite.min()), float(finite.max()))[..., None]
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        return _on_black(np.asarray(image.convert("RGBA")))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _on_black(image: np.ndarray) -> np.ndarray:
    """Lays uint8 RGBA `[H, W, 4]` over black: `[H, W, 3]`."""
    colour, alpha = image[..., :3], image[..., 3:].astype(np.uint16)
    if not alpha.any() or (alpha == 255).all():
        return colour
    return ((colour * alpha + 127) // 255).astype(np.uint8)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
