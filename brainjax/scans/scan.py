"""What a scan is once it has been found and once it has been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MODALITIES = ("flair", "t1ce", "t1", "t2")
"""The four sequences of BraTS by their names here, in the order of the CGA U-Net paper."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The geometry of a file as it lies on disk, kept to write results back onto it.

    Attributes:
      shape: voxels along the file's own three axes.
      affine: float64 `[4, 4]`, from the file's voxel indices to RAS+ millimetres.
      header: the file's nibabel header; only ``scans.nifti`` looks inside.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    header: Any


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One case in memory, in LPS order: right to left, anterior to posterior, inferior to superior.

    Attributes:
      image: float32 `[D, H, W, C]`, intensities as in the files.
      modalities: the C canonical names, in the order of the channels.
      labels: uint8 classes `[D, H, W]`, or None when they were not read.
      label_convention: name in ``labels.CONVENTIONS`` that the file's values follow.
      affine: float64 `[4, 4]`, from indices of `image` to RAS+ millimetres.
      spacing_mm: distance of neighbouring voxels along D, H, W in mm.
      patient_id: the patient, who may have several cases.
      case_id: the case.
      source: the files that were read.
      grid: the geometry of the files, to write results back.
    """

    image: np.ndarray
    modalities: tuple[str, ...]
    labels: np.ndarray | None
    label_convention: str
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    patient_id: str
    case_id: str
    source: tuple[Path, ...]
    grid: Grid


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """The files of one case.

    Attributes:
      case_id: the case, such as ``"BraTS-GLI-00001-000"``.
      patient_id: the patient, such as ``"BraTS-GLI-00001"``.
      images: canonical modality to (file, channel); the channel is None for a 3D file.
      labels: the file with the ground truth, or None.
      label_convention: what layout and names say about the values of ``labels``.
      grade: ``"HGG"``, ``"LGG"``, or ``""`` when the data set does not say.
    """

    case_id: str
    patient_id: str
    images: Mapping[str, tuple[Path, int | None]]
    labels: Path | None
    label_convention: str
    grade: str = ""


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """All labelled cases below a folder.

    Attributes:
      root: the folder.
      layout: the recognised layout, in words for the user.
      label_convention: name in ``labels.CONVENTIONS`` that holds for every case.
      cases: sorted by case id.
    """

    root: Path
    layout: str
    label_convention: str
    cases: tuple[CaseFiles, ...]
