"""Made-up DICOM series in the RSNA-MICCAI layout, for want of scans.

Nobody's anatomy, and the label is no methylation: class 1 is a tumour that does not
enhance, which T1wCE shows in every slice. Good for showing that the software works.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.scans.dicom import write_slice
from brainjax.scans.phantom import PHANTOM_VERSION, make_phantom
from brainjax.scans.phantom_folder import grow_folder

PHANTOM_SERIES_VERSION = 1
"""Raised when the same seed would give other pictures, so that those on disk are rebuilt."""

BLANK_CASE = "00109"
"""One of the cases that the challenge tells to leave out; here its FLAIR is empty."""

_SHAPE = (64, 64, 64)
_IMAGES = {"FLAIR": "flair", "T1w": "t1", "T1wCE": "t1ce", "T2w": "t2"}
_FROM_TOP = ("T1w",)  # numbered downwards, so that the number is not the position
_LEAST_SLICES = 3


def write_phantom_series(
    root: str | os.PathLike[str],
    *,
    patients: int,
    slices: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes ``train/<id>/{FLAIR,T1w,T1wCE,T2w}/Image-<n>.dcm`` and ``train_labels.csv``.

    The pictures are axial, 64 x 64, through the tumour; an eighth of each series at either
    end is empty. The ids have leading zeros, which the table of labels has lost. Labels
    alternate. Besides the patients there are ``BLANK_CASE`` and, in ``test``, one case
    without a label. Patient n depends on ``seed``, ``slices`` and n only. The data appear
    at ``root`` when they are complete; a second call with equal arguments reuses them.

    Args:
      root: a folder that is new, empty, or made by this function.
      patients: labelled cases that can be used, 1 to 1,000.
      slices: files per series, 3 or more.
      seed: of all randomness.
      progress: called with (cases done, cases) after each case.

    Raises:
      InputError: an argument is out of range, or ``root`` holds other files.
    """
    if not 1 <= patients <= 1000:
        raise InputError(f"patients: expected 1 to 1000, found {patients}")
    if slices < _LEAST_SLICES:
        raise InputError(f"slices: expected at least {_LEAST_SLICES}, found {slices}")
    if seed < 0:
        raise InputError(f"seed: expected 0 or more, found {seed}")
    wanted = {
        "made_by": "brainjax.scans.phantom_series",
        "version": [PHANTOM_SERIES_VERSION, PHANTOM_VERSION],
        "patients": patients,
        "slices": slices,
        "seed": seed,
    }
    write = partial(_write_all, patients=patients, slices=slices, seed=seed, progress=progress)
    return grow_folder(root, wanted, write)


def make_phantom_series(
    rng: np.random.Generator, *, slices: int, label: int
) -> tuple[dict[str, np.ndarray], float]:
    """Draws the four series of one patient.

    Args:
      rng: source of all randomness.
      slices: per series.
      label: 0, a tumour with an enhancing rim, or 1, one without.

    Returns:
      uint16 `[slices, 64, 64]` by modality, from the bottom to the top, seen from below
      with the front upwards; and the distance of the slices in mm.

    >>> series, step_mm = make_phantom_series(np.random.default_rng(0), slices=8, label=1)
    >>> series["T2w"].shape, series["T2w"].any(axis=(1, 2)).tolist()
    ((8, 64, 64), [False, True, True, True, True, True, True, False])
    """
    images, classes, affine = make_phantom(rng, shape=_SHAPE, enhancing=label == 0)
    areas = np.isin(classes, (1, 3)).sum(axis=(0, 1))
    core = np.flatnonzero(areas >= areas.max() / 4)
    empty = max(1, slices // 8)
    heights = np.linspace(core[0], core[-1], slices - 2 * empty)
    below = np.minimum(heights.astype(int), _SHAPE[2] - 2)
    share = (heights - below)[:, None, None]
    series = {}
    for name, modality in _IMAGES.items():
        upright = images[modality].transpose(2, 1, 0)  # [z, y, x]
        between = upright[below] * (1 - share) + upright[below + 1] * share
        series[name] = np.zeros((slices, *upright.shape[1:]), np.uint16)
        series[name][empty : slices - empty] = np.rint(between)
    step = float(heights[1] - heights[0]) if len(heights) > 1 else 1.0
    return series, step * float(affine[2, 2])


def _write_all(
    folder: Path,
    *,
    patients: int,
    slices: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    blank = int(BLANK_CASE)
    # Ids as in the challenge: some are left out, one is that of the test case.
    numbers = [n for n in range(3 * patients + 4) if n % 3 != 1 and n != blank][:patients]
    labelled = {number: index % 2 for index, number in enumerate(numbers)} | {blank: 1}
    cases = [("train", number) for number in sorted(labelled)] + [("test", 1)]
    for done, (part, number) in enumerate(cases, start=1):
        rng = np.random.default_rng([seed, number])
        series, step_mm = make_phantom_series(rng, slices=slices, label=labelled.get(number, 0))
        if number == blank:
            series["FLAIR"][:] = 0
        for name, pictures in series.items():
            _write_series(folder / part / f"{number:05d}" / name, pictures, step_mm)
        os.utime(folder)
        if progress is not None:
            progress(done, len(cases))
    with (folder / "train_labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("BraTS21ID", "MGMT_value"))
        table.writerows(sorted(labelled.items()))


def _write_series(folder: Path, pictures: np.ndarray, step_mm: float) -> None:
    folder.mkdir(parents=True)
    count = len(pictures)
    for index, picture in enumerate(pictures):
        number = count - index if folder.name in _FROM_TOP else index + 1
        write_slice(
            folder / f"Image-{number}.dcm",
            picture,
            position_mm=(-96.0, -96.0, step_mm * index),
            spacing_mm=(step_mm, 3.0, 3.0),
            instance=number,
            patient_id=folder.parent.name,
            series=folder.name,
        )
