"""What one 2D slice looks like in a record: its fields, types and encodings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from brainjax.errors import InputError

#: Raised whenever the meaning of a stored field changes; older records are then rebuilt.
SLICE_SCHEMA_VERSION = "1.0.0"

#: Side of the small grey copy by which duplicates are found.
THUMBNAIL_SIDE = 32

_UNLABELLED = -1
_TEXTS = ("slice_id", "patient_id", "part", "digest", "difference_hash")


@dataclass(frozen=True, kw_only=True)
class SliceRecordOptions:
    """What the stored images are like.

    Attributes:
      image_size: height and width.
      channels: 1 (grey), 3 (colour, or grey repeated) or the number of modalities.
      fit: ``"stretch"`` to the size, or ``"pad"`` with black to its ratio of sides first.
      crop_to_head: cut away the dark around the head before.
      read_threads: images read at a time; does not change what is written.
    """

    image_size: tuple[int, int]
    channels: int = 1
    fit: str = "stretch"
    crop_to_head: bool = False
    read_threads: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", tuple(int(side) for side in self.image_size))
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise InputError(
                f"image_size: expected height and width of 1 or more, found {self.image_size}"
            )
        if self.fit not in ("stretch", "pad"):
            raise InputError(f"fit: expected stretch or pad, found {self.fit}")
        for name in ("channels", "read_threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected 1 or more, found {getattr(self, name)}")

    def to_json(self) -> dict[str, Any]:
        """What decides the stored images, as plain JSON values."""
        return {
            "image_size": list(self.image_size),
            "channels": self.channels,
            "fit": self.fit,
            "crop_to_head": self.crop_to_head,
        }


@dataclass(frozen=True, kw_only=True)
class SliceRecord:
    """What is known about a stored slice without reading its pixels.

    Attributes:
      slice_id: unique in the set; a path relative to its root.
      patient_id: ``""`` where unknown.
      label: index into the class names; None where unlabelled.
      part: ``"train"``, ``"val"``, ``"test"`` or ``""``: what the layout says.
      fold: the data set's own cross-validation fold, 0 where none.
      original_shape: (H, W, C) as read.
      digest: SHA-256 of the pixels and the shape as read: equal in exact duplicates.
      difference_hash: 64 bits in hexadecimal: close in near duplicates.
    """

    slice_id: str
    patient_id: str
    label: int | None
    part: str
    fold: int
    original_shape: tuple[int, int, int]
    digest: str
    difference_hash: str

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SliceRecord:
        """Inverse of :meth:`to_json`."""
        height, width, channels = values["original_shape"]
        return cls(**{**values, "original_shape": (int(height), int(width), int(channels))})


@dataclass(frozen=True, kw_only=True)
class SliceExample:
    """A slice on its way into a record or out of it.

    Attributes:
      record: the metadata.
      image: uint8 [h, w, C], fitted.
      thumbnail: uint8 [32, 32], grey.
    """

    record: SliceRecord
    image: np.ndarray
    thumbnail: np.ndarray


def slice_features(options: SliceRecordOptions) -> tfds.features.FeaturesDict:
    """The ``tensorflow_datasets`` features of one slice; a label of -1 is no label."""
    tensor, text = tfds.features.Tensor, tfds.features.Text
    image = (*options.image_size, options.channels)
    thumbnail = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return tfds.features.FeaturesDict(
        {
            "image": tensor(shape=image, dtype=np.uint8, encoding="bytes"),
            "thumbnail": tensor(shape=thumbnail, dtype=np.uint8, encoding="bytes"),
            "label": tensor(shape=(), dtype=np.int32, encoding="bytes"),
            "fold": tensor(shape=(), dtype=np.int32, encoding="bytes"),
            "original_shape": tensor(shape=(3,), dtype=np.int32, encoding="bytes"),
            **{name: text() for name in _TEXTS},
        }
    )


def encode_slice(example: SliceExample) -> dict[str, Any]:
    """Lays an example out as :func:`slice_features` wants it."""
    record = example.record
    return {
        "image": np.ascontiguousarray(example.image),
        "thumbnail": np.ascontiguousarray(example.thumbnail),
        "label": np.int32(_UNLABELLED if record.label is None else record.label),
        "fold": np.int32(record.fold),
        "original_shape": np.asarray(record.original_shape, np.int32),
        **{name: getattr(record, name) for name in _TEXTS},
    }


def decode_slice(fields: Mapping[str, Any]) -> SliceExample:
    """Inverse of :func:`encode_slice`; the arrays are read-only."""
    label = int(fields["label"])
    record = SliceRecord.from_json(
        {
            **{name: fields[name].decode() for name in _TEXTS},
            "label": None if label == _UNLABELLED else label,
            "fold": int(fields["fold"]),
            "original_shape": fields["original_shape"],
        }
    )
    return SliceExample(record=record, image=fields["image"], thumbnail=fields["thumbnail"])
