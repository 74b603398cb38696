"""The layout of the Medical Segmentation Decathlon's Task01_BrainTumour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.files import read_json
from brainjax.scans.scan import MODALITIES, CaseFiles

LAYOUT = "MSD Task01_BrainTumour (dataset.json, imagesTr/<case>.nii.gz, labelsTr/<case>.nii.gz)"
"""The layout in words, for errors."""

_MODALITY_NAMES = {
    "flair": "flair",
    "t1gd": "t1ce",
    "t1ce": "t1ce",
    "t1c": "t1ce",
    "t1w": "t1",
    "t1": "t1",
    "t2w": "t2",
    "t2": "t2",
}
_TISSUE_WORDS = (
    ("non-enhancing", "necrosis"),
    ("necro", "necrosis"),
    ("edema", "oedema"),
    ("oedema", "oedema"),
    ("enhancing", "enhancing"),
    ("background", "background"),
)
_IMAGE_FOLDERS = ("imagesTr", "imagesTs")


def find_task(root: Path) -> Path | None:
    """Finds the task's folder: ``root`` itself or one directly below it.

    Raises:
      InputError: several tasks lie below ``root``.
    """
    if _is_task(root):
        return root
    tasks = [child for child in sorted(root.iterdir()) if child.is_dir() and _is_task(child)]
    if len(tasks) > 1:
        raise InputError(
            f"{root}: holds several tasks ({', '.join(task.name for task in tasks)}); "
            f"give the folder of one"
        )
    return tasks[0] if tasks else None


def find_training_cases(
    task: Path, *, modalities: Sequence[str] = MODALITIES
) -> tuple[tuple[CaseFiles, ...], str]:
    """Finds the labelled cases of a task.

    Args:
      task: the folder with ``dataset.json``.
      modalities: what ``dataset.json`` must name.

    Returns:
      The cases sorted by case id, and the layout in words, which says so when
      ``dataset.json`` lists cases that are not on disk.

    Raises:
      InputError: there is no usable ``dataset.json``, no image, or an image has no labels.
    """
    description = _description(task)
    _check_label_names(description, task)
    cases = _cases(task / "imagesTr", description, modalities=modalities)
    unlabelled = [case.case_id for case in cases if case.labels is None]
    if unlabelled:
        raise InputError(
            f"{task}: {len(unlabelled)} of {len(cases)} images have no file in labelsTr "
            f"(first: {unlabelled[0]}); training needs labels"
        )
    listed = description.get("training")
    layout = f"MSD {task.absolute().name}"
    if isinstance(listed, list) and len(listed) > len(cases):
        layout += f", {len(cases)} on disk of {len(listed)} that dataset.json lists"
    return cases, layout


def find_unlabelled_cases(
    path: Path, *, modalities: Sequence[str] = MODALITIES
) -> tuple[CaseFiles, ...]:
    """Finds the cases to predict in a task, in its image folder, or the case of one image file.

    Of a whole task these are the cases of ``imagesTs``, or of ``imagesTr`` if there are none.

    Raises:
      InputError: no ``dataset.json`` above the images says what the channels are, or there
        is no image.
    """
    if _is_task(path):
        folders = [path / name for name in ("imagesTs", "imagesTr") if _scans(path / name)]
        if not folders:
            raise InputError(f"{path}: imagesTs and imagesTr hold no .nii or .nii.gz file")
        return _cases(folders[0], _description(path), modalities=modalities)
    folder = path if path.is_dir() else path.absolute().parent
    for parent in (folder.absolute(), folder.absolute().parent):
        if (parent / "dataset.json").is_file():
            description = _description(parent)
            break
    else:
        raise InputError(
            f"{path}: neither a name says the modality, as in <case>_flair.nii.gz, nor does a "
            f"dataset.json in {folder} or above name the channels of a 4D image; rename the files "
            f"or add the dataset.json of the Medical Segmentation Decathlon"
        )
    cases = _cases(folder, description, modalities=modalities)
    if path.is_dir():
        return cases
    return tuple(case for case in cases if _source(case).name == path.name)


def is_image_folder(path: Path) -> bool:
    """Whether a folder is a task, or holds a task's images."""
    return path.is_dir() and (_is_task(path) or path.absolute().name in _IMAGE_FOLDERS)


