"""Scans to ArrayRecord: reads each case once and writes it through ``tensorflow_datasets``."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from brainjax.errors import InputError
from brainjax.records.array_records import (
    PartBuilder,
    divide_into_parts,
    read_fields,
    write_description,
    write_part,
)
from brainjax.records.schema import (
    SCHEMA_VERSION,
    CaseRecord,
    Example,
    decode_example,
    encode_example,
    record_features,
)
from brainjax.scans import CONVENTIONS, CaseFiles, Volume, brain_box, read_volume, zscore

#: What tfds may gather in memory (1000 MiB), less some room for the metadata.
_TFDS_MEMORY_BYTES = 990 << 20

#: Cases in a part at most, so that there are parts to share out in a small cohort too.
_MOST_CASES = 8


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """What of the scans goes into the records, and how.

    Attributes:
      modalities: the image's channels, in order (the paper's by default).
      read_threads: cases read at a time; does not change what is written.
    """

    modalities: tuple[str, ...] = ("flair", "t1ce", "t1", "t2")
    read_threads: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", tuple(self.modalities))
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise InputError(
                f"modalities: expected different names, such as flair, t1ce, t1, t2, "
                f"found {self.modalities}"
            )
        if self.read_threads < 1:
            raise InputError(f"read_threads: expected 1 or more, found {self.read_threads}")


class BrainVolumes(PartBuilder):
    """The ``tensorflow_datasets`` builder of brain volumes, in the order of the cases."""

    VERSION = tfds.core.Version(SCHEMA_VERSION)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Multi-modal brain MRI, z-scored, cut to the brain's box, with labels.",
            features=self._features,
            disable_shuffling=True,
        )

    def _generate_examples(self, cases: Iterator[Example]) -> Iterator[tuple[int, dict[str, Any]]]:  # type: ignore[override]
        gathered = 0
        for key, example in enumerate(cases):
            gathered += _stored_bytes(example)
            if gathered > _TFDS_MEMORY_BYTES:
                shape = "x".join(str(size) for size in example.record.full_shape)
                raise InputError(
                    f"{example.record.case_id}: a volume of {shape} is too large to be stored "
                    "beside the others; expected volumes of similar size, below 1 GB each"
                )
            yield key, encode_example(example)


def divide_cases(cases: int, first: Example) -> list[int]:
    """Says how many cases go into each part.

    Args:
      cases: the number of cases.
      first: one of them, by whose volume the size of all is judged.
    """
    channels = first.image.shape[-1]
    largest = int(np.prod(first.record.full_shape)) * (2 * channels + 1)  # bytes of a case
    return divide_into_parts(cases, largest, most=_MOST_CASES)


def write_case_part(
    examples: Iterator[Example], folder: Path, *, number: int, modalities: int, classes: int
) -> dict[str, int]:
    """Writes the examples of one part, in order, to an ArrayRecord file below ``folder``.

    Args:
      examples: of this part.
      folder: where the data set's own folder is.
      number: of the part.
      modalities: number of channels C.
      classes: number of classes K.

    Returns:
      What :func:`describe_case_parts` has to know of it.

    Raises:
      InputError: a volume is too large.
    """
    features = record_features(modalities=modalities, classes=classes)
    return write_part(BrainVolumes, examples, folder, number=number, features=features)


def describe_case_parts(
    parts: Sequence[Mapping[str, int]], folder: Path, *, modalities: int, classes: int
) -> None:
    """Makes one data set of all parts, for :func:`read_array_records`."""
    features = record_features(modalities=modalities, classes=classes)
    write_description(BrainVolumes, folder, features=features, parts=parts)


def read_array_records(folder: Path, case_indices: Iterable[int]) -> Iterator[Example]:
    """Yields chosen examples of the parts, numbered over all of them.

    Raises:
      InputError: a record cannot be read; it names the folder and the remedy.
    """
    for fields in read_fields(folder / BrainVolumes.name / SCHEMA_VERSION, case_indices):
        yield decode_example(fields)


def read_examples(
    cases: Sequence[CaseFiles], label_convention: str, options: RecordOptions
) -> Generator[Example, None, None]:
    """Reads cases in order, a few at a time ahead of their use.

    Raises:
      InputError: a case is unlabelled or cannot be read.
    """
    window: deque[Future[Example]] = deque()
    pool = ThreadPoolExecutor(options.read_threads, thread_name_prefix="read-case")
    try:
        for case in cases:
            window.append(pool.submit(read_example, case, label_convention, options))
            if len(window) > options.read_threads:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_example(case: CaseFiles, label_convention: str, options: RecordOptions) -> Example:
    """Reads one case and makes it ready to store.

    The stored box is the smallest that holds the brain and every labelled
    voxel, so that nothing of the reference is lost where labels reach beyond
    the covered part of a scan.

    Raises:
      InputError: the case is unlabelled, cannot be read, or has a value that
        float16 cannot hold.
    """
    if case.labels is None:
        raise InputError(
            f"{case.case_id}: expected a segmentation beside the images, found none; "
            "records for training need labelled cases only"
        )
    volume = read_volume(case, modalities=options.modalities, label_convention=label_convention)
    return to_example(volume, grade=case.grade)


def to_example(volume: Volume, *, grade: str) -> Example:
    """Cuts a labelled volume to its box and z-scores it.

    Args:
      volume: image float32 [D, H, W, C] and labels uint8 [D, H, W].
      grade: ``"HGG"``, ``"LGG"`` or ``""``.

    Raises:
      InputError: the volume is unlabelled or a z-score is not finite.
    """
    if volume.labels is None:
        raise InputError(f"{volume.case_id}: expected labels, found none")
    box = _union(brain_box(volume.image), volume.labels)
    image = zscore(volume.image, modalities=volume.modalities, case_id=volume.case_id)[box]
    image = image.astype(np.float16)
    if not np.isfinite(image).all():
        raise InputError(
            f"{volume.case_id}: z-scores are not finite in float16; look for broken voxels in "
            f"{', '.join(str(path) for path in volume.source)}"
        )
    classes = len(CONVENTIONS[volume.label_convention].classes)
    depth, height, width, _ = volume.image.shape
    record = CaseRecord(
        case_id=volume.case_id,
        patient_id=volume.patient_id,
        grade=grade,
        box_offset=(box[0].start, box[1].start, box[2].start),
        box_shape=(image.shape[0], image.shape[1], image.shape[2]),
        full_shape=(depth, height, width),
        affine=tuple(tuple(float(x) for x in row) for row in volume.affine),  # type: ignore[misc]
        spacing_mm=volume.spacing_mm,
        label_counts=tuple(np.bincount(volume.labels.ravel(), minlength=classes).tolist()),
    )
    return Example(record=record, image=image, labels=volume.labels[box])


def _union(box: tuple[slice, ...], labels: np.ndarray) -> tuple[slice, slice, slice]:
    """Grows the box until it holds every labelled voxel."""
    sides = []
    for axis, side in enumerate(box):
        others = tuple(other for other in range(labels.ndim) if other != axis)
        labelled = np.flatnonzero(labels.any(axis=others))
        start, stop, _ = side.indices(labels.shape[axis])
        if labelled.size:
            start, stop = min(start, int(labelled[0])), max(stop, int(labelled[-1]) + 1)
        sides.append(slice(start, stop))
    return sides[0], sides[1], sides[2]


def _stored_bytes(example: Example) -> int:
    return example.image.nbytes + example.labels.nbytes
