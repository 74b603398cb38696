"""What one case looks like in a record: its fields, types and encodings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

#: Raised whenever the meaning of a stored field changes; older records are then rebuilt.
SCHEMA_VERSION = "1.0.0"


@dataclass(frozen=True, kw_only=True)
class CaseRecord:
    """What is known about a stored case without reading its voxels.

    Attributes:
      case_id: the case's name, such as ``"BraTS20_Training_001"``.
      patient_id: the patient; several cases of one patient share it.
      grade: ``"HGG"``, ``"LGG"`` or ``""``.
      box_offset: first voxel of the stored box in the LPS volume, (D, H, W).
      box_shape: size of the stored box, (D, H, W).
      full_shape: size of the LPS volume, (D, H, W).
      affine: 4 x 4, from voxels of the LPS volume to mm.
      spacing_mm: voxel size along (D, H, W).
      label_counts: number of voxels of each class in the whole volume.
    """

    case_id: str
    patient_id: str
    grade: str
    box_offset: tuple[int, int, int]
    box_shape: tuple[int, int, int]
    full_shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]
    spacing_mm: tuple[float, float, float]
    label_counts: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CaseRecord:
        """Inverse of :meth:`to_json`."""
        return cls(
            case_id=values["case_id"],
            patient_id=values["patient_id"],
            grade=values["grade"],
            box_offset=_three(values["box_offset"]),
            box_shape=_three(values["box_shape"]),
            full_shape=_three(values["full_shape"]),
            affine=tuple(tuple(float(x) for x in row) for row in values["affine"]),  # type: ignore[misc]
            spacing_mm=tuple(float(x) for x in values["spacing_mm"]),  # type: ignore[arg-type]
            label_counts=tuple(int(x) for x in values["label_counts"]),
        )


@dataclass(frozen=True, kw_only=True)
class Example:
    """A case on its way into a record or out of it.

    Attributes:
      record: the metadata.
      image: float16 [d, h, w, C], z-scored, the brain box only.
      labels: uint8 [d, h, w], classes, the brain box only.
    """

    record: CaseRecord
    image: np.ndarray
    labels: np.ndarray


def record_features(*, modalities: int, classes: int) -> tfds.features.FeaturesDict:
    """The ``tensorflow_datasets`` features of one case.

    Arrays are stored as bytes: ArrayRecord compresses by itself, so that is as
    small as zlib and quicker to write, and without an encoding tfds would turn
    integers into int64 and float64 into float32.

    Args:
      modalities: number of channels C of the image.
      classes: number of classes K.
    """
    tensor = tfds.features.Tensor
    return tfds.features.FeaturesDict(
        {
            "image": tensor(
                shape=(None, None, None, modalities), dtype=np.float16, encoding="bytes"
            ),
            "labels": tensor(shape=(None, None, None), dtype=np.uint8, encoding="bytes"),
            "case_id": tfds.features.Text(),
            "patient_id": tfds.features.Text(),
            "grade": tfds.features.Text(),
            "box_offset": tensor(shape=(3,), dtype=np.int32, encoding="bytes"),
            "full_shape": tensor(shape=(3,), dtype=np.int32, encoding="bytes"),
            "affine": tensor(shape=(4, 4), dtype=np.float64, encoding="bytes"),
            "spacing_mm": tensor(shape=(3,), dtype=np.float64, encoding="bytes"),
            "label_counts": tensor(shape=(classes,), dtype=np.int64, encoding="bytes"),
        }
    )


def encode_example(example: Example) -> dict[str, Any]:
    """Lays an example out as :func:`record_features` wants it."""
    record = example.record
    return {
        "image": np.ascontiguousarray(example.image),
        "labels": np.ascontiguousarray(example.labels),
        "case_id": record.case_id,
        "patient_id": record.patient_id,
        "grade": record.grade,
        "box_offset": np.asarray(record.box_offset, np.int32),
        "full_shape": np.asarray(record.full_shape, np.int32),
        "affine": np.asarray(record.affine, np.float64),
        "spacing_mm": np.asarray(record.spacing_mm, np.float64),
        "label_counts": np.asarray(record.label_counts, np.int64),
    }


def decode_example(fields: Mapping[str, Any]) -> Example:
    """Inverse of :func:`encode_example`; the arrays are read-only."""
    record = CaseRecord.from_json(
        {
            **{name: fields[name].decode() for name in ("case_id", "patient_id", "grade")},
            "box_offset": fields["box_offset"],
            "box_shape": fields["labels"].shape,
            "full_shape": fields["full_shape"],
            "affine": fields["affine"],
            "spacing_mm": fields["spacing_mm"],
            "label_counts": fields["label_counts"],
        }
    )
    return Example(record=record, image=fields["image"], labels=fields["labels"])


def _three(values: Any) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third
