"""The arrays beside slice records: all images in one file, written in rows, read by memory map."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from brainjax.records.slice_schema import THUMBNAIL_SIDE, SliceExample, SliceRecordOptions


def array_shapes(total: int, options: SliceRecordOptions) -> dict[str, tuple[int, ...]]:
    """The arrays of so many slices, by name; all are uint8."""
    return {
        "images": (total, *options.image_size, options.channels),
        "thumbnails": (total, THUMBNAIL_SIDE, THUMBNAIL_SIDE),
    }


def create_array(path: Path, shape: tuple[int, ...]) -> None:
    """Makes a uint8 array file of this size; rows that are there already stay."""
    mode = "r+b" if path.exists() else "wb"
    with path.open(mode) as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + int(np.prod(shape)))


@contextlib.contextmanager
def rows_of(path: Path, start: int) -> Iterator[BinaryIO]:
    """The array file at a row, to write from there: a memory map would crash on a full disk."""
    with path.open("r+b") as stream:
        np.lib.format.read_magic(stream)
        shape, _, _ = np.lib.format.read_array_header_1_0(stream)
        stream.seek(start * int(np.prod(shape[1:])), os.SEEK_CUR)
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def append(arrays: Mapping[str, BinaryIO], example: SliceExample) -> None:
    """Writes a slice to the next row of some of the arrays."""
    rows = {"images": example.image, "thumbnails": example.thumbnail}
    for name, stream in arrays.items():
        stream.write(np.ascontiguousarray(rows[name]).data)
