"""The figshare set of Cheng et al. (doi 10.6084/m9.figshare.1512427), as ``.mat`` or as images.

As published it is ``.mat`` files numbered from 1, with ``cvind.mat``, whose n-th entry is the
author's cross-validation fold of file n.mat; no patient is in two folds. As images it is
class folders with ``folds.csv``, which tells file, label (1 to 3) and fold.
"""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from brainjax.errors import InputError
from brainjax.scans.figshare_mat import FIGSHARE_CLASSES, read_mat_folds, read_mat_label
from brainjax.scans.image_folder import find_images, relative_id, walk_files
from brainjax.scans.slice import SliceFile, SliceSet

FIGSHARE_LAYOUT = "figshare (<number>.mat with cjdata, cvind.mat; or images with folds.csv)"
"""The layout in words, for errors."""

_FOLDS = "folds.csv"
_COLUMNS = ("file", "label", "fold")


def is_figshare(root: str | os.PathLike[str]) -> bool:
    """Whether ``folds.csv`` lies in a folder, or a ``.mat`` file up to two levels below."""
    root = Path(root)
    patterns = ("*.mat", "*/*.mat", "*/*/*.mat")
    return (root / _FOLDS).is_file() or any(
        any(is_mat(path) for path in root.glob(pattern)) for pattern in patterns
    )


def is_mat(path: Path) -> bool:
    """Whether a name is that of a slice: ``.mat``, neither hidden nor a table of folds."""
    name = path.name.lower()
    return name.endswith(".mat") and not name.startswith((".", "cvind"))


def find_figshare(root: str | os.PathLike[str]) -> SliceSet:
    """Finds the slices of the figshare set, as ``.mat`` files or as images with ``folds.csv``.

    Label and patient of each ``.mat`` file are read, about a millisecond each. Patients
    are in the ``.mat`` files only; folds are 1 to 5, or 0 where no table gives them.

    Raises:
      InputError: there is no such file, one cannot be read or has no label, some but not
        all name the patient, or a table of folds does not fit its files.
    """
    root = Path(root)
    return _find_listed(root) if (root / _FOLDS).is_file() else _find_mat(root)


def _find_mat(root: Path) -> SliceSet:
    files, tables = [], []
    for path in walk_files(root):
        if is_mat(path):
            files.append(path)
        elif path.name.lower().startswith("cvind") and path.suffix.lower() == ".mat":
            tables.append(path)
    if not files:
        raise InputError(f"{root}: no .mat file found; expected {FIGSHARE_LAYOUT}")
    folds = read_mat_folds(tables[0]) if tables else None
    slices = []
    for path in files:
        label, patient = read_mat_label(path)
        fold = 0 if folds is None else _fold_of(path, folds, tables[0])
        slices.append(SliceFile(slice_id=relative_id(path, root), patient_id=patient,
                                label=label, fold=fold, files=(path,)))  # fmt: skip
    nameless = [file for file in slices if not file.patient_id]
    if nameless and len(nameless) < len(slices):
        raise InputError(
            f"{nameless[0].files[0]}: cjdata/PID: expected the patient's id as in other files, "
            f"found none ({len(nameless)} such); leave these out, or patients cannot be kept apart"
        )
    patients = len({file.patient_id for file in slices})
    known = f"{patients} patient{'s' * (patients != 1)}" if not nameless else "patients not named"
    table = f", folds of {tables[0].name}" if tables else ""
    notes = [] if not nameless else ["no file names its patient, so patients cannot be kept apart"]
    if len(tables) > 1:
        notes.append(f"folds are those of {relative_id(tables[0], root)}, not of other tables")
    return _slice_set(root, f"figshare .mat, {known}{table}", slices, notes)


def _find_listed(root: Path) -> SliceSet:
    table = root / _FOLDS
    slices = []
    for line, row in _rows(table):
        name = row["file"].strip().replace("\\", "/")
        place = PurePosixPath(name)
        if not name or place.is_absolute() or ".." in place.parts:
            raise InputError(f"{table}: line {line}: expected a file below {root}, found {name!r}")
        label = _whole_number(table, line, row, "label", 1, len(FIGSHARE_CLASSES))
        fold = _whole_number(table, line, row, "fold", 1, 1000)
        expected = FIGSHARE_CLASSES[label - 1]
        folder = place.parent.name.lower()
        if folder in FIGSHARE_CLASSES and folder != expected:
            raise InputError(f"{table}: line {line}: label {label} is {expected}, found {name}")
        slices.append(
            SliceFile(slice_id=str(place), label=label - 1, fold=fold, files=(root / place,))
        )
    listed = {file.slice_id for file in slices}
    if len(listed) < len(slices):
        twice = sorted(file.slice_id for file in slices)
        first = next(a for a, b in itertools.pairwise(twice) if a == b)
        raise InputError(f"{table}: {first} is there twice; expected a line for each file")
    present = {relative_id(path, root) for path in find_images(root)[0]}
    if missing := sorted(listed - present):
        raise InputError(
            f"{table}: {len(missing)} of {len(listed)} files are missing or no images "
            f"(first: {missing[0]}); complete the folder or take their lines out"
        )
    others = sorted(present - listed)
    notes = [f"{len(others)} image(s) not in {_FOLDS} left out: {others[0]}"] if others else []
    return _slice_set(root, f"figshare images, folds of {_FOLDS}", slices, notes)


def _slice_set(root: Path, layout: str, slices: list[SliceFile], notes: list[str]) -> SliceSet:
    return SliceSet(
        root=root,
        source="figshare",
        layout=layout,
        class_names=FIGSHARE_CLASSES,
        slices=tuple(sorted(slices, key=lambda file: file.slice_id)),
        notes=tuple(notes),
    )


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        lines = list(csv.reader(table.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read as a CSV table ({error})") from error
    header = [name.strip().lower() for name in lines[0]] if lines else []
    if set(_COLUMNS) - set(header):
        found = ", ".join(header) or "an empty file"
        raise InputError(f"{table}: expected columns {', '.join(_COLUMNS)}, found {found}")
    if not any(lines[1:]):
        raise InputError(f"{table}: the table has no rows; expected one for each file")
    for number, cells in enumerate(lines[1:], start=2):
        if cells:
            padded = [*cells, *[""] * (len(header) - len(cells))]
            yield number, dict(zip(header, padded, strict=False))


def _whole_number(
    table: Path, line: int, row: dict[str, str], column: str, least: int, most: int
) -> int:
    text = row[column].strip().removesuffix(".0")
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise InputError(
            f"{table}: line {line}: expected {column} {least} to {most}, found {row[column]!r}"
        )
    return int(text)


def _fold_of(path: Path, folds: np.ndarray, table: Path) -> int:
    number = int(path.stem) if path.stem.isascii() and path.stem.isdigit() else 0
    if not 1 <= number <= len(folds):
        raise InputError(
            f"{path}: expected a number from 1 to {len(folds)} as its name, whose fold "
            f"{table.name} tells; rename the file or take the table away"
        )
    return int(folds[number - 1])
