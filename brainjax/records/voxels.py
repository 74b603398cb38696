"""The voxel store: uncompressed arrays, one file per case and kind, read by memory map."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.files import atomic_path
from brainjax.records.schema import CaseRecord, Example

#: Foreground voxels kept per case and class for oversampling.
FOREGROUND_SAMPLES = 4096

#: Maps kept open; each holds a file handle, of which a process may often have only 1024.
OPEN_MAPS = 256

KINDS: dict[str, type[np.generic]] = {
    "image": np.float16,
    "labels": np.uint8,
    "foreground": np.int16,
}


class OpenMaps:
    """The most recently used memory maps; empty again after unpickling."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._maps: OrderedDict[Path, np.ndarray] = OrderedDict()

    def __reduce__(self) -> tuple[type[OpenMaps], tuple[()]]:
        return OpenMaps, ()

    def get(self, path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
        """Returns the map of a file, opened if it is not.

        Raises:
          InputError: the file is gone or does not hold this shape and type.
        """
        with self._lock:
            if path not in self._maps:
                self._maps[path] = _open_map(path, shape, dtype)
            self._maps.move_to_end(path)
            while len(self._maps) > OPEN_MAPS:
                self._maps.popitem(last=False)
            return self._maps[path]


def voxel_path(folder: Path, case_index: int, kind: str) -> Path:
    """Where a file of the store lies; kind is one of ``KINDS``."""
    return folder / "voxels" / f"{case_index:05d}.{kind}.npy"


def voxel_shape(record: CaseRecord, kind: str, *, channels: int) -> tuple[int, ...]:
    """Shape of the array in a file of the store."""
    if kind == "image":
        return (*record.box_shape, channels)
    if kind == "labels":
        return record.box_shape
    return sum(min(count, FOREGROUND_SAMPLES) for count in record.label_counts[1:]), 4


def write_voxels(folder: Path, case_index: int, example: Example) -> dict[str, int]:
    """Writes the files of one case, each atomically.

    Returns:
      The bytes of each kind of file.
    """
    arrays = {
        "image": example.image,
        "labels": example.labels,
        "foreground": sample_foreground(example.labels, classes=len(example.record.label_counts)),
    }
    sizes = {}
    for kind, array in arrays.items():
        path = voxel_path(folder, case_index, kind)
        with atomic_path(path) as temporary:
            np.save(temporary, np.ascontiguousarray(array), allow_pickle=False)
            sizes[kind] = temporary.stat().st_size
    return sizes


def find_broken_voxels(folder: Path, sizes: Sequence[Mapping[str, int]]) -> tuple[int, ...]:
    """The cases whose files are missing or not of the size they were written with."""
    broken = []
    for index, expected in enumerate(sizes):
        for kind, size in expected.items():
            path = voxel_path(folder, index, kind)
            if not path.is_file() or path.stat().st_size != size:
                broken.append(index)
                break
    return tuple(broken)


def sample_foreground(labels: np.ndarray, *, classes: int) -> np.ndarray:
    """Chooses voxels of each class but the background, evenly in storage order.

    Args:
      labels: uint8 [d, h, w].
      classes: number of classes K, background included.

    Returns:
      int16 [n, 4], rows of class and position; at most ``FOREGROUND_SAMPLES`` a class.

    >>> sample_foreground(np.array([[[0, 2, 1, 2]]], np.uint8), classes=3)
    array([[1, 0, 0, 2],
           [2, 0, 0, 1],
           [2, 0, 0, 3]], dtype=int16)
    """
    rows = [np.zeros((0, 4), np.int16)]
    for class_index in range(1, classes):
        where = np.flatnonzero(labels == class_index)
        if where.size > FOREGROUND_SAMPLES:
            where = where[np.linspace(0, where.size - 1, FOREGROUND_SAMPLES).astype(np.int64)]
        position = np.stack(np.unravel_index(where, labels.shape), axis=1)  # [n, 3]
        rows.append(np.insert(position, 0, class_index, axis=1).astype(np.int16))
    return np.concatenate(rows)


def _open_map(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    remedy = "open the records again, which writes it anew from the ArrayRecord"
    wanted = f"{path}: expected {np.dtype(dtype).name} voxels {shape}"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{wanted}, found {error}; {remedy}") from error
    if array.shape != shape or array.dtype != dtype:
        raise InputError(f"{wanted}, found {array.dtype.name} {array.shape}; {remedy}")
    return array
