"""A made-up cohort of brain tumours in the layout of BraTS 2020, for want of scans.

Nobody's anatomy: every head is drawn from a seed. Good for showing that the
software works; scores on it say nothing about patients.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.scans.labels import CONVENTIONS
from brainjax.scans.nifti import new_grid, write_array
from brainjax.scans.phantom_folder import grow_folder
from brainjax.scans.phantom_head import FIELD_OF_VIEW_MM, Tissue, draw_head, sample_head
from brainjax.scans.phantom_noise import Axes, draw_noise
from brainjax.scans.phantom_tumour import Lesion, draw_tumour, sample_tumour

PHANTOM_VERSION = 1
"""Raised when the same seed would give other voxels, so that cohorts on disk are rebuilt."""

_LARGEST_SPACING_MM = 8.0

# Brightness of each part relative to white matter in T1.
_PARTS = ("white", "grey", "deep_grey", "fluid", "oedema", "necrosis", "solid", "rim", "vessels")
_CONTRAST = {
    "flair": (0.74, 0.86, 0.82, 0.24, 1.28, 0.92, 1.18, 1.06, 0.50),
    "t1": (1.00, 0.76, 0.84, 0.34, 0.80, 0.58, 0.68, 0.72, 0.50),
    "t1ce": (1.00, 0.82, 0.88, 0.38, 0.80, 0.55, 0.70, 1.62, 1.55),
    "t2": (0.56, 0.76, 0.64, 1.60, 1.06, 1.30, 1.18, 0.94, 0.45),
}
_BRIGHTNESS = {"flair": 290.0, "t1": 300.0, "t1ce": 340.0, "t2": 480.0}


def write_phantom_cohort(
    root: str | os.PathLike[str],
    *,
    cases: int,
    shape: tuple[int, int, int],
    seed: int,
    spacing_mm: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes made-up cases as ``root/HGG|LGG/<case>/<case>_{flair,t1,t1ce,t2,seg}.nii.gz``.

    Every fourth case, from the second on, is an LGG whose tumour does not enhance.
    Case n depends on ``seed`` and n only. The cohort appears at ``root`` when it is
    complete and not before; a second call with equal arguments reuses it, one with
    other arguments replaces it.

    Args:
      root: a folder that is new, empty, or such a cohort.
      cases: how many patients, each with one case.
      shape: voxels right to left, anterior to posterior, inferior to superior;
        (240, 240, 155) is that of BraTS, and (64, 64, 64) has the same heads.
      seed: of all randomness.
      spacing_mm: edge of a voxel; by default such that the head fills the grid,
        1 mm for BraTS' shape.
      progress: called with (cases done, cases) after each case.

    Returns:
      ``root`` as a path.

    Raises:
      InputError: an argument is out of range, or ``root`` holds other files.
    """
    root = Path(root)
    spacing = _checked_spacing(cases, shape, seed, spacing_mm)
    wanted = {
        "made_by": "brainjax.scans.phantom",
        "version": PHANTOM_VERSION,
        "cases": cases,
        "shape": list(shape),
        "seed": seed,
        "spacing_mm": spacing,
    }

    def write(folder: Path) -> None:
        for index in range(cases):
            _write_case(folder, index, shape, seed, spacing)
            os.utime(folder)  # tells that this process is still at work
            if progress is not None:
                progress(index + 1, cases)

    return grow_folder(root, wanted, write)


