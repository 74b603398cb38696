"""What a labelled slice is once it has been found and once it has been read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, kw_only=True)
class SliceFile:
    """One 2D example on disk, not yet read.

    Attributes:
      slice_id: unique in its set: the path below the set's root with forward slashes
        (``"Training/glioma/x.jpg"``); of a DICOM series ``"00000/FLAIR/03"``.
      patient_id: the patient, ``""`` where the layout does not say.
      label: index into the set's class names, or None where it is not known.
      part: ``"train"``, ``"val"`` or ``"test"`` where the layout says so, else ``""``.
      fold: the data set's own cross-validation fold, 0 where there is none.
      files: the image file, or one folder of a series per modality.
      position: which of a series' non-empty slices, 0 the first to 1 the last; 0 of a
        single image.
    """

    slice_id: str
    patient_id: str = ""
    label: int | None = None
    part: str = ""
    fold: int = 0
    files: tuple[Path, ...]
    position: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SliceSet:
    """All slices below a folder.

    Attributes:
      root: the folder.
      source: a name in ``slices.SOURCES``.
      layout: the recognised layout, in words for the user.
      class_names: what the labels count; empty where nothing is labelled.
      slices: sorted by slice id.
      notes: what the user should know, such as files that were left out; a line each.
    """

    root: Path
    source: str
    layout: str
    class_names: tuple[str, ...]
    slices: tuple[SliceFile, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One slice in memory.

    Attributes:
      image: uint8 `[H, W, C]`: one channel when grey, three when the channels of a
        colour image differ, or one per modality.
      mask: the tumour, bool `[H, W]`, or None where the data set has none.
      slice_id: the slice.
    """

    image: np.ndarray
    mask: np.ndarray | None
    slice_id: str


def scale_to_uint8(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Maps ``low..high`` to 0..255, rounded; what lies outside is clipped.

    Values that are not numbers become 0, and so does everything where ``high`` is not
    above ``low``.

    >>> scale_to_uint8(np.array([-5.0, 0.0, 50.0, 100.0, np.nan]), 0.0, 100.0)
    array([  0,   0, 128, 255,   0], dtype=uint8)
    """
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    share = (values.astype(np.float64) - low) / (high - low)
    share = np.nan_to_num(share, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    # 0.5 rounds up: NumPy's rint would take the half of a grey level to the even one.
    return np.floor(np.clip(share, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
