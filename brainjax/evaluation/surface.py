"""Distances between two surfaces in mm: computed once, reduced to several scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from brainjax.errors import InputError
from brainjax.evaluation.overlap import check_masks
from brainjax.evaluation.surface_elements import FULL, border_voxels, corner_areas, corner_codes

# What each definition takes as the surface: every border voxel alike, or pieces with an area.
HD95_METHODS: dict[str, str] = {"medpy": "voxels", "deepmind": "areas", "monai": "voxels"}
NSD_METHODS: dict[str, str] = {"deepmind": "areas", "nnunet": "voxels", "monai": "voxels"}

# One look-up in the tree costs at worst about as much as the distance transform of this many
# voxels, measured on tumours of 50 to 300 thousand voxels with good and with bad predictions.
VOXELS_PER_LOOKUP = 25


@dataclass(frozen=True, kw_only=True)
class SurfaceDistances:
    """Distances in mm between the surfaces of a prediction and its reference.

    Attributes:
      elements: ``"voxels"`` or ``"areas"``, what the surfaces are made of.
      from_reference: float64 ``[N]``, from each element of the reference to the
        nearest element of the prediction, ascending; infinite when the
        prediction is empty.
      from_predicted: float64 ``[M]``, the other way round.
      reference_weights: float64 ``[N]``, the elements' areas in mm^2, or ones.
      predicted_weights: float64 ``[M]``.
    """

    elements: str
    from_reference: np.ndarray
    from_predicted: np.ndarray
    reference_weights: np.ndarray
    predicted_weights: np.ndarray


def compute_surface_distances(
    predicted: np.ndarray,
    reference: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    elements: str = "voxels",
) -> SurfaceDistances:
    """Measures from every surface element of each mask to the other mask's surface.

    The work is done in the box around both masks, and only for elements that are
    not part of both surfaces.

    Args:
      predicted: boolean ``[D, H, W]``.
      reference: boolean ``[D, H, W]``.
      spacing_mm: voxel size along the three axes.
      elements: ``"voxels"`` for border voxels (medpy, MONAI) or ``"areas"`` for
        the area-weighted pieces of surface between voxels (DeepMind).

    Raises:
      InputError: the masks are not boolean, not three-dimensional or differ in
        shape, the spacing is not three positive numbers, or ``elements`` is
        unknown.
    """
    check_masks(predicted, reference)
    spacing = check_spacing(spacing_mm)
    if predicted.ndim != 3:
        raise InputError(f"masks: expected 3 axes [D, H, W], found shape {predicted.shape}")
    if elements not in ("voxels", "areas"):
        raise InputError(f"elements: expected 'voxels' or 'areas', found {elements!r}")
    box = bounding_box(predicted | reference)
    if box is None:
        none = np.zeros(0)
        return SurfaceDistances(
            elements=elements,
            from_reference=none,
            from_predicted=none,
            reference_weights=none,
            predicted_weights=none,
        )
    predicted, reference = predicted[box], reference[box]
    if elements == "voxels":
        predicted_surface, reference_surface = border_voxels(predicted), border_voxels(reference)
        predicted_weights = np.ones(np.count_nonzero(predicted_surface))
        reference_weights = np.ones(np.count_nonzero(reference_surface))
    else:
        areas = corner_areas(spacing)
        predicted_codes, reference_codes = corner_codes(predicted), corner_codes(reference)
        predicted_surface = (predicted_codes != 0) & (predicted_codes != FULL)
        reference_surface = (reference_codes != 0) & (reference_codes != FULL)
        predicted_weights = areas[predicted_codes[predicted_surface]]
        reference_weights = areas[reference_codes[reference_surface]]
    from_predicted = _distances(predicted_surface, reference_surface, spacing)
    from_reference = _distances(reference_surface, predicted_surface, spacing)
    predicted_order = np.argsort(from_predicted, kind="stable")
    reference_order = np.argsort(from_reference, kind="stable")
    return SurfaceDistances(
        elements=elements,
        from_reference=from_reference[reference_order],
        from_predicted=from_predicted[predicted_order],
        reference_weights=reference_weights[reference_order],
        predicted_weights=predicted_weights[predicted_order],
    )


def hausdorff_distance(
    distances: SurfaceDistances, *, percentile: float = 95.0, method: str = "medpy"
) -> float:
    """Reduces surface distances to a Hausdorff distance in mm.

    Args:
      distances: of the elements that the method asks for (``HD95_METHODS``).
      percentile: 95 for HD95; 100 for the Hausdorff distance itself.
      method: ``"medpy"`` takes the percentile of both directions' border-voxel
        distances together, ``"monai"`` the larger of the two directions'
        percentiles, ``"deepmind"`` the larger of the two area-weighted ones.

    Returns:
      The distance; infinite when one mask is empty, NaN when both are.

    Raises:
      InputError: the method is unknown or needs other elements, or the
        percentile is not in (0, 100].
    """
    _check_method(distances, HD95_METHODS, method)
    if not 0 < percentile <= 100:
        raise InputError(f"percentile: expected above 0 and at most 100, found {percentile}")
    both = (distances.from_reference, distances.from_predicted)
    if not any(map(len, both)):
        return math.nan
    if not all(map(len, both)):
        return math.inf
    if percentile == 100:
        return float(max(one[-1] for one in both))
    if method == "medpy":
        return float(np.percentile(np.concatenate(both), percentile))
    if method == "monai":
        return float(max(np.percentile(one, percentile) for one in both))
    weights = (distances.reference_weights, distances.predicted_weights)
    return max(_weighted_percentile(*pair, percentile) for pair in zip(both, weights, strict=True))


def surface_dice(
    distances: SurfaceDistances, *, tolerance_mm: float, method: str = "deepmind"
) -> float:
    """Normalised surface Dice: the share of the surfaces within a tolerance of each other.

    Args:
      distances: of the elements that the method asks for (``NSD_METHODS``).
      tolerance_mm: the largest distance that still counts as the same place.
      method: ``"deepmind"`` is the share of the area of both surfaces together
        (Nikolov et al. 2018), ``"monai"`` the share of both masks' border voxels
        together, ``"nnunet"`` the mean of the two masks' shares of border
        voxels, which is what the BraTS 2024 code computes.

    Returns:
      Between 0 and 1; 0 when one mask is empty, NaN when both are.

    Raises:
      InputError: the method is unknown or needs other elements, or the tolerance
        is negative.
    """
    _check_method(distances, NSD_METHODS, method)
    if not tolerance_mm >= 0:
        raise InputError(f"tolerance_mm: expected 0 or more, found {tolerance_mm}")
    reference_total = float(distances.reference_weights.sum())
    predicted_total = float(distances.predicted_weights.sum())
    if reference_total + predicted_total == 0:
        return math.nan
    near_reference = distances.reference_weights[distances.from_reference <= tolerance_mm].sum()
    near_predicted = distances.predicted_weights[distances.from_predicted <= tolerance_mm].sum()
    if method != "nnunet":
        return float((near_reference + near_predicted) / (reference_total + predicted_total))
    if reference_total == 0 or predicted_total == 0:
        return 0.0
    return float(near_reference / reference_total + near_predicted / predicted_total) / 2


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """The smallest box around the voxels of a ``[D, H, W]`` mask, or None when it is empty.

    >>> bounding_box(np.arange(27).reshape(3, 3, 3) == 13)
    (slice(1, 2, None), slice(1, 2, None), slice(1, 2, None))
    """
    slabs = np.flatnonzero(mask.any(axis=(1, 2)))
    if not slabs.size:
        return None
    first = slice(int(slabs[0]), int(slabs[-1]) + 1)
    plane = np.logical_or.reduce(mask[first], axis=0)
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    second = slice(int(rows[0]), int(rows[-1]) + 1)
    third = slice(int(columns[0]), int(columns[-1]) + 1)
    return first, second, third


def check_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """Returns three positive finite voxel sizes or raises InputError."""
    spacing = tuple(float(size) for size in spacing_mm)
    if len(spacing) != 3 or not all(math.isfinite(size) and size > 0 for size in spacing):
        raise InputError(f"spacing_mm: expected three positive voxel sizes, found {spacing}")
    return spacing[0], spacing[1], spacing[2]


def _distances(
    from_surface: np.ndarray, to_surface: np.ndarray, spacing: tuple[float, float, float]
) -> np.ndarray:
    """Distances in mm from each element of one surface to the nearest of another, ``[N]``."""
    if not to_surface.any():
        return np.full(np.count_nonzero(from_surface), math.inf)
    away = ~to_surface[from_surface]  # [N]: shared elements are at distance 0
    distances = np.zeros(away.shape)
    starts = np.argwhere(from_surface)[away]  # [n, 3]
    if not len(starts):
        return distances
    if len(starts) * VOXELS_PER_LOOKUP < to_surface.size:
        ends = np.argwhere(to_surface)
        tree = KDTree(ends * np.asarray(spacing), balanced_tree=False, compact_nodes=False)
        nearest = ends[tree.query(starts * np.asarray(spacing))[1]]
    else:
        transform = ndimage.distance_transform_edt(
            ~to_surface, sampling=spacing, return_distances=False, return_indices=True
        )
        nearest = transform[:, starts[:, 0], starts[:, 1], starts[:, 2]].T
    # From whole numbers of voxels, so that both ways round alike at a tolerance's edge.
    distances[away] = np.linalg.norm((starts - nearest) * np.asarray(spacing), axis=1)
    return distances


def _weighted_percentile(ascending: np.ndarray, weights: np.ndarray, percentile: float) -> float:
    """The first distance within which the given share of the area lies."""
    shares = np.cumsum(weights) / np.sum(weights)
    position = int(np.searchsorted(shares, percentile / 100))
    return float(ascending[min(position, len(ascending) - 1)])


def _check_method(distances: SurfaceDistances, methods: dict[str, str], method: str) -> None:
    if method not in methods:
        raise InputError(f"method: expected one of {sorted(methods)}, found {method!r}")
    if methods[method] != distances.elements:
        raise InputError(
            f"method {method!r} reduces distances of elements={methods[method]!r}, "
            f"found {distances.elements!r}"
        )
