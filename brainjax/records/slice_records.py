"""Prepared 2D slices on disk: ArrayRecord, and one array of all images to take batches from.

A folder of slice records holds::

    records.json              which generation is valid, and all metadata; written last
    records-<name>/           one generation
      brain_slices/1.0.0/     ArrayRecord files: the portable store
      images.npy              uint8 [N, h, w, C], read by memory map
      thumbnails.npy          uint8 [N, 32, 32], by which near duplicates are confirmed

The arrays are derived: what is missing or of the wrong size is written again
from the ArrayRecord.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainjax.errors import InputError
from brainjax.files import atomic_path
from brainjax.records.generations import open_manifest
from brainjax.records.locks import exclusive
from brainjax.records.slice_arrays import append, array_shapes, create_array, rows_of
from brainjax.records.slice_builder import read_slice_records
from brainjax.records.slice_schema import SliceRecord, SliceRecordOptions
from brainjax.records.voxels import OpenMaps

LOGGER = logging.getLogger(__name__)

FORMAT = "brainjax-slices"


@dataclass(frozen=True, kw_only=True)
class SliceRecords:
    """A prepared slice set: metadata in memory, pixels on disk. Can be pickled.

    Attributes:
      directory: the folder of records.
      folder: the valid generation in it.
      slices: the metadata, sorted by slice id.
      class_names: what labels count.
      options: what the images are like.
      source: the name of the set's source, such as ``"image_folder"``.
      layout: the recognised layout, in words.
      notes: what was remarked when the set was found.
      reason: why they were made by this call; ``""`` when they existed.
    """

    directory: Path
    folder: Path
    slices: tuple[SliceRecord, ...]
    class_names: tuple[str, ...]
    options: SliceRecordOptions
    source: str = ""
    layout: str = ""
    notes: tuple[str, ...] = ()
    reason: str = field(default="", compare=False)
    _maps: OpenMaps = field(default_factory=OpenMaps, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.slices)

    @property
    def images(self) -> np.ndarray:
        """All images, read-only, uint8 [N, h, w, C]; pages are read when touched.

        Raises:
          InputError: the file is gone or broken.
        """
        return self._map("images")

    @property
    def thumbnails(self) -> np.ndarray:
        """Small grey copies of the heads, read-only, uint8 [N, 32, 32].

        Raises:
          InputError: the file is gone or broken.
        """
        return self._map("thumbnails")

    @property
    def labels(self) -> np.ndarray:
        """Class indices, int32 [N]; -1 where unlabelled."""
        return np.array([-1 if s.label is None else s.label for s in self.slices], np.int32)

    def _map(self, kind: str) -> np.ndarray:
        shape = array_shapes(len(self), self.options)[kind]
        return self._maps.get(self.folder / f"{kind}.npy", shape, np.uint8)


def open_slices(directory: Path | str, *, reason: str = "") -> SliceRecords:
    """Opens prepared slices; writes their arrays again if it has to.

    Args:
      directory: the folder that ``prepare_slices`` filled.
      reason: what ``SliceRecords.reason`` shall say.

    Raises:
      InputError: no records there, or the ArrayRecord files are not whole.
    """
    directory = Path(directory).absolute()
    manifest = open_manifest(directory, FORMAT)
    records = SliceRecords(
        directory=directory,
        folder=directory / manifest["folder"],
        slices=tuple(SliceRecord.from_json(values) for values in manifest["records"]),
        class_names=tuple(manifest["sources"]["class_names"]),
        options=SliceRecordOptions(**manifest["sources"]["options"]),
        source=manifest["source"],
        layout=manifest["layout"],
        notes=tuple(manifest["notes"]),
        reason=reason,
    )
    if _broken_arrays(records, manifest):
        with exclusive(directory):
            _repair_arrays(records, manifest)
    return records


def _broken_arrays(records: SliceRecords, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    broken = []
    for name, size in manifest["array_bytes"].items():
        path = records.folder / f"{name}.npy"
        if not path.is_file() or path.stat().st_size != size:
            broken.append(name)
    return tuple(broken)


def _repair_arrays(records: SliceRecords, manifest: Mapping[str, Any]) -> None:
    """Writes missing or broken arrays again from the ArrayRecord."""
    broken = _broken_arrays(records, manifest)
    if not broken:
        return
    LOGGER.warning("%s: writing %s again", records.folder, " and ".join(broken))
    shapes = array_shapes(len(records), records.options)
    with contextlib.ExitStack() as stack:
        arrays = {}
        for name in broken:
            path = stack.enter_context(atomic_path(records.folder / f"{name}.npy"))
            create_array(path, shapes[name])
            arrays[name] = stack.enter_context(rows_of(path, 0))
        examples = read_slice_records(records.folder, range(len(records)))
        for index, (example, record) in enumerate(zip(examples, records.slices, strict=True)):
            if example.record != record:
                raise InputError(
                    f"{records.folder}: expected {record.slice_id} as record {index}, found "
                    f"{example.record.slice_id}; delete {records.directory} and prepare it again"
                )
            append(arrays, example)
