"""Slices to ArrayRecord: reads each file once and writes it through ``tensorflow_datasets``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from brainjax.errors import InputError
from brainjax.records.array_records import PartsBuilder, divide_into_parts, read_fields
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
from brainjax.scans.slice import SliceFile, SliceSet
from brainjax.scans.slices import read_slice

#: Bytes of a record besides the image, generously.
_METADATA_BYTES = 4096

#: Slices read ahead per thread, so that a large one does not hold up the others.
_AHEAD = 8


class BrainSlices(PartsBuilder):
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


def write_slice_records(
    examples: Iterator[SliceExample], folder: Path, *, total: int, options: SliceRecordOptions
) -> None:
    """Writes all examples, in order, to ArrayRecord files below ``folder``.

    Args:
      examples: as many as ``total``.
      folder: where the data set's own folder is made.
      total: the number of examples.
      options: the stored images' size and channels.
    """
    height, width = options.image_size
    BrainSlices(
        examples=examples,
        parts=divide_into_parts(total, height * width * options.channels + _METADATA_BYTES),
        features=slice_features(options),
        data_dir=str(folder),
    ).write()


def read_slice_records(folder: Path, indices: Iterable[int]) -> Iterator[SliceExample]:
    """Yields chosen examples of :func:`write_slice_records`.

    Raises:
      InputError: a record cannot be read; it names the folder and the remedy.
    """
    for fields in read_fields(folder / BrainSlices.name / SLICE_SCHEMA_VERSION, indices):
        yield decode_slice(fields)


def read_slice_examples(slice_set: SliceSet, options: SliceRecordOptions) -> Iterator[SliceExample]:
    """Reads all slices in order, some ahead of their use in ``read_threads`` threads.

    Raises:
      InputError: a slice cannot be read.
    """
    window: deque[Future[SliceExample]] = deque()
    pool = ThreadPoolExecutor(options.read_threads, thread_name_prefix="read-slice")
    try:
        for file in slice_set.slices:
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
