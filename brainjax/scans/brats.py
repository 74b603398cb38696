"""The BraTS layouts: one file per modality, named by a suffix, one folder per case."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from brainjax.errors import InputError
from brainjax.scans.scan import MODALITIES, CaseFiles

SUFFIXES = {
    "flair": "flair",
    "t1ce": "t1ce",
    "t1gd": "t1ce",
    "t1": "t1",
    "t2": "t2",
    "t2f": "flair",
    "t1c": "t1ce",
    "t1n": "t1",
    "t2w": "t2",
    "seg": "seg",
}
"""How file names end, before ``.nii`` or ``.nii.gz``, and what that means."""

LAYOUTS = (
    "BraTS 2017-2020 (HGG|LGG/<case>/<case>_{flair,t1,t1ce,t2,seg}.nii[.gz], or without HGG|LGG)",
    "BraTS 2021 (BraTS2021_00000/BraTS2021_00000_{flair,t1,t1ce,t2,seg}.nii.gz)",
    "BraTS 2023/2024 (<case>/<case>-{t1n,t1c,t2w,t2f,seg}.nii.gz)",
)
"""The layouts in words, for errors."""

_DEPTH = 4
_FILE = re.compile(
    rf"(?:(?P<case>.+)[_-])?(?P<suffix>{'|'.join(SUFFIXES)})\.nii(?:\.gz)?", re.IGNORECASE
)
_ANY_NIFTI = re.compile(r".+\.nii(?:\.gz)?", re.IGNORECASE)
_FROM_2023 = {"t2f", "t1c", "t1n", "t2w"}
_TIME_POINT = re.compile(r"(?P<patient>BraTS-[A-Za-z]+-\d+)-(?P<time_point>\d{3})", re.IGNORECASE)
_YEARS = (
    (re.compile(r"brats(?:20)?17", re.IGNORECASE), "brats2017"),
    (re.compile(r"brats(?:20)?18", re.IGNORECASE), "brats2018"),
    (re.compile(r"brats(?:20)?19", re.IGNORECASE), "brats2019"),
    (re.compile(r"brats(?:20)?20_", re.IGNORECASE), "brats2020"),
    (re.compile(r"brats2021", re.IGNORECASE), "brats2021"),
)


def find_cases(root: Path, *, modalities: Sequence[str] = MODALITIES) -> tuple[CaseFiles, ...]:
    """Finds the cases in a folder and up to four levels below it.

    Args:
      root: a case's folder, or a folder above such folders.
      modalities: what every case must have.

    Returns:
      The cases, sorted by case id; none when no file is named as in BraTS.

    Raises:
      InputError: a case lacks a modality or has two files for one, or two folders
        hold the same case.
    """
    grades: dict[str, str] = {}
    groups: dict[str, list[Path]] = {}
    for folder, names in _walk(root, depth=_DEPTH):
        for name in names:
            if name.lower().startswith("name_mapping") and name.lower().endswith(".csv"):
                grades.update(_read_grades(folder / name))
        for case_id, files in _group([folder / name for name in names]).items():
            if case_id in groups:
                raise InputError(
                    f"case {case_id} is there twice, in {groups[case_id][0].parent} and {folder}; "
                    f"remove or rename one"
                )
            groups[case_id] = files
    return tuple(
        _case(
            case_id,
            groups[case_id],
            modalities=modalities,
            grade=_grade_of(groups[case_id][0].parent) or grades.get(case_id.lower(), ""),
        )
        for case_id in sorted(groups)
    )


def cases_from_files(
    files: Sequence[Path], *, modalities: Sequence[str] = MODALITIES
) -> tuple[CaseFiles, ...]:
    """Puts files whose names say case and modality together to cases.

    Args:
      files: three-dimensional NIfTI files, each named as ``is_named`` expects.
      modalities: what every case must have.

    Returns:
      The cases, sorted by case id.

    Raises:
      InputError: a case lacks a modality or has two files for one.
    """
    groups = _group(files)
    return tuple(
        _case(case_id, groups[case_id], modalities=modalities, grade="")
        for case_id in sorted(groups)
    )


def describe(cases: Sequence[CaseFiles]) -> str:
    """The layout of cases in words."""
    conventions = {case.label_convention for case in cases}
    words = []
    if conventions & {"brats2017", "brats2018", "brats2019", "brats2020"}:
        graded = any(case.grade for case in cases)
        words.append("BraTS 2017-2020" + (" with grades (HGG, LGG)" if graded else ""))
    if "brats2021" in conventions:
        words.append("BraTS 2021")
    if conventions & {"brats2023", "brats2024-gli"}:
        words.append("BraTS 2023/2024")
    return " and ".join(words)


def is_named(path: Path) -> bool:
    """Whether a file's name says its modality."""
    return _FILE.fullmatch(path.name) is not None


