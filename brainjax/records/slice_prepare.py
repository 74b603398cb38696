"""Raw slices to records, once: reused while nothing changed, else made anew and renamed in."""

from __future__ import annotations

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.records.fingerprint import (
    FileStatuses,
    find_changed_file,
    find_changed_item,
    find_changed_setting,
    with_digests,
)
from brainjax.records.generations import bring_up_to_date, check_space, explain_full_disk
from brainjax.records.parts import PartOptions, Parts, Progress, part_key, write_parts
from brainjax.records.slice_arrays import append, array_shapes, create_array, rows_of
from brainjax.records.slice_builder import (
    describe_slice_parts,
    divide_slices,
    read_slice_examples,
    write_slice_part,
)
from brainjax.records.slice_records import FORMAT, SliceRecords, open_slices
from brainjax.records.slice_schema import SLICE_SCHEMA_VERSION, SliceExample, SliceRecordOptions
from brainjax.scans.slice import SliceSet

_SETTINGS = {
    "schema_version": "the schema",
    "options": "the options",
    "class_names": "the class names",
}


def prepare_slices(
    slice_set: SliceSet,
    directory: Path | str,
    *,
    options: SliceRecordOptions,
    parts: PartOptions | None = None,
    progress: Progress | None = None,
) -> SliceRecords:
    """Makes records of a slice set, or opens those that are still true to it.

    They are made anew when a raw file, the slices or what is known about them,
    the options or the schema changed, or when a record file is not whole; the
    reason is logged and is ``SliceRecords.reason``. A killed run leaves nothing
    half but finished parts, with which the next goes on; see
    :func:`brainjax.records.generations.bring_up_to_date`.

    Args:
      slice_set: the raw files, from ``scans.find_slices``.
      directory: where the records go; a new, an empty, or an earlier folder.
      options: what to store.
      parts: who does it; this process by default. The records do not depend on it.
      progress: called with (done, total, seconds) after each slice, or each part where
        others do the work; silent if None.

    Raises:
      InputError: a slice cannot be read, the folder holds something else, or
        the disk is too small.
    """
    directory = Path(directory).absolute()
    _check_set(slice_set)
    sources = _describe_sources(slice_set, options)
    total = len(slice_set.slices)
    done = kept = 0

    def count(now: int, of: int, seconds: float) -> None:
        nonlocal done
        done = total - of + now
        if progress is not None:
            progress(now, of, seconds)

    def plan() -> tuple[str, Callable[[Path], dict[str, Any]]]:
        sizes = tuple(divide_slices(total, options))
        settings = {name: value for name, value in sources.items() if name in _SETTINGS}
        return part_key(settings, sizes), functools.partial(write, sizes)

    def write(sizes: tuple[int, ...], folder: Path) -> dict[str, Any]:
        nonlocal kept
        job = _WriteSlices(
            slice_set=slice_set, sources=sources, options=options, folder=folder, sizes=sizes
        )
        keys = [part_key(job.sources_of(number)) for number in range(len(sizes))]
        work = Parts(folder=folder, sizes=sizes, keys=keys, write=job)
        shapes = array_shapes(total, options)
        kept = sum(sizes[number] for number in work.finished())
        if not kept:
            need = 2 * sum(math.prod(shape) for shape in shapes.values())
            check_space(directory, need, items=f"{total} slices")
        for name, shape in shapes.items():
            create_array(folder / f"{name}.npy", shape)
        found = write_parts(work, parts or PartOptions(), count)
        describe_slice_parts([part["record"] for part in found], folder, options=options)
        files = {name: of for part in found for name, of in part["files"].items()}
        return {
            "sources": {**sources, "files": {name: files[name] for name in sources["files"]}},
            "source": slice_set.source,
            "layout": slice_set.layout,
            "notes": list(slice_set.notes),
            "records": [record for part in found for record in part["records"]],
            "array_bytes": {name: (folder / f"{name}.npy").stat().st_size for name in shapes},
        }

    with explain_full_disk(directory, lambda: f"{done} of {total} slices"):
        reason = bring_up_to_date(
            directory,
            form=FORMAT,
            items=f"{total} slices",
            find_difference=lambda stored: _find_difference(stored, sources, slice_set.root),
            plan=plan,
        )
    if kept:
        reason += f"; {kept} of {total} slices were there from an unfinished preparation"
    return open_slices(directory, reason=reason)


@dataclass(frozen=True, kw_only=True)
class _WriteSlices:
    """Writes the ArrayRecord, array rows and description of one part of a slice set.

    Attributes:
      slice_set: the raw files.
      sources: from ``_describe_sources``.
      options: what to store.
      folder: of the generation.
      sizes: slices in each part.
    """

    slice_set: SliceSet
    sources: dict[str, Any]
    options: SliceRecordOptions
    folder: Path
    sizes: tuple[int, ...]

    def __call__(self, number: int, tell: Callable[[], None]) -> dict[str, Any]:
        files = with_digests(self.sources_of(number)["files"], self.slice_set.root)
        records: list[dict[str, Any]] = []
        total = len(self.slice_set.slices)

        def examples() -> Generator[SliceExample, None, None]:
            start, stop = self._range(number)
            with contextlib.ExitStack() as stack:
                arrays = {
                    name: stack.enter_context(rows_of(self.folder / f"{name}.npy", start))
                    for name in array_shapes(total, self.options)
                }
                read = read_slice_examples(self.slice_set.slices[start:stop], self.options)
                for example in stack.enter_context(contextlib.closing(read)):
                    append(arrays, example)
                    records.append(example.record.to_json())
                    tell()
                    yield example

        with contextlib.closing(examples()) as stream:
            record = write_slice_part(stream, self.folder, number=number, options=self.options)
        return {"record": record, "files": files, "records": records}

    def sources_of(self, number: int) -> dict[str, Any]:
        """The slices of a part, where they begin, and sizes and times of their files."""
        start, stop = self._range(number)
        slices = {
            file.slice_id: self.sources["slices"][file.slice_id]
            for file in self.slice_set.slices[start:stop]
        }
        names = {name for known in slices.values() for name in known["files"]}
        files = {name: self.sources["files"][name] for name in sorted(names)}
        return {"start": start, "slices": slices, "files": files}

    def _range(self, number: int) -> tuple[int, int]:
        start = sum(self.sizes[:number])
        return start, start + self.sizes[number]


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
