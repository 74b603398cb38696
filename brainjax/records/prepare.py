"""Raw scans to records, once: reused while nothing changed, otherwise made anew and renamed in."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.records.builders import (
    RecordOptions,
    describe_case_parts,
    divide_cases,
    read_example,
    read_examples,
    write_case_part,
)
from brainjax.records.fingerprint import describe_sources, find_difference, with_digests
from brainjax.records.generations import bring_up_to_date, check_space, explain_full_disk
from brainjax.records.parts import PartOptions, Parts, Progress, part_key, write_parts
from brainjax.records.schema import Example
from brainjax.records.store import FORMAT, Records, open_records
from brainjax.records.voxels import write_voxels
from brainjax.scans import CONVENTIONS, Cohort

_OF_CASES = ("cases", "files")  # of the sources; the rest holds for all of them


def prepare_records(
    cohort: Cohort,
    directory: Path | str,
    *,
    options: RecordOptions | None = None,
    parts: PartOptions | None = None,
    progress: Progress | None = None,
) -> Records:
    """Makes records of a labelled cohort, or opens those that are still true to it.

    They are made anew when a raw file, the cases, the options, the label
    convention or the schema changed, or when a record file is not whole; the
    reason is logged and is ``Records.reason``. A new generation is written
    beside the old one and takes its place at the end, so that a killed run
    leaves nothing half; the next run keeps its finished parts. Processes that
    prepare the same folder wait for each other.

    Args:
      cohort: the raw files, from ``scans.find_cohort``.
      directory: where the records go; a new, an empty, or an earlier folder.
      options: what to store; the paper's modalities by default.
      parts: who does it; this process by default. The records do not depend on it.
      progress: called with (done, total, seconds) after each case, or each part where
        others do the work; silent if None.

    Raises:
      InputError: a case cannot be read or has no labels, the folder holds
        something else, or the disk is too small.
    """
    directory = Path(directory).absolute()
    options = options or RecordOptions()
    _check_cohort(cohort)
    sources = describe_sources(cohort, options)
    total = len(cohort.cases)
    done = kept = 0

    def count(now: int, of: int, seconds: float) -> None:
        nonlocal done
        done = total - of + now
        if progress is not None:
            progress(now, of, seconds)

    def plan() -> tuple[str, Callable[[Path], dict[str, Any]]]:
        first = read_example(cohort.cases[0], cohort.label_convention, options)
        # Twice: the voxel store and the ArrayRecord, which is smaller, as compressed.
        need = 2 * total * (first.image.nbytes + first.labels.nbytes)
        sizes = divide_cases(total, first)
        settings = {name: value for name, value in sources.items() if name not in _OF_CASES}
        return part_key(settings, sizes), functools.partial(write, sizes, need)

    def write(sizes: Sequence[int], need: int, folder: Path) -> dict[str, Any]:
        nonlocal kept
        job = _WriteCases(
            cohort=cohort, sources=sources, options=options, folder=folder, sizes=tuple(sizes)
        )
        keys = [part_key(job.sources_of(number)) for number in range(len(sizes))]
        work = Parts(folder=folder, sizes=sizes, keys=keys, write=job)
        kept = sum(sizes[number] for number in work.finished())
        if not kept:
            check_space(directory, need, items=f"{total} cases")
        found = write_parts(work, parts or PartOptions(), count)
        describe_case_parts([part["record"] for part in found], folder, **job.features)
        files = {name: of for part in found for name, of in part["files"].items()}
        return {
            "sources": {**sources, "files": {name: files[name] for name in sources["files"]}},
            "cases": [case for part in found for case in part["cases"]],
            "voxel_bytes": [of for part in found for of in part["voxel_bytes"]],
        }

    with explain_full_disk(directory, lambda: f"{done} of {total} cases"):
        reason = bring_up_to_date(
            directory,
            form=FORMAT,
            items=f"{total} cases",
            find_difference=lambda stored: find_difference(stored, sources, cohort.root),
            plan=plan,
        )
    if kept:
        reason += f"; {kept} of {total} cases were there from an unfinished preparation"
    return open_records(directory, reason=reason)


@dataclass(frozen=True, kw_only=True)
class _WriteCases:
    """Writes the ArrayRecord, voxels and description of one part of a cohort.

    Attributes:
      cohort: the raw files.
      sources: from ``describe_sources``.
      options: what to store.
      folder: of the generation.
      sizes: cases in each part.
    """

    cohort: Cohort
    sources: dict[str, Any]
    options: RecordOptions
    folder: Path
    sizes: tuple[int, ...]

    def __call__(self, number: int, tell: Callable[[], None]) -> dict[str, Any]:
        files = with_digests(self.sources_of(number)["files"], self.cohort.root)
        cases: list[dict[str, Any]] = []
        voxel_bytes: list[dict[str, int]] = []

        def examples() -> Generator[Example, None, None]:
            start, stop = self._range(number)
            some = self.cohort.cases[start:stop]
            read = read_examples(some, self.cohort.label_convention, self.options)
            with contextlib.closing(read):
                for index, example in enumerate(read, start):
                    voxel_bytes.append(write_voxels(self.folder, index, example))
                    cases.append(example.record.to_json())
                    tell()
                    yield example

        with contextlib.closing(examples()) as stream:
            record = write_case_part(stream, self.folder, number=number, **self.features)
        return {"record": record, "files": files, "cases": cases, "voxel_bytes": voxel_bytes}

    @property
    def features(self) -> dict[str, int]:
        """What the form of the records depends on."""
        return {
            "modalities": len(self.options.modalities),
            "classes": len(CONVENTIONS[self.cohort.label_convention].classes),
        }

    def sources_of(self, number: int) -> dict[str, Any]:
        """The cases of a part, where they begin, and sizes and times of their files."""
        start, stop = self._range(number)
        cases = {
            case.case_id: self.sources["cases"][case.case_id]
            for case in self.cohort.cases[start:stop]
        }
        names = {name for case in cases.values() for name, _ in case["images"].values()}
        names |= {case["labels"] for case in cases.values() if case["labels"]}
        files = {name: self.sources["files"][name] for name in sorted(names)}
        return {"start": start, "cases": cases, "files": files}

    def _range(self, number: int) -> tuple[int, int]:
        start = sum(self.sizes[:number])
        return start, start + self.sizes[number]


def _check_cohort(cohort: Cohort) -> None:
    if not cohort.cases:
        raise InputError(f"{cohort.root}: expected labelled cases, found none")
    names = [case.case_id for case in cohort.cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{cohort.root}: expected different case names, found {twice[0]} twice")
