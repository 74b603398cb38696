"""Folders of made-up data: complete or not there, reused when the arguments are equal."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.files import read_json, write_json

_MARKER = "phantom.json"
_STALE_SECONDS = 3600.0


def grow_folder(
    root: str | os.PathLike[str], wanted: dict[str, Any], write: Callable[[Path], None]
) -> Path:
    """Makes a folder by ``write``, unless one made for the same ``wanted`` is there.

    The folder appears at ``root`` when it is complete and not before; one made for other
    arguments is replaced. The file ``phantom.json`` in it tells what it was made for.

    Args:
      root: a folder that is new, empty, or made by this function.
      wanted: the arguments, as JSON holds them.
      write: fills the folder that it is given.

    Raises:
      InputError: ``root`` holds other files or cannot be written.
    """
    root = Path(root)
    if _is_complete(root, wanted):
        return root
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(root)
        growing = Path(tempfile.mkdtemp(prefix=f".{root.name}.writing-", dir=root.parent))
        try:
            write(growing)
            write_json(growing / _MARKER, {**wanted, "files": _sizes(growing)})
            growing.chmod(0o755)
            _put_in_place(growing, root, wanted)
        finally:
            shutil.rmtree(growing, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error.strerror or error})") from error
    return root


def _is_complete(root: Path, wanted: dict[str, Any]) -> bool:
    """Whether root holds what is wanted; refuses what was not made here."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise InputError(f"{root}: expected a folder for made-up data, found a file")
    found = _sizes(root)
    if not found:
        return False
    marker = read_json(root / _MARKER) if found.pop(_MARKER, None) is not None else {}
    files = marker.pop("files", {})
    if foreign := sorted(found.keys() - files.keys()):
        raise InputError(
            f"{root}: expected a new folder or made-up data, found {len(foreign)} other "
            f"file(s) such as {foreign[0]}; choose another folder"
        )
    return marker == wanted and found == files


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if not path.is_dir() and not path.name.startswith(".")
    }


def _put_in_place(growing: Path, root: Path, wanted: dict[str, Any]) -> None:
    if _is_complete(root, wanted):  # another process was quicker, and may be reading it
        return
    if root.exists():
        outgoing = Path(tempfile.mkdtemp(prefix=f".{root.name}.writing-", dir=root.parent))
        root.replace(outgoing)
        shutil.rmtree(outgoing, ignore_errors=True)
    try:
        growing.replace(root)
    except OSError:
        if not _is_complete(root, wanted):
            raise


def _remove_stale(root: Path) -> None:
    """Removes what runs that were killed more than an hour ago left beside root."""
    for left in root.parent.glob(f".{root.name}.writing-*"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
