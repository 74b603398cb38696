"""Finds slices in the layouts that users have, and reads one slice."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from brainjax.errors import InputError
from brainjax.scans.dicom import is_dicom
from brainjax.scans.figshare import FIGSHARE_LAYOUT, find_figshare, is_figshare, is_mat
from brainjax.scans.figshare_mat import read_mat_slice
from brainjax.scans.image_file import FORMATS, image_format, read_image_file
from brainjax.scans.image_folder import (
    IMAGE_FOLDER_LAYOUT,
    find_image_folder,
    relative_id,
    visible_folders,
    walk_files,
)
from brainjax.scans.rsna import (
    RSNA_LAYOUT,
    SeriesOptions,
    find_rsna,
    find_series_to_predict,
    is_rsna,
)
from brainjax.scans.series_slice import read_series_slice
from brainjax.scans.slice import Slice, SliceFile, SliceSet

Finder = Callable[[Path, SeriesOptions | None], SliceSet]
"""Finds the labelled slices of one layout."""

SOURCES = MappingProxyType[str, Finder](
    {
        "rsna": find_rsna,
        "figshare": lambda root, options: find_figshare(root),
        "image_folder": lambda root, options: find_image_folder(root),
    }
)
"""The one place where the name of a source becomes a function."""

_LAYOUTS = {
    "rsna": RSNA_LAYOUT,
    "figshare": FIGSHARE_LAYOUT,
    "image_folder": IMAGE_FOLDER_LAYOUT,
}


def find_slices(
    root: str | os.PathLike[str], source: str = "auto", *, options: SeriesOptions | None = None
) -> SliceSet:
    """Finds all labelled slices below a folder, in any known layout.

    Args:
      root: folder of an RSNA-MICCAI or figshare data set, or of class folders.
      source: a name in `SOURCES`, or ``"auto"`` to tell it by the files.
      options: which slices are taken of DICOM series; other sources need none.

    Raises:
      InputError: the folder is missing, empty or of no known layout, or its files do not
        fit the layout.
    """
    root = Path(root)
    if source != "auto" and source not in SOURCES:
        raise InputError(f"source: expected one of auto, {', '.join(SOURCES)}, found {source!r}")
    visible_folders(root)
    try:
        name = _recognise(root) if source == "auto" else source
        found = SOURCES[name](root, options)
    except OSError as error:
        raise InputError(f"{root}: cannot be searched ({error.strerror or error})") from error
    _check_unique(found)
    return found


def find_slices_to_predict(
    paths: Sequence[str | os.PathLike[str]], *, options: SeriesOptions | None = None
) -> SliceSet:
    """Finds the slices that the user wants classified; labels are neither needed nor used.

    Args:
      paths: image files, ``.mat`` files, folders of either with folders in them, DICOM
        series, folders of a case with a series per modality, or folders of such cases;
        several are united, but only of one kind.
      options: which slices are taken of DICOM series, as in training.

    Returns:
      The set, without class names, whose root is the innermost folder that holds all.

    Raises:
      InputError: a path is missing, holds nothing to classify or two kinds of it, or is
        given twice.
    """
    if not paths:
        raise InputError("no path given: expected an image, a .mat file, a series or a folder")
    sets: list[SliceSet] = []
    try:
        for path in map(Path, paths):
            sets.append(_find_unlabelled(path, options))
    except OSError as error:
        raise InputError(f"{paths[0]}: cannot be searched ({error.strerror or error})") from error
    kinds = {found.source: path for found, path in zip(sets, paths, strict=True)}
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise InputError(
            f"{second}: expected the kind of {first} ({one}), found {other}; give one kind "
            f"at a time"
        )
    root = Path(os.path.commonpath([found.root.absolute() for found in sets]))
    slices = [
        replace(file, slice_id=_from(root, found, file)) for found in sets for file in found.slices
    ]
    united = SliceSet(
        root=root,
        source=sets[0].source,
        layout=sets[0].layout,
        class_names=(),
        slices=tuple(sorted(slices, key=lambda file: file.slice_id)),
        notes=tuple(dict.fromkeys(note for found in sets for note in found.notes)),
    )
    _check_unique(united)
    return united


def read_slice(file: SliceFile) -> Slice:
    """Reads one slice as uint8; equal files give equal pixels, from several threads as well.

    8-bit images keep their values. Images of more bits and ``.mat`` files are scaled from
    their least to their greatest value, DICOM series between two percentiles of the series.

    Raises:
      InputError: a file is missing, damaged or of no known kind.
    """
    path = file.files[0]
    if not path.exists():
        raise InputError(f"{path}: no such file; it was there when the data were searched")
    if len(file.files) > 1 or path.is_dir():
        return read_series_slice(file)
    if is_mat(path):
        return read_mat_slice(path, slice_id=file.slice_id)
    if is_dicom(path) and not image_format(path):
        return read_series_slice(file)
    return Slice(image=read_image_file(path), mask=None, slice_id=file.slice_id)


def _recognise(root: Path) -> str:
    if is_rsna(root):
        return "rsna"
    if is_figshare(root):
        return "figshare"
    entries = sorted(root.iterdir())
    if not visible_folders(root):
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
        found = ", ".join(names[:5]) or "an empty folder"
        known = "; ".join(_LAYOUTS.values())
        raise InputError(f"{root}: no layout recognised; expected one of: {known}; found {found}")
    return "image_folder"


def _find_unlabelled(path: Path, options: SeriesOptions | None) -> SliceSet:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_file():
        return _find_file(path, options)
    mats, series, images, others = _sort_files(path)
    if (mats or images) and series:
        raise InputError(
            f"{path}: expected one kind of file, found {(mats or images)[0].name} and DICOM "
            f"({series[0].name}); give their folders one at a time"
        )
    if series:
        return find_series_to_predict(path, options)
    if not mats and not images:
        raise InputError(f"{path}: nothing to classify; expected {_kinds()}")
    others += images if mats else []
    notes = [f"{path}: {len(others)} file(s) of another kind left out"] if others else []
    return SliceSet(
        root=path,
        source="figshare" if mats else "image_folder",
        layout="figshare .mat" if mats else "images",
        class_names=(),
        slices=tuple(
            SliceFile(slice_id=relative_id(file, path), files=(file,)) for file in mats or images
        ),
        notes=tuple(notes),
    )


def _sort_files(folder: Path) -> tuple[list[Path], list[Path], list[Path], list[Path]]:
    """The ``.mat`` files, DICOM files, images and other files below a folder."""
    mats: list[Path] = []
    series: list[Path] = []
    images: list[Path] = []
    others: list[Path] = []
    for path in walk_files(folder):
        if path.name.startswith("."):
            others.append(path)
        elif is_mat(path):
            mats.append(path)
        elif is_dicom(path):
            series.append(path)
        else:
            (images if image_format(path) else others).append(path)
    return mats, series, images, others


def _find_file(path: Path, options: SeriesOptions | None) -> SliceSet:
    if is_mat(path):
        source, layout = "figshare", "figshare .mat"
    elif image_format(path):
        source, layout = "image_folder", "images"
    elif is_dicom(path):
        return find_series_to_predict(path, options)
    else:
        raise InputError(f"{path}: expected {_kinds()}, found another kind of file")
    file = SliceFile(slice_id=relative_id(path, path.parent), files=(path,))
    return SliceSet(
        root=path.parent, source=source, layout=layout, class_names=(), slices=(file,), notes=()
    )


def _from(root: Path, found: SliceSet, file: SliceFile) -> str:
    """The id of a slice relative to a folder above its set's root."""
    above = found.root.absolute().relative_to(root).as_posix()
    return file.slice_id if above == "." else f"{above}/{file.slice_id}"


def _check_unique(found: SliceSet) -> None:
    seen: set[str] = set()
    for file in found.slices:
        if file.slice_id in seen:
            raise InputError(
                f"{found.root}: slice {file.slice_id} is there twice; give every path once"
            )
        seen.add(file.slice_id)


def _kinds() -> str:
    return f"an image ({', '.join(FORMATS)}), a figshare .mat file or DICOM series"
