"""Slices as image files in one folder per class, with or without folders for the parts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from brainjax.errors import InputError
from brainjax.scans.image_file import image_format
from brainjax.scans.slice import SliceFile, SliceSet

IMAGE_FOLDER_LAYOUT = (
    "image folder (Training/<class>/<image>, Testing/<class>/<image>, or <class>/<image>)"
)
"""The layout in words, for errors."""

PARTS = {
    "training": "train",
    "train": "train",
    "validation": "val",
    "valid": "val",
    "val": "val",
    "testing": "test",
    "test": "test",
}
"""Folder names in lower case that stand for a part."""

_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")
_DEPTH = 3


def find_image_folder(root: str | os.PathLike[str]) -> SliceSet:
    """Finds the images below a folder; the folder that holds them names their class.

    Known are folders for the parts in any case (``Training`` and ``Testing``, ``TRAIN``,
    ``VAL`` and ``TEST``), each with the same class folders, or class folders alone. Class
    folders may have folders in them. A folder that holds nothing but one other folder is
    looked into. Classes are numbered in the sorted order of their names. Images are told
    by their first bytes; other files are left out and counted in the notes.

    Raises:
      InputError: the folder is missing or of another layout, the parts have different
        classes, a class of the training part has no image, or there is only one class.
    """
    root = Path(root)
    top = _descend(root)
    parts = _part_folders(top)
    notes: list[str] = []
    left_out: list[str] = []
    if parts:
        strays = [path for path in visible_folders(top) if path not in parts]
        notes += [_count("folder", strays, root, "beside the parts left out")] if strays else []
        classes = {folder: visible_folders(folder) for folder in parts}
        for folder in [folder for folder, below in classes.items() if not below]:
            notes.append(f"{_relative(folder, root)}: has no class folders, left out")
            del parts[folder], classes[folder]
    else:
        parts, classes = {top: ""}, {top: visible_folders(top)}
    class_names = _same_classes(root, classes)
    slices: list[SliceFile] = []
    for folder, part in parts.items():
        loose = [path for path in _files(folder) if image_format(path)]
        if loose:
            notes.append(_count("image", loose, root, "beside the class folders left out"))
        for label, below in enumerate(classes[folder]):
            images, others = find_images(below)
            left_out += [_relative(path, root) for path in others]
            if not images:
                found = _count("file", others, root, "that are no images") if others else "none"
                message = f"{below}: expected images of class {below.name}, found {found}"
                if part in ("", "train"):
                    raise InputError(f"{message}; fill the folder or remove it")
                notes.append(message)
            slices += [
                SliceFile(slice_id=relative_id(path, root), label=label, part=part, files=(path,))
                for path in images
            ]
    if left_out:
        notes.append(_count("file", left_out, root, "that are no images left out"))
    return SliceSet(
        root=root,
        source="image_folder",
        layout=_in_words(top, parts),
        class_names=class_names,
        slices=tuple(sorted(slices, key=lambda file: file.slice_id)),
        notes=tuple(notes),
    )


def find_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Sorts all files below a folder into images and others; hidden ones are others.

    Raises:
      InputError: a folder cannot be listed, or an entry leads nowhere.
    """
    images: list[Path] = []
    others: list[Path] = []
    for path in walk_files(folder):
        (others if _is_hidden(path.name) or not image_format(path) else images).append(path)
    return images, others


def walk_files(folder: Path) -> Iterator[Path]:
    """Yields all files below a folder in sorted order, but those of hidden folders.

    Raises:
      InputError: a folder cannot be listed, or an entry leads nowhere.
    """

    def stop(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be listed ({error.strerror})") from error

    for here, folders, names in os.walk(folder, onerror=stop):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for name in sorted(names):
            path = Path(here, name)
            if path.is_file():
                yield path
            elif not path.exists():
                raise InputError(f"{path}: is a link that leads nowhere; mend or remove it")


def visible_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, but hidden ones.

    Raises:
      InputError: the folder is missing or cannot be listed.
    """
    return [path for path in _entries(folder) if path.is_dir() and not _is_hidden(path.name)]


def relative_id(path: Path, root: Path) -> str:
    """The path below ``root`` with forward slashes.

    Raises:
      InputError: the name is not text, so that it could not be written to a table.

    >>> relative_id(Path("set/Training/glioma/1.jpg"), Path("set"))
    'Training/glioma/1.jpg'
    """
    name = path.relative_to(root).as_posix()
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{name!r} in {root}: the name is not UTF-8; rename the file") from error
    return name


def _descend(root: Path) -> Path:
    """Goes down while a folder holds one folder alone, as an unpacked archive often does."""
    top = root
    for _ in range(_DEPTH):
        folders = visible_folders(top)
        if len(folders) != 1 or folders[0].name.lower() in PARTS:
            break
        if not visible_folders(folders[0]) or any(image_format(path) for path in _files(top)):
            break
        top = folders[0]
    return top


def _part_folders(top: Path) -> dict[Path, str]:
    parts = {path: PARTS[path.name.lower()] for path in visible_folders(top)
             if path.name.lower() in PARTS}  # fmt: skip
    for part in set(parts.values()):
        names = [path.name for path, its in parts.items() if its == part]
        if len(names) > 1:
            raise InputError(
                f"{top}: expected one folder for the part {part}, found {' and '.join(names)}"
            )
    order = ("train", "val", "test")
    return dict(sorted(parts.items(), key=lambda item: order.index(item[1])))


def _same_classes(root: Path, classes: dict[Path, list[Path]]) -> tuple[str, ...]:
    """The class names, after a check that every part has the same ones."""
    names = {folder: tuple(path.name for path in below) for folder, below in classes.items()}
    if not any(names.values()):
        found = ", ".join(path.name for path in _entries(root)[:5]) or "an empty folder"
        raise InputError(
            f"{root}: no layout recognised; expected an {IMAGE_FOLDER_LAYOUT}; found {found}"
        )
    first, expected = next(iter(names.items()))
    for folder, found_names in names.items():
        if found_names != expected:
            raise InputError(
                f"{folder}: expected the classes of {first.name} ({', '.join(expected)}), "
                f"found {', '.join(found_names)}; every part needs the same class folders"
            )
    if len(expected) < 2:
        raise InputError(
            f"{first}: expected two class folders or more, found {expected[0]} alone; "
            f"give the folder above it if the classes lie there"
        )
    return expected


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no such folder") from error
    except NotADirectoryError as error:
        raise InputError(f"{folder}: expected a folder, found a file") from error
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error


def _files(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_file() and not _is_hidden(path.name)]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _count(noun: str, paths: Sequence[Path | str], root: Path, what: str) -> str:
    """Such as "2 files that are no images left out: Training/a/notes.txt, ..."."""
    names = [_relative(path, root) if isinstance(path, Path) else path for path in paths]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} {noun}{'s' * (len(names) != 1)} {what}: {', '.join(names[:3])}{more}"


def _in_words(top: Path, parts: Iterable[Path]) -> str:
    names = [path.name for path in parts if path != top]
    return f"image folder ({' and '.join(names)})" if names else "image folder (class folders)"