def _is_task(path: Path) -> bool:
    return any((path / name).is_dir() for name in _IMAGE_FOLDERS)


def _cases(
    folder: Path, description: Mapping[str, Any], *, modalities: Sequence[str]
) -> tuple[CaseFiles, ...]:
    channels = _channels(description, folder.absolute().parent, modalities=modalities)
    scans = _scans(folder)
    if not scans:
        raise InputError(f"{folder}: expected .nii or .nii.gz files, found none")
    labels = {_stem(path): path for path in _scans(folder.absolute().parent / "labelsTr")}
    cases: dict[str, CaseFiles] = {}
    for path in scans:
        case_id = _stem(path)
        if case_id in cases:
            raise InputError(
                f"{folder}: two files for case {case_id}: {_source(cases[case_id]).name} and "
                f"{path.name}; keep one"
            )
        cases[case_id] = CaseFiles(
            case_id=case_id,
            patient_id=case_id,
            images={name: (path, channels[name]) for name in MODALITIES if name in channels},
            labels=labels.get(case_id),
            label_convention="msd-task01",
        )
    return tuple(cases[case_id] for case_id in sorted(cases))


def _description(task: Path) -> Mapping[str, Any]:
    path = task / "dataset.json"
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, but it is needed: its 'modality' names the channels of the "
            f"images beside it"
        )
    description = read_json(path)
    if not isinstance(description, dict) or not isinstance(description.get("modality"), dict):
        keys = sorted(description) if isinstance(description, dict) else description
        raise InputError(
            f"{path}: expected an object with 'modality', as in the Medical Segmentation "
            f"Decathlon, found {str(keys)[:200]}"
        )
    return description


def _channels(
    description: Mapping[str, Any], task: Path, *, modalities: Sequence[str]
) -> dict[str, int]:
    channels: dict[str, int] = {}
    for key, value in description["modality"].items():
        name = _MODALITY_NAMES.get(str(value).strip().lower())
        if name is None or not str(key).isdecimal():
            raise InputError(
                f"{task / 'dataset.json'}: modality {key}: {value!r} is not known; expected "
                f"channel numbers and FLAIR, T1w, T1gd, T2w"
            )
        if name in channels:
            raise InputError(
                f"{task / 'dataset.json'}: two channels, {channels[name]} and {key}, are {name}"
            )
        channels[name] = int(key)
    missing = [name for name in modalities if name not in channels]
    if missing:
        raise InputError(
            f"{task / 'dataset.json'}: modality {', '.join(missing)} is missing, "
            f"found {', '.join(channels)}"
        )
    return channels


def _check_label_names(description: Mapping[str, Any], task: Path) -> None:
    """Refuses a task whose label names contradict those of Task01_BrainTumour."""
    expected = {0: "background", 1: "oedema", 2: "necrosis", 3: "enhancing"}
    labels = description.get("labels")
    if not isinstance(labels, dict):
        return
    for value, name in labels.items():
        tissue = next((t for word, t in _TISSUE_WORDS if word in str(name).lower()), None)
        known = expected.get(int(value)) if str(value).isdecimal() else None
        if tissue is not None and tissue != known:
            raise InputError(
                f"{task / 'dataset.json'}: label {value} is {name!r}, expected 1 edema, "
                f"2 non-enhancing tumor, 3 enhancing tumour, as in Task01_BrainTumour"
            )


def _scans(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith((".nii", ".nii.gz")) and not path.name.startswith(".")
    ]


def _stem(path: Path) -> str:
    return path.name[: path.name.lower().rindex(".nii")]


def _source(case: CaseFiles) -> Path:
    return next(iter(case.images.values()))[0]
