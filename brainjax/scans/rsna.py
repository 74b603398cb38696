"""The RSNA-MICCAI 2021 layout: DICOM series by case and modality, and a table of labels."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from brainjax.errors import InputError
from brainjax.scans.dicom import count_slices, is_dicom
from brainjax.scans.dicom_order import name_key
from brainjax.scans.series_slice import count_pictures
from brainjax.scans.slice import SliceFile, SliceSet

RSNA_MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")
"""The folders of a case."""

RSNA_CLASSES = ("unmethylated", "methylated")
"""What 0 and 1 in the column MGMT_value mean."""

RSNA_LAYOUT = "RSNA-MICCAI (train/<case>/{FLAIR,T1w,T1wCE,T2w}/Image-<n>.dcm, train_labels.csv)"
"""The layout in words, for errors."""

_LABELS = "train_labels.csv"
_COLUMNS = ("BraTS21ID", "MGMT_value")
_VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
_DEPTH = 3


@dataclass(frozen=True, kw_only=True)
class SeriesOptions:
    """How slices are taken from the series of a case.

    ``channels="stacked"`` takes one slice of each of ``modalities`` at the same relative
    position and makes them the channels of one image; ``"single"`` takes each slice of
    each modality as a grey image of its own. ``slices_per_series`` evenly spaced slices
    that are not empty are taken of a series, with repetitions where fewer are not empty;
    0 takes each of them once, for which the first series of each case (``"single"``: every
    series) is read to count, about a second per series. ``excluded_cases`` are those that
    the challenge tells to leave out.
    """

    modalities: tuple[str, ...] = ("FLAIR", "T1wCE", "T2w")
    channels: str = "stacked"
    slices_per_series: int = 16
    excluded_cases: tuple[str, ...] = ("00109", "00123", "00709")

    def __post_init__(self) -> None:
        names = self.modalities
        if not names or len(set(names)) != len(names) or set(names) - set(RSNA_MODALITIES):
            raise InputError(
                f"modalities {list(names)}: expected different names of {list(RSNA_MODALITIES)}"
            )
        if self.channels not in ("stacked", "single"):
            raise InputError(f"channels: expected 'stacked' or 'single', found {self.channels!r}")
        if self.slices_per_series < 0:
            raise InputError(
                f"slices_per_series: expected 0 (all) or more, found {self.slices_per_series}"
            )


def is_rsna(root: str | os.PathLike[str]) -> bool:
    """Whether a folder looks like the challenge's: a table of labels beside ``train``."""
    root = Path(root)
    return (root / _LABELS).is_file() or (
        (root / "train").is_dir() and any(_cases(root / "train", required=False))
    )


def find_rsna(root: str | os.PathLike[str], options: SeriesOptions | None = None) -> SliceSet:
    """Finds the labelled slices of the RSNA-MICCAI 2021 challenge.

    Only folders are listed, unless all slices are asked for. Cases that are excluded, lack
    a label or a series, and labels without a case are left out and told in the notes, as
    is the number of unlabelled cases in ``test``.

    Args:
      root: the folder that holds ``train`` and ``train_labels.csv``.
      options: which slices; by default `SeriesOptions()`.

    Raises:
      InputError: the folder or the table is missing or malformed, a case is there twice, a
        label is neither 0 nor 1, or no case remains.
    """
    root = Path(root)
    options = SeriesOptions() if options is None else options
    train = root / "train"
    if not train.is_dir():
        above = root.absolute().parent
        known = root.absolute().name == "train" and (above / _LABELS).is_file()
        hint = f"; give {above}" if known else f"; expected {RSNA_LAYOUT}"
        raise InputError(f"{root}: has no folder train{hint}")
    labels = read_rsna_labels(root / _LABELS)
    folders = _unique_cases(train)
    excluded = {_case_id(name) for name in options.excluded_cases}
    slices: list[SliceFile] = []
    lacking: dict[str, list[str]] = {}
    for case in sorted(folders.keys() & labels.keys() - excluded):
        missing = [name for name in options.modalities if not _is_series(folders[case] / name)]
        if missing:
            lacking[case] = missing
            continue
        slices += _slices_of_case(case, folders[case], options.modalities, options, labels[case])
    notes = [
        _listed("case", sorted(excluded & (folders.keys() | labels.keys())), "left out on request"),
        _listed("label", sorted(labels.keys() - folders.keys() - excluded), "without a folder"),
        _listed("case", sorted(folders.keys() - labels.keys() - excluded), "without a label"),
        _listed("case", [f"{k} ({', '.join(v)})" for k, v in lacking.items()], "without a series"),
    ]
    tested = sum(1 for _ in _cases(root / "test", required=False))
    if tested:
        notes.append(f"test: {tested} {_plural('case', tested)} without labels, not taken")
    notes = [note for note in notes if note]
    if not slices:
        told = "; ".join(notes) or "train has no cases"
        raise InputError(f"{root}: no labelled case remains ({told}); expected {RSNA_LAYOUT}")
    return SliceSet(
        root=root,
        source="rsna",
        layout=f"RSNA-MICCAI 2021, {_in_words(options)}",
        class_names=RSNA_CLASSES,
        slices=tuple(sorted(slices, key=lambda file: file.slice_id)),
        notes=tuple(notes),
    )


