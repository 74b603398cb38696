"""Raw scans to records, once: reused while nothing changed, otherwise made anew and renamed in."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.files import write_json
from brainjax.records.builders import RecordOptions, read_examples, write_array_records
from brainjax.records.fingerprint import describe_sources, find_difference, with_digests
from brainjax.records.locks import LOCK, exclusive
from brainjax.records.schema import CaseRecord, Example
from brainjax.records.store import (
    FORMAT,
    MANIFEST,
    Records,
    find_broken_record,
    open_records,
    read_manifest,
)
from brainjax.records.voxels import write_voxels
from brainjax.scans import CONVENTIONS, Cohort

LOGGER = logging.getLogger(__name__)

#: Called after each case with (cases done, cases in all, seconds so far).
Progress = Callable[[int, int, float], None]

_GENERATION = "records-"
_UNFINISHED = ".preparing-"
_WRITING = ".writing-"


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
    if not _why_prepare(directory, sources, cohort.root):
        return open_records(directory)
    with exclusive(directory) as locked:
        reason = _why_prepare(directory, sources, cohort.root)
        if reason:
            LOGGER.info("%s: preparing %d cases: %s", directory, len(cohort.cases), reason)
            if locked:
                _remove_leftovers(directory)
            folder = _write_generation(cohort, directory, options, sources, progress)
            if locked:
                _remove_leftovers(directory, keep=folder)
    return open_records(directory, reason=reason)


def _check_cohort(cohort: Cohort) -> None:
    if not cohort.cases:
        raise InputError(f"{cohort.root}: expected labelled cases, found none")
    names = [case.case_id for case in cohort.cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{cohort.root}: expected different case names, found {twice[0]} twice")


def _why_prepare(directory: Path, sources: Mapping[str, Any], root: Path) -> str:
    """Why the records have to be made; ``""`` when they can be used as they are."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: expected a folder, found a file; choose another name")
    manifest = read_manifest(directory)
    if manifest is None:
        entries = sorted(path.name for path in directory.iterdir()) if directory.exists() else []
        foreign = [name for name in entries if not _is_ours(name)]
        if foreign:
            raise InputError(
                f"{directory}: expected an empty folder or earlier records, found {foreign[0]}; "
                "choose another folder for the records"
            )
        interrupted = any(name != LOCK for name in entries)
        return "an earlier preparation was interrupted" if interrupted else "they do not exist yet"
    difference = find_difference(manifest["sources"], sources, root)
    return difference or find_broken_record(directory, manifest)


def _write_generation(
    cohort: Cohort,
    directory: Path,
    options: RecordOptions,
    sources: Mapping[str, Any],
    progress: Progress | None,
) -> Path:
    """Writes ArrayRecord and voxel store of all cases and makes them the valid ones."""
    name = uuid.uuid4().hex[:12]
    unfinished = directory / f"{_UNFINISHED}{name}"
    folder = directory / f"{_GENERATION}{name}"
    cases: list[CaseRecord] = []
    voxel_bytes: list[dict[str, int]] = []
    total = len(cohort.cases)
    began = time.monotonic()

    def examples() -> Generator[Example, None, None]:
        for index, example in enumerate(read_examples(cohort, options)):
            if index == 0:
                _check_space(directory, example, total)
            voxel_bytes.append(write_voxels(unfinished, index, example))
            cases.append(example.record)
            if progress is not None:
                progress(index + 1, total, time.monotonic() - began)
            yield example

    try:
        unfinished.mkdir()
        described = with_digests(sources, cohort.root)
        with contextlib.closing(examples()) as stream:
            write_array_records(
                stream,
                unfinished,
                cases=total,
                modalities=len(options.modalities),
                classes=len(CONVENTIONS[cohort.label_convention].classes),
            )
        unfinished.rename(folder)
        manifest = {
            "format": FORMAT,
            "folder": folder.name,
            "sources": described,
            "cases": [case.to_json() for case in cases],
            "voxel_bytes": voxel_bytes,
            "record_files": {
                str(path.relative_to(folder)): path.stat().st_size
                for path in sorted(folder.rglob("*"))
                if path.is_file() and path.parent.name != "voxels"
            },
        }
        write_json(directory / MANIFEST, manifest)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{directory}: the disk is full after {len(cases)} of {total} cases; "
                "make room or choose another folder for the records"
            ) from error
        raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _check_space(directory: Path, example: Example, total: int) -> None:
    """Refuses to start what will not fit, judged by the size of the first case.

    Counted twice: the voxel store and the ArrayRecord, which is smaller in
    truth, as it is compressed.
    """
    need = 2 * total * (example.image.nbytes + example.labels.nbytes)
    free = shutil.disk_usage(directory).free
    if need > free:
        raise InputError(
            f"{directory}: expected about {need / 1e9:.1f} GB of free disk space for {total} "
            f"cases, found {free / 1e9:.1f} GB; make room or choose another folder for the records"
        )


def _remove_leftovers(directory: Path, keep: Path | None = None) -> None:
    """Removes what killed runs left, and generations that are not valid any more."""
    manifest = read_manifest(directory)
    valid = {keep} if keep else {directory / manifest["folder"]} if manifest else set()
    for path in directory.iterdir():
        if path.name.startswith((_UNFINISHED, _GENERATION)) and path not in valid:
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(_WRITING):
            path.unlink(missing_ok=True)


def _is_ours(name: str) -> bool:
    return name == LOCK or name.startswith((_GENERATION, _UNFINISHED, _WRITING))
