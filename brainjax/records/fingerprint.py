"""What records were made of, so that a change of the raw files is noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
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
    files: dict[str, dict[str, Any]] = {}
    cases: dict[str, Any] = {}

    def name(path: Path) -> str:
        relative = os.path.relpath(path, cohort.root)
        if relative not in files:
            try:
                status = os.stat(path)
            except OSError as error:
                raise InputError(
                    f"{path}: expected a file of the cohort, {error.strerror}"
                ) from error
            files[relative] = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        return relative

    for case in cohort.cases:
        wanted = {key: source for key, source in case.images.items() if key in options.modalities}
        cases[case.case_id] = {
            "patient_id": case.patient_id,
            "grade": case.grade,
            "images": {key: [name(path), channel] for key, (path, channel) in wanted.items()},
            "labels": name(case.labels) if case.labels else None,
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "modalities": list(options.modalities),
        "label_convention": cohort.label_convention,
        "label_values": dict(CONVENTIONS[cohort.label_convention].values),
        "cases": cases,
        "files": files,
    }


def with_digests(sources: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Adds each file's SHA-256, so that a copy with new times is known for the same."""
    files = {
        name: {**status, "sha256": _digest(root / name)}
        for name, status in sources["files"].items()
    }
    return {**sources, "files": files}


def find_difference(stored: Mapping[str, Any], current: Mapping[str, Any], root: Path) -> str:
    """Says how the sources differ from those that the records were made of.

    A file with another modification time is compared by its SHA-256.

    Args:
      stored: from :func:`with_digests`, when the records were made.
      current: from :func:`describe_sources`, now.
      root: the cohort's folder now.

    Returns:
      The first difference in words, ``""`` when there is none.
    """
    for key, meaning in (
        ("schema_version", "the schema"),
        ("modalities", "the modalities"),
        ("label_convention", "the label convention"),
        ("label_values", "the label values"),
    ):
        if stored.get(key) != current[key]:
            return f"{meaning} changed from {stored.get(key)} to {current[key]}"
    if list(stored["cases"]) != list(current["cases"]):
        added = sorted(set(current["cases"]) - set(stored["cases"]))
        removed = sorted(set(stored["cases"]) - set(current["cases"]))
        return "the cases changed: " + ", ".join(
            f"{len(cases)} {verb} (such as {cases[0]})"
            for verb, cases in (("added", added), ("removed", removed))
            if cases
        )
    for case_id, case in current["cases"].items():
        if stored["cases"][case_id] != case:
            return f"the files, patient or grade of case {case_id} changed"
    for name, status in current["files"].items():
        before = stored["files"].get(name, {})
        if before.get("size") != status["size"]:
            return f"{root / name} changed (size {before.get('size')} to {status['size']} bytes)"
        same_time = before.get("mtime_ns") == status["mtime_ns"]
        if not same_time and before.get("sha256") != _digest(root / name):
            return f"{root / name} changed"
    return ""


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
