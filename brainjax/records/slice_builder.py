"""Slices to ArrayRecord: reads each file once and writes it through ``tensorflow_datasets``."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from brainjax.errors import InputError
from brainjax.records.array_records import (
    PartBuilder,
    divide_into_parts,
    read_fields,
    write_description,
    write_part,
)
from brainjax.records.fit_image import fit_image
from brainjax.records.picture_hashes import difference_hash, hash_pixels, make_thumbnail
from brainjax.records.slice_schema import (
    SLICE_SCHEMA_VERSION,
    SliceExample,
    SliceRecord,
    SliceRecordOptions,
    decode_slice,
    encode_slice,
    slice_features,
)
from brainjax.scans.slice import SliceFile
from brainjax.scans.slices import read_slice

#: Bytes of a record besides the image, generously.
_METADATA_BYTES = 4096

#: Slices in a part at most, so that there are parts to share out.
_MOST_SLICES = 1024

#: Slices read ahead per thread, so that a large one does not hold up the others.
_AHEAD = 8


class BrainSlices(PartBuilder):
    """The ``tensorflow_datasets`` builder of 2D slices, in the order of their ids."""

    VERSION = tfds.core.Version(SLICE_SCHEMA_VERSION)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Labelled 2D slices of brain MRI, fitted to one size.",
            features=self._features,
            disable_shuffling=True,
        )

    def _generate_examples(
        self, slices: Iterator[SliceExample]
    ) -> Iterator[tuple[int, dict[str, Any]]]:  # type: ignore[override]
        for key, example in enumerate(slices):
            yield key, encode_slice(example)


def divide_slices(total: int, options: SliceRecordOptions) -> list[int]:
    """Says how many slices go into each part.

    Args:
      total: the number of slices.
      options: the stored images' size and channels.
    """
    height, width = options.image_size
    largest = height * width * options.channels + _METADATA_BYTES
    return divide_into_parts(total, largest, most=_MOST_SLICES)


def write_slice_part(
    examples: Iterator[SliceExample], folder: Path, *, number: int, options: SliceRecordOptions
) -> dict[str, int]:
    """Writes the examples of one part, in order, to an ArrayRecord file below ``folder``.

    Args:
      examples: of this part.
      folder: where the data set's own folder is.
      number: of the part.
      options: the stored images' size and channels.

    Returns:
      What :func:`describe_slice_parts` has to know of it.
    """
    features = slice_features(options)
    return write_part(BrainSlices, examples, folder, number=number, features=features)


def describe_slice_parts(
    parts: Sequence[Mapping[str, int]], folder: Path, *, options: SliceRecordOptions
) -> None:
    """Makes one data set of all parts, for :func:`read_slice_records`."""
    write_description(BrainSlices, folder, features=slice_features(options), parts=parts)


def read_slice_records(folder: Path, indices: Iterable[int]) -> Iterator[SliceExample]:
    """Yields chosen examples of the parts, numbered over all of them.

    Raises:
      InputError: a record cannot be read; it names the folder and the remedy.
    """
    for fields in read_fields(folder / BrainSlices.name / SLICE_SCHEMA_VERSION, indices):
        yield decode_slice(fields)


def read_slice_examples(
    slices: Sequence[SliceFile], options: SliceRecordOptions
) -> Generator[SliceExample, None, None]:
    """Reads slices in order, some ahead of their use in ``read_threads`` threads.

    Raises:
      InputError: a slice cannot be read.
    """
    window: deque[Future[SliceExample]] = deque()
    pool = ThreadPoolExecutor(options.read_threads, thread_name_prefix="read-slice")
    try:
        for file in slices:
            window.append(pool.submit(read_slice_example, file, options))
            if len(window) > _AHEAD * options.read_threads:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_slice_example(file: SliceFile, options: SliceRecordOptions) -> SliceExample:
    """Reads one slice and makes it ready to store.

    Raises:
      InputError: it cannot be read, or not brought to the options' channels.
    """
    image = read_slice(file).image
    try:
        fitted = fit_image(image, options)
    except InputError as error:
        raise InputError(f"{file.slice_id}: {error}") from error
    thumbnail = make_thumbnail(image)
    height, width, channels = image.shape
    record = SliceRecord(
        slice_id=file.slice_id,
        patient_id=file.patient_id,
        label=file.label,
        part=file.part,
        fold=file.fold,
        original_shape=(height, width, channels),
        digest=hash_pixels(image),
        difference_hash=difference_hash(thumbnail),
    )
    return SliceExample(record=record, image=fitted, thumbnail=thumbnail)
