"""A user's own table of folds beside the images."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from brainjax.errors import InputError


def read_folds(
    path: Path, slice_ids: Sequence[str], classes: Sequence[str]
) -> tuple[tuple[int, ...], int]:
    """Reads the fold of each slice from a CSV file with the columns file, label and fold.

    ``file`` is the slice id, with or without the folders above it. ``label``
    may be missing; where it is there, it has to go with the classes.

    Args:
      path: the file.
      slice_ids: the slices.
      classes: the class of each.

    Returns:
      The fold of each slice, and how many rows belong to no slice.

    Raises:
      InputError: the file cannot be read, names a slice twice or not at all, or
        its labels contradict the classes.
    """
    folds, labels = _read_rows(path)
    used: set[str] = set()
    found: list[int] = []
    missing: list[str] = []
    class_of: dict[str, str] = {}
    for slice_id, name in zip(slice_ids, classes, strict=True):
        parts = slice_id.split("/")
        keys = ("/".join(parts[start:]) for start in range(len(parts)))
        key = next((key for key in keys if key in folds), "")
        if not key:
            missing.append(slice_id)
            continue
        if class_of.setdefault(labels[key], name) != name and labels[key]:
            raise InputError(
                f"{path}: label {labels[key]} stands for {class_of[labels[key]]} and, at "
                f"{slice_id}, for {name}; correct the table or the folders"
            )
        if key in used:
            raise InputError(
                f"{path}: {key} fits several images, such as {slice_id}; "
                "write their whole path below the data's folder"
            )
        used.add(key)
        found.append(folds[key])
    if missing:
        raise InputError(
            f"{path}: expected a row for each image, found none for {len(missing)} of "
            f"{len(slice_ids)}, such as {missing[0]}; add them or take the images away"
        )
    return tuple(found), len(folds) - len(used)


def _read_rows(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file of folds, found {error}") from error
    if not {"file", "fold"} <= set(header):
        found = ", ".join(header) or "none"
        raise InputError(f"{path}: expected the columns file, label and fold, found {found}")
    folds: dict[str, int] = {}
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name = (row["file"] or "").strip().replace("\\", "/").removeprefix("./")
        fold = (row["fold"] or "").strip()
        if not name or not fold.isdecimal() or int(fold) < 1:
            raise InputError(
                f"{path}: line {number}: expected a file and a fold of 1 or more, "
                f"found {name or 'no file'} and {fold or 'no fold'}"
            )
        if name in folds:
            raise InputError(f"{path}: line {number}: {name} is there twice; remove one row")
        folds[name] = int(fold)
        labels[name] = (row.get("label") or "").strip()
    return folds, labels
