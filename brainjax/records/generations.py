"""A folder of records: one valid generation, each new one written beside it and renamed in."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.files import read_json, write_json
from brainjax.records.locks import LOCK, exclusive
from brainjax.records.parts import has_finished_parts, remove_markers

LOGGER = logging.getLogger(__name__)

MANIFEST = "records.json"

#: Writes the files of a generation into a folder, but those of the finished parts there;
#: returns what the manifest shall hold besides.
Write = Callable[[Path], Mapping[str, Any]]

_GENERATION = "records-"
_UNFINISHED = ".preparing-"
_WRITING = ".writing-"


def bring_up_to_date(
    directory: Path,
    *,
    form: str,
    items: str,
    find_difference: Callable[[Mapping[str, Any]], str],
    plan: Callable[[], tuple[str, Write]],
) -> str:
    """Writes a new generation if there is none or it is not true to its sources any more.

    A killed or failed run leaves nothing half but finished parts in an unfinished
    generation; the next run with the same key goes on there, and any other removes
    them. Processes that work on the same folder wait for each other.

    Args:
      directory: the folder of records.
      form: the manifest's format.
      items: what is prepared, in words, such as ``"3 cases"``.
      find_difference: says how what the manifest's ``sources`` tells differs from
        the raw files; ``""`` if it does not.
      plan: called when there is something to write; returns a key, in letters and
        digits, of how the generation is divided into parts, and what writes it.

    Returns:
      Why it was written; ``""`` when it was not.

    Raises:
      InputError: the folder holds something else or cannot be written to.
    """

    def why() -> str:
        return _why_prepare(directory, form, find_difference)

    if not why():
        return ""
    with exclusive(directory) as locked:
        reason = why()
        if reason:
            LOGGER.info("%s: preparing %s: %s", directory, items, reason)
            key, write = plan()
            unfinished = directory / f"{_UNFINISHED}{key if locked else uuid.uuid4().hex[:12]}"
            if locked:
                _remove_leftovers(directory, form, keep=unfinished)
            folder = _write_generation(unfinished, form, write)
            if locked:
                _remove_leftovers(directory, form, keep=folder)
    return reason


def open_manifest(directory: Path, form: str) -> dict[str, Any]:
    """Reads the manifest of whole records.

    Raises:
      InputError: no records there, or their ArrayRecord files are not whole.
    """
    manifest = read_manifest(directory, form)
    if manifest is None:
        raise InputError(
            f"{directory}: expected prepared records ({MANIFEST}), found none; prepare them first"
        )
    problem = find_broken_record(directory, manifest)
    if problem:
        raise InputError(f"{problem}; delete {directory} and prepare it again")
    return manifest


def read_manifest(directory: Path, form: str) -> dict[str, Any] | None:
    """Reads ``records.json``; None when there is none.

    Raises:
      InputError: the file is not one of ours, or of other records.
    """
    path = directory / MANIFEST
    if not path.exists():
        return None
    manifest = read_json(path)
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(found, str) or not found.startswith("brainjax-"):
        raise InputError(f"{path}: not a file of brainjax; choose another folder for the records")
    if found != form:
        raise InputError(
            f"{path}: expected {form}, found {found}; choose another folder for the records"
        )
    return manifest


def find_broken_record(directory: Path, manifest: Mapping[str, Any]) -> str:
    """Names the first ArrayRecord file that is missing or of the wrong size, ``""`` if none."""
    for name, size in manifest["record_files"].items():
        path = directory / manifest["folder"] / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = "no such file" if found is None else f"found {found}"
            return f"{path}: expected {size} bytes, {state}"
    return ""


@contextlib.contextmanager
def explain_full_disk(directory: Path, progress: Callable[[], str]) -> Iterator[None]:
    """Turns the error of a full disk into the user's: how far it came, what to do.

    Args:
      directory: the folder of records.
      progress: says how far it came, such as ``"2 of 3 cases"``.

    Raises:
      InputError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{directory}: the disk is full after {progress()}; "
                "make room or choose another folder for the records"
            ) from error
        raise


def check_space(directory: Path, need: int, *, items: str) -> None:
    """Refuses to start what will not fit.

    Args:
      directory: an existing folder.
      need: bytes.
      items: what they are for, such as ``"3 cases"``.

    Raises:
      InputError: there is less room.
    """
    free = shutil.disk_usage(directory).free
    if need > free:
        raise InputError(
            f"{directory}: expected about {need / 1e9:.1f} GB of free disk space for {items}, "
            f"found {free / 1e9:.1f} GB; make room or choose another folder for the records"
        )


def _why_prepare(
    directory: Path, form: str, find_difference: Callable[[Mapping[str, Any]], str]
) -> str:
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: expected a folder, found a file; choose another name")
    manifest = read_manifest(directory, form)
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
    return find_difference(manifest["sources"]) or find_broken_record(directory, manifest)


def _write_generation(unfinished: Path, form: str, write: Write) -> Path:
    directory = unfinished.parent
    folder = directory / f"{_GENERATION}{uuid.uuid4().hex[:12]}"
    try:
        unfinished.mkdir(exist_ok=True)
        described = write(unfinished)
        remove_markers(unfinished)
        unfinished.rename(folder)
        manifest = {
            "format": form,
            "folder": folder.name,
            **described,
            "record_files": {
                str(path.relative_to(folder)): path.stat().st_size
                for path in sorted(folder.rglob("*"))
                if path.is_file() and path.suffix != ".npy"  # arrays are derived, records are not
            },
        }
        write_json(directory / MANIFEST, manifest)
    finally:
        if not has_finished_parts(unfinished):
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _remove_leftovers(directory: Path, form: str, *, keep: Path) -> None:
    """Removes what killed runs left but ``keep``, and generations that are not valid any more."""
    manifest = read_manifest(directory, form)
    valid = {keep, directory / manifest["folder"]} if manifest else {keep}
    for path in directory.iterdir():
        if path.name.startswith((_UNFINISHED, _GENERATION)) and path not in valid:
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(_WRITING):
            path.unlink(missing_ok=True)


def _is_ours(name: str) -> bool:
    return name == LOCK or name.startswith((_GENERATION, _UNFINISHED, _WRITING))
