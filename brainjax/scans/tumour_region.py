"""Where the tumour is in a slice: a mask of its ``.mat`` file, or a box of ``boxes.csv``."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.scans.figshare import is_mat
from brainjax.scans.figshare_mat import read_mat_slice
from brainjax.scans.slice import SliceFile

BOXES = "boxes.csv"
_COLUMNS = ("file", "x_center", "y_center", "width", "height")

Box = tuple[float, float, float, float]
"""Centre (column, row) and size (width, height) as shares of the image."""


def read_boxes(root: str | os.PathLike[str]) -> dict[str, list[Box]]:
    """Reads ``boxes.csv`` of a folder: slice id to its boxes; nothing where there is no table.

    Raises:
      InputError: the table cannot be read, lacks a column, or holds something else than
        shares of an image.
    """
    table = Path(root) / BOXES
    if not table.is_file():
        return {}
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read as a CSV table ({error})") from error
    found: dict[str, list[Box]] = {}
    for line, row in enumerate(rows, start=2):
        missing = [name for name in _COLUMNS if row.get(name) is None]
        if missing:
            raise InputError(
                f"{table}: line {line}: expected columns {', '.join(_COLUMNS)}, "
                f"{', '.join(missing)} is missing"
            )
        try:
            x, y, width, height = (float(row[name]) for name in _COLUMNS[1:])
        except ValueError:
            x = y = width = height = math.nan
        if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1):
            raise InputError(
                f"{table}: line {line}: expected centre and size as shares from 0 to 1, found "
                f"{', '.join(str(row[name]) for name in _COLUMNS[1:])}"
            )
        found.setdefault(row["file"].strip().replace("\\", "/"), []).append((x, y, width, height))
    return found


def read_region(
    file: SliceFile, shape: tuple[int, int], boxes: Mapping[str, list[Box]]
) -> np.ndarray | None:
    """Where the tumour of a slice is, bool `[H, W]`; None where nothing says so.

    Args:
      file: the slice.
      shape: of its image as it is on disk, `(H, W)`.
      boxes: of its data set.

    Raises:
      InputError: a ``.mat`` file cannot be read.
    """
    if is_mat(file.files[0]):
        return read_mat_slice(file.files[0], slice_id=file.slice_id).mask
    if file.slice_id not in boxes:
        return None
    region = np.zeros(shape, bool)
    for box in boxes[file.slice_id]:
        region |= box_region(box, shape)
    return region


def box_region(box: Box, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie in a box, bool `[H, W]`.

    >>> box_region((0.5, 0.25, 0.5, 0.5), (4, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    """
    x, y, width, height = box
    rows = (np.arange(shape[0]) + 0.5) / shape[0]
    columns = (np.arange(shape[1]) + 0.5) / shape[1]
    inside = np.abs(rows - y) <= height / 2
    return inside[:, None] & (np.abs(columns - x) <= width / 2)[None]