def known_suffixes() -> str:
    """The suffixes in words, for errors."""
    return "_flair|_t1ce|_t1|_t2|_seg or -t2f|-t1c|-t1n|-t2w|-seg"


def unmatched_scans(folder: Path) -> list[str]:
    """Names of NIfTI files directly in a folder that say no modality."""
    return [
        path.name
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and _ANY_NIFTI.fullmatch(path.name) and not is_named(path)
    ]


def _case(
    case_id: str, files: Sequence[Path], *, modalities: Sequence[str], grade: str
) -> CaseFiles:
    by_kind: dict[str, list[Path]] = {}
    suffixes = {path: _suffix(path) for path in sorted(files)}
    for path, suffix in suffixes.items():
        by_kind.setdefault(SUFFIXES[suffix], []).append(path)
    for kind, paths in by_kind.items():
        if len(paths) > 1:
            raise InputError(
                f"case {case_id} in {paths[0].parent}: two files for {kind}: "
                f"{', '.join(path.name for path in paths)}; keep one"
            )
    missing = [name for name in modalities if name not in by_kind]
    if missing:
        found = [name for name in (*MODALITIES, "seg") if name in by_kind]
        raise InputError(
            f"case {case_id} in {files[0].parent}: modality {', '.join(missing)} is missing, "
            f"found {', '.join(found)}{_other_files(files)}; expected names that end in "
            f"{known_suffixes()}"
        )
    time_point = _TIME_POINT.fullmatch(case_id)
    return CaseFiles(
        case_id=case_id,
        patient_id=time_point["patient"] if time_point else case_id,
        images={name: (by_kind[name][0], None) for name in MODALITIES if name in by_kind},
        labels=by_kind["seg"][0] if "seg" in by_kind else None,
        label_convention=_guess_convention(case_id, set(suffixes.values())),
        grade=grade,
    )


def _walk(root: Path, *, depth: int) -> Iterator[tuple[Path, list[str]]]:
    """Yields every folder with its names; a folder named like a scan counts as a name."""
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error.strerror})") from error
    folders: list[Path] = []
    names: list[str] = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not _ANY_NIFTI.fullmatch(entry.name):
            folders.append(entry)
        else:
            names.append(entry.name)
    yield root, names
    if depth:
        for folder in folders:
            yield from _walk(folder, depth=depth - 1)


def _group(files: Sequence[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in files:
        match = _FILE.fullmatch(path.name)
        if match:
            groups.setdefault(match["case"] or path.absolute().parent.name, []).append(path)
    return groups


def _suffix(path: Path) -> str:
    match = _FILE.fullmatch(path.name)
    return match["suffix"].lower() if match else ""


def _other_files(files: Collection[Path]) -> str:
    others = sorted({name for path in files for name in unmatched_scans(path.parent)})
    return f" (and {', '.join(others[:4])}, whose names say no modality)" if others else ""


def _guess_convention(case_id: str, suffixes: set[str]) -> str:
    if suffixes & _FROM_2023:
        match = _TIME_POINT.fullmatch(case_id)
        # BraTS 2024's treated gliomas are the only cases with time points from 100 on.
        treated = match is not None and int(match["time_point"]) >= 100
        return "brats2024-gli" if treated else "brats2023"
    for pattern, name in _YEARS:
        if pattern.match(case_id):
            return name
    return "brats2020"


def _grade_of(folder: Path) -> str:
    parts = [part.upper() for part in folder.absolute().parts[-2:]]
    return next((part for part in reversed(parts) if part in ("HGG", "LGG")), "")


def _read_grades(path: Path) -> dict[str, str]:
    """Case id in lower case to grade, from any column of a ``name_mapping.csv``."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    grades = {}
    try:
        for row in csv.DictReader(text.splitlines()):
            grade = str(row.get("Grade") or "").strip().upper()
            if grade in ("HGG", "LGG"):
                for value in row.values():
                    grades[str(value).strip().lower()] = grade
    except csv.Error as error:
        raise InputError(f"{path}: expected comma-separated text ({error})") from error
    return grades
