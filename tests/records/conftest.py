"""A small cohort in BraTS layout, as real NIfTI files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainjax.scans import Cohort, find_cohort

SHAPE = (20, 22, 18)
#: On the files' own axes, which are LPS, as BraTS' are.
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_case(root: Path, number: int, shape: tuple[int, int, int] = SHAPE) -> Path:
    """Writes a brain in a box with a tumour that has the classes 1, 2 and 4."""
    rng = np.random.default_rng(number)
    name = f"BraTS20_Training_{number:03d}"
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    brain = np.zeros(shape, bool)
    brain[3:-4, 2:-5, 1:-2] = True
    labels = np.zeros(shape, np.uint8)
    labels[6:14, 5:12, 4:10] = 2
    labels[7:11, 6:10, 5:9] = 4
    labels[8:10, 7:9, 6:8] = 1
    arrays = {
        name: np.where(brain, rng.integers(1, 900, shape), 0).astype(np.int16)
        for name in ("flair", "t1ce", "t1", "t2")
    }
    for kind, array in {**arrays, "seg": labels}.items():
        nib.save(nib.Nifti1Image(array, AFFINE), folder / f"{name}_{kind}.nii.gz")
    return folder


@pytest.fixture
def case_writer() -> Callable[..., Path]:
    """The function that writes one more case."""
    return write_case


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Three cases."""
    for number in (1, 2, 3):
        write_case(tmp_path / "raw", number)
    return find_cohort(tmp_path / "raw", label_convention="brats2020")
