"""Made-up slices with four kinds of finding, in the layouts of the public sets.

Nobody's anatomy, and the lesions are caricatures: a glioma has an enhancing rim within
oedema, a meningioma is an even ball at the brain's surface, a pituitary tumour a small one
on the midline at the base. A small network can tell them apart, so that the software can be
shown to work; scores say nothing about patients.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.scans.figshare_mat import FIGSHARE_CLASSES, write_mat_folds, write_mat_slice
from brainjax.scans.image_file import write_image_file
from brainjax.scans.phantom import PHANTOM_VERSION
from brainjax.scans.phantom_folder import grow_folder
from brainjax.scans.phantom_head import Tissue, draw_head, offsets, sample_head, share_inside
from brainjax.scans.phantom_noise import Axes, draw_noise
from brainjax.scans.phantom_series import write_phantom_series
from brainjax.scans.phantom_tumour import draw_tumour, sample_tumour

PHANTOM_SLICES_VERSION = 1
"""Raised when the same seed would give other pictures, so that those on disk are rebuilt."""

PHANTOM_CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
"""The class folders of the image layout."""

PHANTOM_LAYOUTS = ("image_folder", "figshare", "rsna")
"""What `write_phantom_slices` can write."""

_SLICES_OF_PATIENT = 3
_FOLDS = 5
_SIZES = (112, 128, 144, 160)
_FIELD_OF_VIEW_MM = 220.0
_STEP_MM = 6.0
_MAT_SIZE = 128
_MAT_SCALE = 9.0  # int16 of the original set reach some thousands
# Brightness of the parts in T1 with contrast agent.
_WHITE, _GREY, _DEEP_GREY, _FLUID, _SCALP = 118.0, 92.0, 100.0, 34.0, 190.0
_OEDEMA, _NECROSIS, _RIM, _MENINGIOMA, _PITUITARY = 84.0, 48.0, 208.0, 196.0, 182.0


def write_phantom_slices(
    root: str | os.PathLike[str],
    *,
    layout: str,
    seed: int,
    slices_per_class: int = 24,
    patients: int = 12,
    slices_per_series: int = 12,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes made-up slices, up to three of each patient, in the layout of a public set.

    ``"image_folder"``: ``Training`` and ``Testing`` with four class folders, in `Testing`
    a quarter as many slices, of other patients; grey and colour JPEGs of varying size, and
    per class one PNG with a palette and one with an alpha channel, both called ``.jpg``,
    one exact duplicate in ``Training`` and one in ``Testing`` of a slice in ``Training``.
    ``"figshare"``: ``<number>.mat`` with patient and mask, and ``cvind.mat`` with five folds
    of patients. ``"rsna"``: what `write_phantom_series` writes.

    The files appear at ``root`` when they are complete and not before; a second call with
    equal arguments reuses them, one with others replaces them.

    Args:
      root: a folder that is new, empty, or made by this function.
      layout: one of `PHANTOM_LAYOUTS`.
      seed: of all randomness.
      slices_per_class: in ``Training``, or in all of figshare; at least 4.
      patients: of ``"rsna"`` only.
      slices_per_series: of ``"rsna"`` only.
      progress: called with (slices or cases done, all of them).

    Raises:
      InputError: an argument is out of range, or ``root`` holds other files.
    """
    if layout not in PHANTOM_LAYOUTS:
        raise InputError(f"layout: expected one of {', '.join(PHANTOM_LAYOUTS)}, found {layout!r}")
    if layout == "rsna":
        return write_phantom_series(
            root, patients=patients, slices=slices_per_series, seed=seed, progress=progress
        )
    if slices_per_class < 4:
        raise InputError(f"slices_per_class: expected at least 4, found {slices_per_class}")
    if seed < 0:
        raise InputError(f"seed: expected 0 or more, found {seed}")
    wanted = {
        "made_by": "brainjax.scans.phantom_slices",
        "version": [PHANTOM_SLICES_VERSION, PHANTOM_VERSION],
        "layout": layout,
        "slices_per_class": slices_per_class,
        "seed": seed,
    }
    write = _write_image_folder if layout == "image_folder" else _write_figshare
    return grow_folder(
        root, wanted, partial(write, count=slices_per_class, seed=seed, progress=progress)
    )


