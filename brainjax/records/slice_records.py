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
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from brainjax.errors import InputError
from brainjax.files import atomic_path
from brainjax.records.fingerprint import (
    FileStatuses,
    find_changed_file,
    find_changed_item,
    find_changed_setting,
    with_digests,
)
from brainjax.records.generations import (
    bring_up_to_date,
    check_space,
    explain_full_disk,
    open_manifest,
)
from brainjax.records.locks import exclusive
from brainjax.records.slice_builder import (
    read_slice_examples,
    read_slice_records,
    write_slice_records,
)
from brainjax.records.slice_schema import (
    SLICE_SCHEMA_VERSION,
    THUMBNAIL_SIDE,
    SliceExample,
    SliceRecord,
    SliceRecordOptions,
)
from brainjax.records.voxels import OpenMaps
from brainjax.scans.slice import SliceSet

LOGGER = logging.getLogger(__name__)

FORMAT = "brainjax-slices"

#: Called after each slice with (slices done, slices in all, seconds so far).
Progress = Callable[[int, int, float], None]

_SETTINGS = {
    "schema_version": "the schema",
    "options": "the options",
    "class_names": "the class names",
}


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
        shape = _array_shapes(len(self), self.options)[kind]
        return self._maps.get(self.folder / f"{kind}.npy", shape, np.uint8)


def prepare_slices(
    slice_set: SliceSet,
    directory: Path | str,
    *,
    options: SliceRecordOptions,
    progress: Progress | None = None,
) -> SliceRecords:
    """Makes records of a slice set, or opens those that are still true to it.

    They are made anew when a raw file, the slices or what is known about them,
    the options or the schema changed, or when a record file is not whole; the
    reason is logged and is ``SliceRecords.reason``. A killed run leaves nothing
    half; see :func:`brainjax.records.generations.bring_up_to_date`.

    Args:
      slice_set: the raw files, from ``scans.find_slices``.
      directory: where the records go; a new, an empty, or an earlier folder.
      options: what to store.
      progress: called after each slice with (done, total, seconds); silent if None.

    Raises:
      InputError: a slice cannot be read, the folder holds something else, or
        the disk is too small.
    """
    directory = Path(directory).absolute()
    _check_set(slice_set)
    sources = _describe_sources(slice_set, options)
    total = len(slice_set.slices)
    done: list[SliceRecord] = []

    def write(folder: Path) -> dict[str, Any]:
        need = 2 * sum(int(np.prod(s)) for s in _array_shapes(total, options).values())
        check_space(directory, need, items=f"{total} slices")
        described = with_digests(sources, slice_set.root)
        examples = _examples(slice_set, options, folder, done, progress)
        with contextlib.closing(examples) as stream:
            write_slice_records(stream, folder, total=total, options=options)
        return {
            "sources": described,
            "source": slice_set.source,
            "layout": slice_set.layout,
            "notes": list(slice_set.notes),
            "records": [record.to_json() for record in done],
            "array_bytes": {
                name: (folder / f"{name}.npy").stat().st_size
                for name in _array_shapes(total, options)
            },
        }

    with explain_full_disk(directory, lambda: f"{len(done)} of {total} slices"):
        reason = bring_up_to_date(
            directory,
            form=FORMAT,
            items=f"{total} slices",
            find_difference=lambda stored: _find_difference(stored, sources, slice_set.root),
            write=write,
        )
    return open_slices(directory, reason=reason)


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


def _check_set(slice_set: SliceSet) -> None:
    if not slice_set.slices:
        raise InputError(f"{slice_set.root}: expected images, found none")
    name, count = Counter(file.slice_id for file in slice_set.slices).most_common(1)[0]
    if count > 1:
        raise InputError(f"{slice_set.root}: expected different names, found {name} {count} times")


def _describe_sources(slice_set: SliceSet, options: SliceRecordOptions) -> dict[str, Any]:
    """Everything that decides what the records hold, as plain JSON values."""
    files = FileStatuses(slice_set.root)
    slices = {
        file.slice_id: {
            "patient_id": file.patient_id,
            "label": file.label,
            "part": file.part,
            "fold": file.fold,
            "files": [files.name(path) for path in file.files],
            "position": file.position,
        }
        for file in slice_set.slices
    }
    return {
        "schema_version": SLICE_SCHEMA_VERSION,
        "options": options.to_json(),
        "class_names": list(slice_set.class_names),
        "slices": slices,
        "files": files.statuses,
    }


def _find_difference(stored: Mapping[str, Any], current: Mapping[str, Any], root: Path) -> str:
    return (
        find_changed_setting(stored, current, _SETTINGS)
        or find_changed_item(
            stored, current, item="slice", facts="files, patient, label, part or fold"
        )
        or find_changed_file(stored, current, root)
    )


def _examples(
    slice_set: SliceSet,
    options: SliceRecordOptions,
    folder: Path,
    done: list[SliceRecord],
    progress: Progress | None,
) -> Generator[SliceExample, None, None]:
    """Reads the slices, writes the arrays on the way and tells how far it is."""
    total = len(slice_set.slices)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        arrays = {
            name: stack.enter_context(_new_array(folder / f"{name}.npy", shape))
            for name, shape in _array_shapes(total, options).items()
        }
        for index, example in enumerate(read_slice_examples(slice_set, options)):
            _append(arrays, example)
            done.append(example.record)
            if progress is not None:
                progress(index + 1, total, time.monotonic() - began)
            yield example


def _array_shapes(total: int, options: SliceRecordOptions) -> dict[str, tuple[int, ...]]:
    return {
        "images": (total, *options.image_size, options.channels),
        "thumbnails": (total, THUMBNAIL_SIDE, THUMBNAIL_SIDE),
    }


@contextlib.contextmanager
def _new_array(path: Path, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A uint8 array file to append to: writing by memory map would crash on a full disk."""
    with path.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        yield stream


def _append(arrays: Mapping[str, BinaryIO], example: SliceExample) -> None:
    parts = {"images": example.image, "thumbnails": example.thumbnail}
    for name, stream in arrays.items():
        stream.write(np.ascontiguousarray(parts[name]).data)


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
    shapes = _array_shapes(len(records), records.options)
    with contextlib.ExitStack() as stack:
        arrays = {
            name: stack.enter_context(
                _new_array(
                    stack.enter_context(atomic_path(records.folder / f"{name}.npy")), shapes[name]
                )
            )
            for name in broken
        }
        examples = read_slice_records(records.folder, range(len(records)))
        for index, (example, record) in enumerate(zip(examples, records.slices, strict=True)):
            if example.record != record:
                raise InputError(
                    f"{records.folder}: expected {record.slice_id} as record {index}, found "
                    f"{example.record.slice_id}; delete {records.directory} and prepare it again"
                )
            _append(arrays, example)
