"""What records were made of, so that a change of the raw files is noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.records.builders import RecordOptions
from brainjax.records.schema import SCHEMA_VERSION
from brainjax.scans import CONVENTIONS, Cohort


def describe_sources(cohort: Cohort, options: RecordOptions) -> dict[str, Any]:
    """Everything that decides what the records hold, as plain JSON values.

    Files are named relative to the cohort's root, so a cohort may be moved.

    Raises:
      InputError: a file of the cohort is missing.
    """
    files = FileStatuses(cohort.root)
    cases: dict[str, Any] = {}
    for case in cohort.cases:
        wanted = {key: source for key, source in case.images.items() if key in options.modalities}
        cases[case.case_id] = {
            "patient_id": case.patient_id,
            "grade": case.grade,
            "images": {key: [files.name(path), channel] for key, (path, channel) in wanted.items()},
            "labels": files.name(case.labels) if case.labels else None,
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "modalities": list(options.modalities),
        "label_convention": cohort.label_convention,
        "label_values": dict(CONVENTIONS[cohort.label_convention].values),
        "cases": cases,
        "files": files.statuses,
    }


class FileStatuses:
    """Sizes and times of files and folders, each looked at once.

    Attributes:
      statuses: path relative to the root to ``{"size", "mtime_ns"}``; a folder's
        are the sum and the latest of the files in it, whose number is ``"files"``.
    """

    def __init__(self, root: Path):
        self._root = root
        self.statuses: dict[str, dict[str, int]] = {}

    def name(self, path: Path) -> str:
        """Notes a file or folder and returns its path relative to the root.

        Raises:
          InputError: it is missing.
        """
        relative = os.path.relpath(path, self._root)
        if relative not in self.statuses:
            try:
                self.statuses[relative] = _status(path)
            except OSError as error:
                raise InputError(
                    f"{path}: expected a file of the data set, {error.strerror}"
                ) from error
        return relative


def with_digests(
    statuses: Mapping[str, Mapping[str, int]], root: Path
) -> dict[str, dict[str, Any]]:
    """Adds each file's SHA-256, so that a copy with new times is known for the same.

    Args:
      statuses: of :class:`FileStatuses`.
      root: what the names are relative to.
    """
    return {name: {**status, "sha256": _digest(root / name)} for name, status in statuses.items()}


def find_difference(stored: Mapping[str, Any], current: Mapping[str, Any], root: Path) -> str:
    """Says how a cohort differs from what the records were made of.

    A file with another modification time is compared by its SHA-256.

    Args:
      stored: from :func:`describe_sources` when the records were made, files
        :func:`with_digests`.
      current: from :func:`describe_sources`, now.
      root: the cohort's folder now.

    Returns:
      The first difference in words, ``""`` when there is none.
    """
    settings = {
        "schema_version": "the schema",
        "modalities": "the modalities",
        "label_convention": "the label convention",
        "label_values": "the label values",
    }
    return (
        find_changed_setting(stored, current, settings)
        or find_changed_item(stored, current, item="case", facts="files, patient or grade")
        or find_changed_file(stored, current, root)
    )


def find_changed_setting(
    stored: Mapping[str, Any], current: Mapping[str, Any], meanings: Mapping[str, str]
) -> str:
    """Names the first of some settings that changed, in words; ``""`` if none did."""
    for key, meaning in meanings.items():
        if stored.get(key) != current[key]:
            return f"{meaning} changed from {stored.get(key)} to {current[key]}"
    return ""


def find_changed_item(
    stored: Mapping[str, Any], current: Mapping[str, Any], *, item: str, facts: str
) -> str:
    """Says which cases or slices came, went or changed; ``""`` if none did.

    Args:
      stored: has a mapping of items under the plural of ``item``.
      current: likewise.
      item: ``"case"`` or ``"slice"``.
      facts: what is recorded of an item, in words.
    """
    before, now = stored[f"{item}s"], current[f"{item}s"]
    if list(before) != list(now):
        added, removed = sorted(set(now) - set(before)), sorted(set(before) - set(now))
        return f"the {item}s changed: " + ", ".join(
            f"{len(names)} {verb} (such as {names[0]})"
            for verb, names in (("added", added), ("removed", removed))
            if names
        )
    for name, known in now.items():
        if before[name] != known:
            return f"the {facts} of {item} {name} changed"
    return ""


def find_changed_file(stored: Mapping[str, Any], current: Mapping[str, Any], root: Path) -> str:
    """Names the first file whose content is not what it was; ``""`` if all are."""
    for name, status in current["files"].items():
        before = stored["files"].get(name, {})
        if before.get("size") != status["size"]:
            return f"{root / name} changed (size {before.get('size')} to {status['size']} bytes)"
        same = all(before.get(key) == value for key, value in status.items())
        if not same and before.get("sha256") != _digest(root / name):
            return f"{root / name} changed"
    return ""


def _status(path: Path) -> dict[str, int]:
    status = path.stat()
    if not path.is_dir():
        return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    within = [file.stat() for file in _files_of(path)]
    return {
        "size": sum(one.st_size for one in within),
        "mtime_ns": max((one.st_mtime_ns for one in within), default=0),
        "files": len(within),
    }


def _digest(path: Path) -> str:
    if not path.is_dir():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    together = hashlib.sha256()
    for file in _files_of(path):
        together.update(f"{file.name}/{_digest(file)}\n".encode())
    return together.hexdigest()


def _files_of(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.iterdir() if path.is_file())
