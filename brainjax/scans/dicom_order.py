"""The order of the slices of a series: by place, by number, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainjax.errors import InputError

_SAME_MM = 0.01
_PARALLEL = 0.99  # cosine: 8 degrees


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One slice as a file stores it.

    The value of a voxel is ``stored * slope + intercept``. ``number`` counts the frames
    of a file; ``position_mm`` `[3]` and ``orientation`` `[6]` are DICOM's, None where
    the file does not tell them, as is ``instance``; ``pixel_mm`` is the distance of
    rows and of columns, ``step_mm`` that of slices as the header tells it, 0 if not.
    """

    path: Path
    number: int
    stored: np.ndarray
    slope: float
    intercept: float
    inverted: bool
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    instance: int | None
    pixel_mm: tuple[float, float]
    step_mm: float


def in_order(frames: Sequence[Frame], folder: Path) -> list[Frame]:
    """Sorts slices and leaves out repetitions.

    Raises:
      InputError: slices are not parallel, or two at one position differ.
    """
    depths = depths_mm(frames, folder)
    if depths is None:
        return _by_number(frames)
    order = sorted(range(len(frames)), key=lambda n: (depths[n], name_key(frames[n].path)))
    kept: list[int] = []
    for index in order:
        if kept and depths[index] - depths[kept[-1]] < _SAME_MM:
            one, other = frames[kept[-1]], frames[index]
            if _is_same(one, other):
                continue
            if np.ptp(depths) < _SAME_MM:  # positions that say nothing
                return _by_number(frames)
            raise InputError(
                f"{folder}: {_name(one)} and {_name(other)} lie at the same position "
                f"({depths[index]:.2f} mm) and differ; expected one series: put each echo, "
                f"time or contrast in a folder of its own"
            )
        kept.append(index)
    return [frames[index] for index in kept]


def depths_mm(frames: Sequence[Frame], folder: Path) -> np.ndarray | None:
    """Positions `[slices]` along the normal, None where a slice does not tell its own.

    The normal points towards the left, the back or the top of the patient, whichever is
    nearest.

    Raises:
      InputError: slices are not parallel.
    """
    positions = [frame.position_mm for frame in frames]
    orientations = [frame.orientation for frame in frames]
    if None in positions or None in orientations:
        return None
    turns = np.array(orientations)  # [slices, 6]
    normals = np.cross(turns[:, :3], turns[:, 3:])
    lengths = np.linalg.norm(normals, axis=1)
    if lengths.min() < 0.5:
        return None
    normals /= lengths[:, None]
    normal = normals[0] * np.sign(normals[0][np.argmax(np.abs(normals[0]))])
    off = np.flatnonzero(np.abs(normals @ normal) < _PARALLEL)
    if len(off):
        raise InputError(
            f"{folder}: {_name(frames[off[0]])} and {_name(frames[0])} are not parallel; "
            f"expected one series: put each plane in a folder of its own"
        )
    return np.array(positions) @ normal


def slice_distance_mm(frames: Sequence[Frame]) -> float:
    """The median distance of neighbouring slices in order, else as the header tells it."""
    depths = depths_mm(frames, frames[0].path.parent)
    if depths is None or np.ptp(depths) < _SAME_MM:
        return frames[0].step_mm
    return float(np.median(np.abs(np.diff(depths))))


def name_key(path: Path) -> tuple[str | int, ...]:
    """A key that sorts names by their numbers, not as text.

    >>> names = [Path("Image-10.dcm"), Path("Image-9.dcm")]
    >>> [path.name for path in sorted(names, key=name_key)]
    ['Image-9.dcm', 'Image-10.dcm']
    """
    parts = re.split(r"(\d+)", path.name.lower())
    return tuple(int(part) if part.isdigit() else part for part in parts)


def _by_number(frames: Sequence[Frame]) -> list[Frame]:
    numbers = [(frame.instance, frame.number) for frame in frames]
    if all(frame.instance is not None for frame in frames) and len(set(numbers)) == len(frames):
        return sorted(frames, key=lambda frame: (frame.instance or 0, frame.number))
    return sorted(frames, key=lambda frame: (name_key(frame.path), frame.number))


def _is_same(one: Frame, other: Frame) -> bool:
    return (
        (one.slope, one.intercept, one.inverted) == (other.slope, other.intercept, other.inverted)
        and one.stored.dtype == other.stored.dtype
        and np.array_equal(one.stored, other.stored)
    )


def _name(frame: Frame) -> str:
    return frame.path.name if not frame.number else f"{frame.path.name} frame {frame.number + 1}"
