"""Small data sets in the layouts that users have, written with nibabel alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (6, 5, 4)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
OLD = {"flair": "_flair", "t1ce": "_t1ce", "t1": "_t1", "t2": "_t2", "seg": "_seg"}
NEW = {"flair": "-t2f", "t1ce": "-t1c", "t1": "-t1n", "t2": "-t2w", "seg": "-seg"}
# Each modality is recognised by its intensity.
INTENSITY = {"flair": 100, "t1ce": 200, "t1": 300, "t2": 400}

SaveNifti = Callable[..., Path]
SaveCase = Callable[..., Path]


@pytest.fixture
def save_nifti() -> SaveNifti:
    """Writes an array as a NIfTI file."""

    def save(path: Path, array: np.ndarray, affine: np.ndarray = LPS) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, affine), path)
        return path

    return save


@pytest.fixture
def save_case(save_nifti: SaveNifti) -> SaveCase:
    """Writes the files of one BraTS case into a folder."""

    def save(
        folder: Path,
        *,
        suffixes: dict[str, str] = OLD,
        values: Sequence[int] = (0, 1, 2, 4),
        without: Sequence[str] = (),
        extension: str = ".nii.gz",
        affine: np.ndarray = LPS,
        prefix: str | None = None,
    ) -> Path:
        name = folder.name if prefix is None else prefix
        for kind, suffix in suffixes.items():
            if kind in without:
                continue
            if kind == "seg":
                array = np.resize(np.array(values, np.uint8), SHAPE)
            else:
                array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) % 50
                array = (array + INTENSITY[kind]).astype(np.int16)
            save_nifti(folder / f"{name}{suffix}{extension}", array, affine)
        return folder

    return save


@pytest.fixture
def save_task(save_nifti: SaveNifti) -> SaveCase:
    """Writes a Task01_BrainTumour with its channels in a chosen order."""

    def save(
        task: Path,
        *,
        order: Sequence[str] = ("FLAIR", "T1w", "t1gd", "T2w"),
        cases: Sequence[str] = ("BRATS_001", "BRATS_002"),
        listed: int | None = None,
        labels: dict[str, str] | None = None,
        modality: object = None,
    ) -> Path:
        canonical = {"FLAIR": "flair", "T1w": "t1", "t1gd": "t1ce", "T2w": "t2"}
        steps = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) % 50
        image = np.stack([steps + INTENSITY[canonical[name]] for name in order], axis=-1)
        for case in cases:
            save_nifti(task / "imagesTr" / f"{case}.nii.gz", image)
            seg = np.resize(np.array([0, 1, 2, 3], np.uint8), SHAPE)
            save_nifti(task / "labelsTr" / f"{case}.nii.gz", seg)
            for folder in ("imagesTr", "labelsTr"):
                (task / folder / f"._{case}.nii.gz").write_bytes(b"macOS")
        description = {
            "modality": modality or {str(n): name for n, name in enumerate(order)},
            "labels": labels
            or {
                "0": "background",
                "1": "edema",
                "2": "non-enhancing tumor",
                "3": "enhancing tumour",
            },
            "training": [{}] * (len(cases) if listed is None else listed),
        }
        (task / "dataset.json").write_text(json.dumps(description))
        return task

    return save