def find_series_to_predict(
    path: str | os.PathLike[str], options: SeriesOptions | None = None
) -> SliceSet:
    """Finds slices to predict, without labels.

    Args:
      path: one DICOM file, the folder of one series, the folder of a case (with a folder
        per modality), or a folder of up to three levels above such folders.
      options: which slices; excluded cases are not left out. A series by itself gives
        grey images; with ``options`` that stack several modalities it is refused.

    Raises:
      InputError: there is no series, or a case lacks one that is stacked.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    slices = list(_unlabelled(path, path.absolute().parent, options, depth=_DEPTH))
    if not slices:
        raise InputError(
            f"{path}: no DICOM series found; expected a series, a case with folders "
            f"{', '.join(RSNA_MODALITIES)}, or a folder of cases"
        )
    return SliceSet(
        root=path.absolute().parent,
        source="rsna",
        layout=f"DICOM series, {_in_words(options or SeriesOptions())}",
        class_names=(),
        slices=tuple(sorted(slices, key=lambda file: file.slice_id)),
        notes=(),
    )


def read_rsna_labels(path: str | os.PathLike[str]) -> dict[str, int]:
    """Reads ``train_labels.csv``: labels 0 or 1 by case, ids with their leading zeros.

    Raises:
      InputError: the table is missing or malformed, or an id is there twice.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected columns {', '.join(_COLUMNS)}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV table ({error})") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if set(_COLUMNS) - set(header):
        found = ", ".join(header) or "an empty file"
        raise InputError(f"{path}: expected columns {', '.join(_COLUMNS)}, found {found}")
    id_column, value_column = (header.index(name) for name in _COLUMNS)
    labels: dict[str, int] = {}
    lines: dict[str, int] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        cells = [cell.strip() for cell in row] + [""] * len(header)
        case, value = _case_id(cells[id_column]), cells[value_column]
        if not re.fullmatch(r"\d{5}", case):
            raise InputError(
                f"{path}: line {line}: expected a case number, found {cells[id_column]!r}"
            )
        if value not in _VALUES:
            raise InputError(f"{path}: line {line}: expected {_COLUMNS[1]} 0 or 1, found {value!r}")
        if case in labels:
            raise InputError(
                f"{path}: line {line}: case {case} is there twice, first in line {lines[case]}"
            )
        labels[case], lines[case] = _VALUES[value], line
    if not labels:
        raise InputError(f"{path}: the table has no rows; expected a label for each case")
    return labels


def _case_id(name: str) -> str:
    """Restores the leading zeros that readers of numbers drop: "9" and "9.0" are "00009"."""
    number = re.fullmatch(r"(\d{1,5})(?:\.0)?", name.strip())
    return number.group(1).zfill(5) if number else name.strip()


