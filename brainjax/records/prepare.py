"""Raw scans to records, once: reused while nothing changed, otherwise made anew and renamed in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.records.builders import RecordOptions, read_examples, write_array_records
from brainjax.records.fingerprint import describe_sources, find_difference, with_digests
from brainjax.records.generations import bring_up_to_date, check_space, explain_full_disk
from brainjax.records.schema import CaseRecord, Example
from brainjax.records.store import FORMAT, Records, open_records
from brainjax.records.voxels import write_voxels
from brainjax.scans import CONVENTIONS, Cohort

#: Called after each case with (cases done, cases in all, seconds so far).
Progress = Callable[[int, int, float], None]


def prepare_records(
    cohort: Cohort,
    directory: Path | str,
    *,
    options: RecordOptions | None = None,
    progress: Progress | None = None,
) -> Records:
    """Makes records of a labelled cohort, or opens those that are still true to it.

    They are made anew when a raw file, the cases, the options, the label
    convention or the schema changed, or when a record file is not whole; the
    reason is logged and is ``Records.reason``. A new generation is written
    beside the old one and takes its place at the end, so that a killed run
    leaves nothing half; the next run removes its leftovers. Processes that
    prepare the same folder wait for each other.

    Args:
      cohort: the raw files, from ``scans.find_cohort``.
      directory: where the records go; a new, an empty, or an earlier folder.
      options: what to store; the paper's modalities by default.
      progress: called after each case with (done, total, seconds); silent if None.

    Raises:
      InputError: a case cannot be read or has no labels, the folder holds
        something else, or the disk is too small.
    """
    directory = Path(directory).absolute()
    options = options or RecordOptions()
    _check_cohort(cohort)
    sources = describe_sources(cohort, options)
    total = len(cohort.cases)
    cases: list[CaseRecord] = []
    voxel_bytes: list[dict[str, int]] = []
    began = time.monotonic()

    def examples(folder: Path) -> Generator[Example, None, None]:
        for index, example in enumerate(read_examples(cohort, options)):
            if index == 0:
                # Twice: the voxel store and the ArrayRecord, which is smaller, as compressed.
                need = 2 * total * (example.image.nbytes + example.labels.nbytes)
                check_space(directory, need, items=f"{total} cases")
            voxel_bytes.append(write_voxels(folder, index, example))
            cases.append(example.record)
            if progress is not None:
                progress(index + 1, total, time.monotonic() - began)
            yield example

    def write(folder: Path) -> dict[str, Any]:
        described = with_digests(sources, cohort.root)
        with contextlib.closing(examples(folder)) as stream:
            write_array_records(
                stream,
                folder,
                cases=total,
                modalities=len(options.modalities),
                classes=len(CONVENTIONS[cohort.label_convention].classes),
            )
        return {
            "sources": described,
            "cases": [case.to_json() for case in cases],
            "voxel_bytes": voxel_bytes,
        }

    with explain_full_disk(directory, lambda: f"{len(cases)} of {total} cases"):
        reason = bring_up_to_date(
            directory,
            form=FORMAT,
            items=f"{total} cases",
            find_difference=lambda stored: find_difference(stored, sources, cohort.root),
            write=write,
        )
    return open_records(directory, reason=reason)


def _check_cohort(cohort: Cohort) -> None:
    if not cohort.cases:
        raise InputError(f"{cohort.root}: expected labelled cases, found none")
    names = [case.case_id for case in cohort.cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{cohort.root}: expected different case names, found {twice[0]} twice")
