"""Records made directly, without scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from brainjax.records import CaseRecord, Records
from brainjax.records.schema import Example
from brainjax.records.voxels import write_voxels


def make_records(folder: Path, *, cases: int) -> Records:
    """Cases whose every voxel tells its case (first modality) and position (second)."""
    full, offset, box = (16, 14, 12), (2, 1, 0), (11, 12, 12)
    written = []
    for index in range(cases):
        position = np.arange(np.prod(box)).reshape(box)
        image = np.stack([np.full(box, index + 1), position], axis=-1).astype(np.float16)
        labels = np.zeros(box, np.uint8)
        if index % 2 == 0:
            labels[3:5, 4:6, 5:7] = 1
            labels[8, 9, 10] = 3
        record = CaseRecord(
            case_id=f"case-{index}",
            patient_id=f"patient-{index}",
            grade="",
            box_offset=offset,
            box_shape=box,
            full_shape=full,
            affine=((1.0, 0.0, 0.0, 0.0),) * 4,
            spacing_mm=(1.0, 1.0, 1.0),
            label_counts=tuple(np.bincount(labels.ravel(), minlength=4).tolist()),
        )
        write_voxels(folder, index, Example(record=record, image=image, labels=labels))
        written.append(record)
    return Records(
        directory=folder,
        folder=folder,
        cases=tuple(written),
        modalities=("t1", "t2"),
        label_convention="brats2020",
    )


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Five cases; those of even index have a tumour with the classes 1 and 3."""
    return make_records(tmp_path_factory.mktemp("records"), cases=5)