def make_phantom(
    rng: np.random.Generator,
    *,
    shape: tuple[int, int, int],
    spacing_mm: float | None = None,
    enhancing: bool = True,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Makes one head with a tumour up; equal generators give equal voxels.

    Args:
      rng: source of all randomness.
      shape: voxels along the LPS axes.
      spacing_mm: edge of a voxel; by default `fill_spacing_mm` of the shape.
      enhancing: whether the tumour has an enhancing part.

    Returns:
      The images by modality, int16 `[D, H, W]`, 0 outside the brain and positive
      inside; the classes, uint8 `[D, H, W]` as in ``labels.TISSUES``; the affine
      `[4, 4]` from voxel indices to RAS+ mm.

    >>> images, classes, affine = make_phantom(np.random.default_rng(0), shape=(24, 28, 24))
    >>> images["flair"].shape, sorted(np.unique(classes).tolist())
    ((24, 28, 24), [0, 1, 2, 3])
    """
    spacing = fill_spacing_mm(shape) if spacing_mm is None else spacing_mm
    head = draw_head(rng)
    tumour = draw_tumour(rng, head, enhancing=enhancing)
    axes, box = _axes(shape, spacing, shift_mm=rng.uniform(-2.0, 2.0, 3))
    tissue = sample_head(head, axes, spacing_mm=spacing, push=tumour.push)
    lesion = sample_tumour(tumour, head, tissue, axes, spacing_mm=spacing)
    images = {}
    for modality, image in _images(rng, axes, tissue, lesion).items():
        images[modality] = np.zeros(shape, np.int16)
        images[modality][box] = image
    classes = np.zeros(shape, np.uint8)
    classes[box] = _classes(tissue, lesion)
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[1, 3] = spacing * (shape[1] - 1)  # BraTS' origin
    return images, classes, affine


def fill_spacing_mm(shape: tuple[int, int, int]) -> float:
    """The edge of a voxel in mm at which a head fills a grid.

    >>> fill_spacing_mm((240, 240, 155)), fill_spacing_mm((64, 64, 64))
    (1.0, 3.0)
    """
    return max(extent / count for extent, count in zip(FIELD_OF_VIEW_MM, shape, strict=True))


def _checked_spacing(
    cases: int, shape: tuple[int, int, int], seed: int, spacing_mm: float | None
) -> float:
    if cases < 1:
        raise InputError(f"cases: expected at least 1, found {cases}")
    if seed < 0:
        raise InputError(f"seed: expected 0 or more, found {seed}")
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"shape: expected three positive sizes, found {tuple(shape)}")
    least = fill_spacing_mm(shape)
    if least > _LARGEST_SPACING_MM:
        smallest = tuple(int(np.ceil(mm / _LARGEST_SPACING_MM)) for mm in FIELD_OF_VIEW_MM)
        raise InputError(
            f"shape: expected at least {smallest} to hold a head, found {tuple(shape)}"
        )
    if spacing_mm is None:
        return least
    if not least * 0.999 <= spacing_mm <= _LARGEST_SPACING_MM:
        raise InputError(
            f"spacing_mm: expected {least:.4g} to {_LARGEST_SPACING_MM:g} so that a grid of "
            f"{tuple(shape)} holds a head, found {spacing_mm:g}"
        )
    return float(spacing_mm)


def _write_case(
    folder: Path, index: int, shape: tuple[int, int, int], seed: int, spacing: float
) -> None:
    grade = "LGG" if index % 4 == 1 else "HGG"
    rng = np.random.default_rng([seed, index])
    images, classes, affine = make_phantom(
        rng, shape=shape, spacing_mm=spacing, enhancing=grade == "HGG"
    )
    case = f"BraTS20_Phantom_{index + 1:03d}"
    grid = new_grid(shape, affine)
    arrays = {**images, "seg": CONVENTIONS["brats2020"].from_classes(classes)}
    for name, array in arrays.items():
        path = folder / grade / case / f"{case}_{name}.nii.gz"
        write_array(path, array, grid, dtype=array.dtype)


def _axes(
    shape: tuple[int, int, int], spacing: float, *, shift_mm: np.ndarray
) -> tuple[Axes, tuple[slice, ...]]:
    """Positions in mm of the part of the grid that the head can reach, and where it is."""
    axes, box = [], []
    for count, extent, shift in zip(shape, FIELD_OF_VIEW_MM, shift_mm, strict=True):
        axis = (np.arange(count) - (count - 1) / 2) * spacing + shift
        near = np.flatnonzero(np.abs(axis) <= extent / 2)
        axes.append(axis[near].astype(np.float32))
        box.append(slice(int(near[0]), int(near[-1]) + 1))
    return (axes[0], axes[1], axes[2]), tuple(box)


def _classes(tissue: Tissue, lesion: Lesion) -> np.ndarray:
    core = lesion.core > 0.5
    classes = np.where(lesion.whole > 0.5, np.uint8(2), np.uint8(0))
    classes[core] = 1
    classes[core & (lesion.enhancing > 0.5)] = 3
    classes[tissue.inside_mm <= 0] = 0
    return classes


def _images(
    rng: np.random.Generator, axes: Axes, tissue: Tissue, lesion: Lesion
) -> dict[str, np.ndarray]:
    """Draws what four scanner sequences would show, int16 `[D, H, W]` each."""
    brain = tissue.inside_mm > 0
    texture = draw_noise(rng, 4.0).on_grid(axes)
    patches = draw_noise(rng, 9.0).on_grid(axes)
    shared_bias = draw_noise(rng, 60.0).on_grid(axes)
    near_ventricles = np.clip(1.0 - tissue.ventricle_mm * np.float32(0.2), 0.0, 1.0)
    gliosis = near_ventricles * np.clip(patches, 0.0, 1.0) * tissue.white
    oedema = np.maximum(lesion.whole - lesion.core, 0.0)
    healthy = 1.0 - np.maximum(lesion.whole, lesion.core)
    inner = lesion.core - lesion.enhancing
    vividness = rng.uniform(0.75, 1.15)
    images = {}
    for modality, contrast in _CONTRAST.items():
        drawn = np.array(contrast, np.float32) * rng.normal(1.0, 0.03, len(contrast)).astype(
            np.float32
        )
        value = dict(zip(_PARTS, drawn, strict=True))
        image = (
            value["white"] * tissue.white
            + value["grey"] * tissue.grey
            + value["deep_grey"] * tissue.deep_grey
            + value["fluid"] * tissue.fluid
        )
        image += tissue.vessels * healthy * (value["vessels"] - value["fluid"])
        if modality == "flair":
            image += np.float32(0.35) * gliosis
        water = np.float32(vividness) * lesion.swelling * (value["oedema"] - value["white"])
        swollen = value["white"] + water + 0.4 * (image - value["white"])
        image += oedema * (swollen * (1.0 + 0.06 * patches) - image)
        centre = value["necrosis"] if lesion.enhancing.any() else value["solid"]
        image += inner * (centre * (1.0 + 0.12 * patches + 0.05 * texture) - image)
        image += lesion.enhancing * (value["rim"] * (1.0 + 0.12 * patches) - image)
        image *= 1.0 + 0.025 * texture
        bias = 0.09 * shared_bias + 0.09 * draw_noise(rng, 45.0).on_grid(axes)
        image *= np.exp(bias)
        sigma = np.float32(rng.uniform(0.02, 0.04))
        noise = sigma * rng.standard_normal((2, *image.shape), dtype=np.float32)
        image = np.hypot(image + noise[0], noise[1])  # Rician
        scale = np.float32(_BRIGHTNESS[modality] * np.exp(rng.normal(0.0, 0.2)))
        image = np.clip(np.rint(image * scale), 1, np.iinfo(np.int16).max)
        images[modality] = np.where(brain, image, 0).astype(np.int16)
    return images