def make_phantom_slices(
    rng: np.random.Generator, *, finding: str, slices: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws neighbouring axial slices of one head, seen from below with the front upwards.

    Args:
      rng: source of all randomness.
      finding: one of `PHANTOM_CLASSES`.
      slices: how many, 2 or more, 6 mm apart.
      size: pixels along each side.

    Returns:
      Brightness, uint8 `[slices, size, size]`, and the tumour, bool of the same shape.

    >>> images, masks = make_phantom_slices(
    ...     np.random.default_rng(0), finding="meningioma", slices=2, size=48)
    >>> images.shape, bool(masks.any(axis=(1, 2)).all())
    ((2, 48, 48), True)
    """
    if finding not in PHANTOM_CLASSES:
        raise ValueError(f"finding: expected one of {', '.join(PHANTOM_CLASSES)}, found {finding}")
    if slices < 2:  # the folds of the cortex are drawn by their slope in all directions
        raise ValueError(f"slices: expected at least 2, found {slices}")
    spacing = _FIELD_OF_VIEW_MM / size
    plane = ((np.arange(size) - (size - 1) / 2) * spacing).astype(np.float32)
    head = draw_head(rng)
    glioma = draw_tumour(rng, head, enhancing=True) if finding == "glioma" else None
    centre = _centre(rng, finding) if glioma is None else glioma.push.centre_mm
    steps = (np.arange(slices) - (slices - 1) / 2) * _STEP_MM
    height = float(centre[2]) if finding != "notumor" else rng.uniform(-22.0, 40.0)
    axes = (plane + np.float32(rng.uniform(-4, 4)), plane, (height + steps).astype(np.float32))
    push = None if glioma is None else glioma.push
    tissue = sample_head(head, axes, spacing_mm=spacing, push=push)
    image = (
        _WHITE * tissue.white
        + _GREY * tissue.grey
        + _DEEP_GREY * tissue.deep_grey
        + _FLUID * tissue.fluid
    ) * (tissue.inside_mm > 0)
    lesion = np.zeros_like(image)
    if glioma is not None:
        grown = sample_tumour(glioma, head, tissue, axes, spacing_mm=spacing)
        image += grown.whole * 0.8 * (_OEDEMA - image)
        image += grown.core * (_NECROSIS - image)
        image += grown.enhancing * (_RIM - image)
        lesion = grown.core
    elif finding != "notumor":
        lesion = _ball(rng, finding, centre, tissue, axes, spacing)
        image += lesion * ((_MENINGIOMA if finding == "meningioma" else _PITUITARY) - image)
    image += _SCALP * _shell(tissue.inside_mm, -12.0, -7.0, spacing)
    image *= np.exp(0.12 * draw_noise(rng, 60.0).on_grid(axes))
    noise = rng.uniform(2.0, 5.0) * rng.standard_normal((2, *image.shape), dtype=np.float32)
    image = np.hypot(image + noise[0], noise[1]) * rng.uniform(0.85, 1.15)
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return pixels.transpose(2, 1, 0), (lesion > 0.5).transpose(2, 1, 0)


def _centre(rng: np.random.Generator, finding: str) -> np.ndarray:
    """Where a ball lies, LPS in mm; a meningioma at the convexity on either side."""
    if finding == "pituitary":
        return np.array([0.0, -14.0, -24.0]) + rng.uniform(-2.0, 2.0, 3)
    turn = rng.uniform(0.15, 0.85) * np.pi * rng.choice((-1.0, 1.0))
    return np.array([58.0 * np.sin(turn), -74.0 * np.cos(turn), rng.uniform(8.0, 36.0)])


def _ball(
    rng: np.random.Generator,
    finding: str,
    centre: np.ndarray,
    tissue: Tissue,
    axes: Axes,
    spacing: float,
) -> np.ndarray:
    """Shares of a voxel in a bumpy ball, float32 `[D, H, W]`; only the sella lies in bone."""
    radius, outside = rng.uniform(15.0, 24.0), np.float32(2.0)
    if finding == "pituitary":
        radius, outside = rng.uniform(9.0, 14.0), np.float32(16.0)
    distance = np.sqrt(sum(offset**2 for offset in offsets(axes, centre)))
    depth = np.float32(radius) * (1.0 + 0.06 * draw_noise(rng, 13.0).on_grid(axes)) - distance
    return share_inside(np.minimum(depth, tissue.inside_mm + outside), 0.6 * spacing)


def _shell(depth_mm: np.ndarray, low: float, high: float, spacing: float) -> np.ndarray:
    soft = 0.6 * spacing
    return share_inside(depth_mm - np.float32(low), soft) * share_inside(high - depth_mm, soft)


def _write_image_folder(
    folder: Path, *, count: int, seed: int, progress: Callable[[int, int], None] | None
) -> None:
    testing = max(2, count // 4)
    total = (count + testing) * len(PHANTOM_CLASSES)
    done = 0
    for part, wanted in (("Training", count), ("Testing", testing)):
        for label, name in enumerate(PHANTOM_CLASSES):
            # The last slice of each class and part is a duplicate of the first in Training.
            for index in range(wanted - 1):
                patient, number = divmod(index, _SLICES_OF_PATIENT)
                rng = np.random.default_rng([seed, label, part == "Testing", patient])
                size = int(rng.choice(_SIZES))
                if number == 0:
                    images, _ = make_phantom_slices(
                        rng, finding=name, slices=_SLICES_OF_PATIENT, size=size
                    )
                path = folder / part / name / f"{part[:2]}-{name[:2]}_{index:04d}.jpg"
                image = np.repeat(images[number][..., None], 3 if index % 3 == 0 else 1, axis=2)
                mode = {1: "P", 2: "RGBA"}.get(index, "") if part == "Training" else ""
                write_image_file(path, image, mode=mode)
                done = _told(folder, done, total, progress)
            first = folder / "Training" / name / f"Tr-{name[:2]}_0000.jpg"
            shutil.copyfile(first, path.with_name(f"{part[:2]}-{name[:2]}_{wanted - 1:04d}.jpg"))
            done = _told(folder, done, total, progress)


def _write_figshare(
    folder: Path, *, count: int, seed: int, progress: Callable[[int, int], None] | None
) -> None:
    folds: list[int] = []
    for label, name in enumerate(FIGSHARE_CLASSES):
        for index in range(count):
            patient, number = divmod(index, _SLICES_OF_PATIENT)
            if number == 0:
                rng = np.random.default_rng([seed, label, patient])
                images, masks = make_phantom_slices(
                    rng, finding=name, slices=_SLICES_OF_PATIENT, size=_MAT_SIZE
                )
            code = 100000 + 1000 * label + patient
            write_mat_slice(
                folder / f"{len(folds) + 1}.mat",
                np.rint(images[number] * _MAT_SCALE),
                mask=masks[number],
                label=label,
                patient=f"MR{code}" if patient % 4 == 3 else str(code),
            )
            folds.append(patient % _FOLDS + 1)
            _told(folder, len(folds) - 1, count * len(FIGSHARE_CLASSES), progress)
    write_mat_folds(folder / "cvind.mat", folds)


def _told(folder: Path, done: int, total: int, progress: Callable[[int, int], None] | None) -> int:
    os.utime(folder)  # a folder that is still being written must not look left behind
    if progress is not None:
        progress(done + 1, total)
    return done + 1