def _cases(folder: Path, *, required: bool) -> Iterator[Path]:
    """The folders below ``folder`` that have a folder of a known modality."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        if required:
            raise InputError(f"{folder}: cannot be listed ({error.strerror or error})") from error
        return
    for entry in entries:
        if not entry.name.startswith(".") and entry.is_dir() and _modalities(entry):
            yield entry


def _modalities(folder: Path) -> tuple[str, ...]:
    return tuple(name for name in RSNA_MODALITIES if (folder / name).is_dir())


def _unique_cases(train: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for folder in _cases(train, required=True):
        case = _case_id(folder.name)
        if case in folders:
            raise InputError(
                f"{train}: case {case} is there twice, as {folders[case].name} and {folder.name}"
            )
        folders[case] = folder
    return folders


def _is_series(folder: Path) -> bool:
    """Whether DICOM files lie in a folder; stops at the first."""
    try:
        with os.scandir(folder) as entries:
            return any(is_dicom(Path(entry.path)) for entry in entries if entry.is_file())
    except OSError:
        return False


def _slices_of_case(
    case: str,
    folder: Path,
    modalities: tuple[str, ...],
    options: SeriesOptions,
    label: int | None,
    *,
    prefix: str = "",
) -> Iterator[SliceFile]:
    groups = [modalities] if options.channels == "stacked" else [(name,) for name in modalities]
    for group in groups:
        files = tuple(folder / name for name in group)
        yield from _slices_of_series(
            f"{prefix}{case}/{'+'.join(group)}", files, options, patient_id=case, label=label
        )


def _slices_of_series(
    name: str,
    files: tuple[Path, ...],
    options: SeriesOptions,
    *,
    patient_id: str,
    label: int | None,
) -> Iterator[SliceFile]:
    wanted = options.slices_per_series
    count = count_slices(files[0], enough=wanted) if wanted else count_pictures(files[0])
    width = max(2, len(str(count - 1)))
    for index in range(count):
        yield SliceFile(
            slice_id=f"{name}/{index:0{width}d}",
            patient_id=patient_id,
            label=label,
            part="",
            fold=0,
            files=files,
            position=(index + 0.5) / count,
        )


def _unlabelled(
    path: Path, root: Path, options: SeriesOptions | None, *, depth: int
) -> Iterator[SliceFile]:
    chosen = SeriesOptions() if options is None else options
    name = path.absolute().relative_to(root).as_posix()
    if is_dicom(path) if path.is_file() else _is_series(path):
        if options is not None and options.channels == "stacked" and len(options.modalities) > 1:
            raise InputError(
                f"{path}: is one series, expected the folder of a case with "
                f"{', '.join(options.modalities)}, which are the channels"
            )
        yield from _slices_of_series(name, (path,), chosen, patient_id=path.name, label=None)
    elif path.is_dir() and _modalities(path):
        present = tuple(name for name in chosen.modalities if _is_series(path / name))
        if not present or (chosen.channels == "stacked" and present != chosen.modalities):
            raise InputError(
                f"{path}: expected series {', '.join(chosen.modalities)}, found "
                f"{', '.join(present) or ', '.join(_modalities(path))}"
            )
        prefix = name[: -len(path.absolute().name)]
        case = _case_id(path.absolute().name)
        yield from _slices_of_case(case, path, present, chosen, None, prefix=prefix)
    elif path.is_dir() and depth:
        for entry in sorted(path.iterdir(), key=name_key):
            if entry.is_dir() and not entry.name.startswith("."):
                yield from _unlabelled(entry, root, options, depth=depth - 1)


def _in_words(options: SeriesOptions) -> str:
    count = options.slices_per_series or "all"
    how = "stacked as channels" if options.channels == "stacked" else "as grey images"
    return f"{', '.join(options.modalities)} {how}, {count} slices of each series"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _listed(noun: str, names: Iterable[str], what: str) -> str:
    names = list(names)
    if not names:
        return ""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names)} {_plural(noun, len(names))} {what}: {', '.join(names[:5])}{more}"
