"""What the header of a DICOM file says of its frames; works on data sets that pydicom made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainjax.errors import InputError
from brainjax.scans.dicom_order import Frame

MAX_VOXELS = 2**28
"""Largest number of voxels in one series: 1,024 slices of 512 x 512."""

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GREY = ("MONOCHROME1", "MONOCHROME2")


def check_header(dataset: Any, path: Path) -> int:
    """Refuses what is no grey picture of a bearable size.

    Returns:
      The number of frames.

    Raises:
      InputError: there are no pixels, they are in colour, or there are too many.
    """
    if not any(name in dataset for name in _PIXELS):
        kind = dataset.get("Modality") or getattr(dataset.get("SOPClassUID"), "name", "")
        raise InputError(
            f"{path}: the file has no pixel data{f' ({kind})' if kind else ''}; expected a "
            f"picture: leave it out, or copy it again if it was cut short"
        )
    photometric = str(dataset.get("PhotometricInterpretation", "none")).strip().upper()
    if photometric not in _GREY or int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(
            f"{path}: expected grey pixels ({' or '.join(_GREY)}), found photometric "
            f"interpretation {photometric}; export the scan itself, not a picture of the screen"
        )
    frames = max(int(dataset.get("NumberOfFrames") or 1), 1)
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not 0 < rows * columns * frames <= MAX_VOXELS:
        raise InputError(
            f"{path}: the header declares {frames} x {rows} x {columns} voxels; "
            f"expected 1 to {MAX_VOXELS:,}"
        )
    return frames


def describe_frames(dataset: Any, stored: np.ndarray, path: Path) -> list[Frame]:
    """Tells place and scale of each frame, by functional groups where the file has them.

    Args:
      dataset: pydicom's.
      stored: `[frames, H, W]` as stored.
      path: of the file.

    Raises:
      InputError: the rescale slope or intercept cannot be used.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    inverted = str(dataset.PhotometricInterpretation).strip().upper() == "MONOCHROME1"
    instance = _numbers(dataset, "InstanceNumber", count=1)
    frames = []
    for number, picture in enumerate(stored):
        places: list[Any] = [per_frame[number]] if number < len(per_frame) else []
        places += [shared] if shared is not None else []
        plane = [_macro(place, "PlanePositionSequence") for place in places]
        turn = [_macro(place, "PlaneOrientationSequence") for place in places]
        values = [_macro(place, "PixelValueTransformationSequence") for place in places]
        measures = [_macro(place, "PixelMeasuresSequence") for place in places]
        # A header's own position is that of one slice only.
        own = [dataset] if len(stored) == 1 else []
        scale = [
            next((float(p.get(name)) for p in (*values, dataset) if _has(p, name)), default)
            for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
        ]
        if "ModalityLUTSequence" in dataset:
            scale = [1.0, 0.0]
        if not all(map(math.isfinite, scale)) or not scale[0]:
            raise InputError(
                f"{path}: expected a finite rescale slope other than 0 and a finite intercept, "
                f"found {scale[0]:g} and {scale[1]:g}"
            )
        steps = [
            _first((*measures, dataset), name, count=1)
            for name in ("SpacingBetweenSlices", "SliceThickness")
        ]
        pixel = _first((*measures, dataset), "PixelSpacing", count=2) or (0.0, 0.0)
        frames.append(
            Frame(
                path=path,
                number=number,
                stored=picture,
                slope=scale[0],
                intercept=scale[1],
                inverted=inverted,
                position_mm=_first((*plane, *own), "ImagePositionPatient", count=3),
                orientation=_first((*turn, dataset), "ImageOrientationPatient", count=6),
                instance=None if instance is None else int(instance[0]),
                pixel_mm=(pixel[0], pixel[1]),
                step_mm=next((abs(step[0]) for step in steps if step), 0.0),
            )
        )
    return frames


def _macro(place: Any, name: str) -> Any:
    sequence = place.get(name)
    return sequence[0] if sequence else None


def _has(place: Any, name: str) -> bool:
    return place is not None and place.get(name) not in (None, "")


def _first(places: Sequence[Any], name: str, *, count: int) -> tuple[float, ...] | None:
    found = (_numbers(place, name, count=count) for place in places if place is not None)
    return next((numbers for numbers in found if numbers is not None), None)


def _numbers(place: Any, name: str, *, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, or None where they are missing or malformed."""
    try:
        value = place.get(name)
        values = tuple(map(float, [value] if count == 1 else value))
    except (TypeError, ValueError, OverflowError):
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None
