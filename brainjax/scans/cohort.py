"""Finds cases in the layouts that users have, and reads one case."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.scans import brats, msd
from brainjax.scans.labels import convention
from brainjax.scans.nifti import lps_affine, orientation, read_image, spacing_mm
from brainjax.scans.scan import MODALITIES, CaseFiles, Cohort, Grid, Volume

_SAME_MM = 1e-3
_CASES_TO_PEEK = 16


def find_cohort(
    root: str | os.PathLike[str],
    label_convention: str = "auto",
    *,
    modalities: Sequence[str] = MODALITIES,
) -> Cohort:
    """Finds all labelled cases below a folder, in any known layout.

    ``"auto"`` decides the label convention by the layout and the names of the
    cases; where these leave it open (BraTS 2023 or 2024), by the label values of
    up to 16 cases. Every case is checked against it when it is read.

    Args:
      root: folder of a BraTS or MSD Task01_BrainTumour data set.
      label_convention: a name in ``labels.CONVENTIONS``, or ``"auto"``.
      modalities: what every case must have.

    Raises:
      InputError: the folder is missing, empty or of no known layout, or a case is
        there twice, lacks a modality or labels, or has two files for one.
    """
    root = _folder(root)
    _check_modalities(modalities)
    if label_convention != "auto":
        convention(label_convention)
    try:
        above = root.absolute().parent
        if root.absolute().name in ("imagesTr", "labelsTr") and (above / "dataset.json").is_file():
            raise InputError(f"{root}: holds only a part of the data set; give {above}")
        task = msd.find_task(root)
        if task is not None:
            cases, layout = msd.find_training_cases(task, modalities=modalities)
        else:
            cases = brats.find_cases(root, modalities=modalities)
            layout = brats.describe(cases)
    except OSError as error:
        raise InputError(f"{root}: cannot be searched ({error})") from error
    if not cases:
        raise _unknown_layout(root)
    _check_labelled(root, cases)
    if label_convention == "auto":
        label_convention = _decide_convention(root, cases)
    cases = tuple(replace(case, label_convention=label_convention) for case in cases)
    return Cohort(root=root, layout=layout, label_convention=label_convention, cases=cases)


def find_cases_to_predict(
    paths: Sequence[str | os.PathLike[str]], *, modalities: Sequence[str] = MODALITIES
) -> tuple[CaseFiles, ...]:
    """Finds the cases that the user wants segmented; labels are not needed.

    Args:
      paths: the folder of a case, a folder of such folders, the files of a case
        (named by modality), an MSD task, its ``imagesTs`` or ``imagesTr``, or a 4D
        file of it; several of these are united.
      modalities: what every case must have.

    Returns:
      The cases sorted by case id, each with the label convention that its names suggest.

    Raises:
      InputError: a path is missing or no case, or a case is there twice, lacks a
        modality or has two files for one.
    """
    _check_modalities(modalities)
    if not paths:
        raise InputError("no path given: expected the folder of a case, its files, or a folder")
    cases: list[CaseFiles] = []
    files: list[Path] = []
    try:
        for path in map(Path, paths):
            if path.is_dir():
                cases += _cases_in_folder(_folder(path), modalities=modalities)
            elif not path.exists():
                raise InputError(f"{path}: no such file or folder")
            elif brats.is_named(path):
                files.append(path)
            elif not path.name.lower().endswith((".nii", ".nii.gz")):
                raise InputError(f"{path}: expected a folder or a file .nii or .nii.gz")
            else:
                cases += msd.find_unlabelled_cases(path, modalities=modalities)
    except OSError as error:
        raise InputError(f"{paths[0]}: cannot be searched ({error})") from error
    cases += brats.cases_from_files(files, modalities=modalities)
    unique: dict[str, CaseFiles] = {}
    for case in sorted(cases, key=lambda case: case.case_id):
        if case.case_id in unique:
            raise InputError(
                f"case {case.case_id} is there twice, as {_first_file(unique[case.case_id])} and "
                f"{_first_file(case)}; give one"
            )
        unique[case.case_id] = case
    return tuple(unique.values())


def read_volume(
    case: CaseFiles,
    *,
    modalities: Sequence[str] = MODALITIES,
    label_convention: str = "auto",
    with_labels: bool = True,
) -> Volume:
    """Reads one case into LPS order and checks that its files agree.

    All files must have the same shape and, to 0.001 mm in every entry, the same
    affine; the codes of qform and sform may differ.

    Args:
      case: what ``find_cohort`` or ``find_cases_to_predict`` found.
      modalities: the channels of the image, in order.
      label_convention: a name in ``labels.CONVENTIONS``, or ``"auto"`` for the case's own.
      with_labels: whether to read the ground truth.

    Raises:
      InputError: a modality or the labels are missing, a file cannot be read, is zero
        everywhere or lies on another grid, or a label value is not of the convention.
    """
    _check_modalities(modalities)
    meaning = convention(case.label_convention if label_convention == "auto" else label_convention)
    missing = [name for name in modalities if name not in case.images]
    if missing:
        raise InputError(
            f"case {case.case_id}: modality {', '.join(missing)} is missing, "
            f"found {', '.join(case.images)}"
        )
    if with_labels and case.labels is None:
        raise InputError(f"case {case.case_id} has no labels; expected a segmentation beside it")
    source = tuple(dict.fromkeys(case.images[name][0] for name in modalities))
    image: np.ndarray | None = None
    grid: Grid | None = None
    for path in source:
        channels = {
            index: case.images[name][1]
            for index, name in enumerate(modalities)
            if case.images[name][0] == path
        }
        values, own = _read_channels(path, case)
        if image is None or grid is None:
            grid = own
            image = np.empty((*values.shape[:3], len(modalities)), np.float32)
        _check_same_grid(path, own, source[0], grid)
        for index, channel in channels.items():
            image[..., index] = values if channel is None else values[..., channel]
            if not image[..., index].any():
                raise InputError(
                    f"{path}: modality {modalities[index]} is 0 everywhere, expected an image; "
                    f"replace the file or leave the case out"
                )
        del values
    assert image is not None
    assert grid is not None
    labels = None
    if with_labels and case.labels is not None:
        values, own = read_image(case.labels)
        _check_same_grid(case.labels, own, source[0], grid)
        labels = np.ascontiguousarray(meaning.to_classes(values, source=str(case.labels)))
        source = (*source, case.labels)
    affine = lps_affine(grid)
    return Volume(
        image=image,
        modalities=tuple(modalities),
        labels=labels,
        label_convention=meaning.name,
        affine=affine,
        spacing_mm=spacing_mm(affine),
        patient_id=case.patient_id,
        case_id=case.case_id,
        source=source,
        grid=grid,
    )


def _folder(root: str | os.PathLike[str]) -> Path:
    path = Path(root)
    try:
        if not any(not entry.name.startswith(".") for entry in path.iterdir()):
            raise InputError(f"{path}: the folder is empty")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such folder") from error
    except NotADirectoryError as error:
        raise InputError(f"{path}: expected a folder, found a file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be listed ({error.strerror})") from error
    return path


def _check_modalities(modalities: Sequence[str]) -> None:
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown or not modalities or len(set(modalities)) != len(modalities):
        raise InputError(
            f"modalities {list(modalities)}: expected different names of {list(MODALITIES)}"
        )


def _cases_in_folder(folder: Path, *, modalities: Sequence[str]) -> tuple[CaseFiles, ...]:
    task = msd.find_task(folder)
    if task is not None or msd.is_image_folder(folder):
        return msd.find_unlabelled_cases(task or folder, modalities=modalities)
    cases = brats.find_cases(folder, modalities=modalities)
    if cases:
        return cases
    if brats.unmatched_scans(folder):
        return msd.find_unlabelled_cases(folder, modalities=modalities)
    raise _unknown_layout(folder)


def _unknown_layout(root: Path) -> InputError:
    names = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    found = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    known = "; ".join((*brats.LAYOUTS, msd.LAYOUT))
    return InputError(f"{root}: no layout recognised; expected one of: {known}; found {found}")


def _check_labelled(root: Path, cases: Sequence[CaseFiles]) -> None:
    unlabelled = [case for case in cases if case.labels is None]
    if unlabelled:
        folder = _first_file(unlabelled[0]).parent
        others = brats.unmatched_scans(folder)
        hint = f", which holds {', '.join(others[:4])}" if others else ""
        raise InputError(
            f"{root}: {len(unlabelled)} of {len(cases)} cases have no segmentation (first: "
            f"{unlabelled[0].case_id} in {folder}{hint}); training expects a file _seg or -seg "
            f"in every case's folder"
        )


def _decide_convention(root: Path, cases: Sequence[CaseFiles]) -> str:
    names = sorted({case.label_convention for case in cases})
    meanings = {tuple(convention(name).values.items()) for name in names}
    if len(meanings) == 1 and names != ["brats2023"]:
        return names[-1]
    if set(names) == {"brats2023", "brats2024-gli"}:
        return "brats2024-gli"
    if names != ["brats2023"]:
        raise InputError(
            f"{root}: the names of the cases suggest different label conventions "
            f"({', '.join(names)}); give each data set by itself or set label_convention"
        )
    return _peek_2023_or_2024(cases)


def _peek_2023_or_2024(cases: Sequence[CaseFiles]) -> str:
    """BraTS 2024 added value 4, the resection cavity, to the values of BraTS 2023."""
    treated = convention("brats2024-gli")
    step = max(1, len(cases) // _CASES_TO_PEEK)
    for case in cases[::step][:_CASES_TO_PEEK]:
        if case.labels is None:
            continue
        values = np.unique(read_image(case.labels)[0])
        if treated.values["resection_cavity"] not in values:
            continue
        if "-GLI-" not in case.case_id.upper():
            raise InputError(
                f"{case.labels}: expected label values of brats2023, found 4, whose meaning in "
                f"this data set is not known; set label_convention if it is a resection cavity"
            )
        return treated.name
    return "brats2023"


def _first_file(case: CaseFiles) -> Path:
    return next(iter(case.images.values()))[0]


def _read_channels(path: Path, case: CaseFiles) -> tuple[np.ndarray, Grid]:
    """Reads `[D, H, W]`, or `[D, H, W, C]` of a file with channels."""
    channels = [channel for file, channel in case.images.values() if file == path]
    if channels == [None]:
        return read_image(path)
    values, grid = read_image(path, ndim=4)
    if values.shape[3] != len(channels):
        raise InputError(
            f"{path}: expected {len(channels)} channels ({', '.join(case.images)}), "
            f"found {values.shape[3]}"
        )
    return values, grid


def _check_same_grid(path: Path, grid: Grid, reference_path: Path, reference: Grid) -> None:
    if grid.shape != reference.shape:
        raise InputError(
            f"{path}: expected shape {reference.shape} as {reference_path.name}, "
            f"found {grid.shape}; the files of a case must be registered to each other"
        )
    if np.allclose(grid.affine, reference.affine, rtol=0, atol=_SAME_MM):
        return
    directions = orientation(grid.affine), orientation(reference.affine)
    if directions[0] != directions[1]:
        difference = f"orientation {directions[1]} as {reference_path.name}, found {directions[0]}"
    else:
        difference = (
            f"affine {_rows(reference.affine)} as {reference_path.name}, found {_rows(grid.affine)}"
        )
    raise InputError(
        f"{path}: expected {difference}; the files of a case must be registered to each other"
    )


def _rows(affine: np.ndarray) -> str:
    return str(np.round(affine[:3], 4).tolist())
