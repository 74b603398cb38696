"""Scores per lesion, as BraTS evaluates them since 2023."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from brainjax.errors import InputError
from brainjax.evaluation.conventions import LesionRule
from brainjax.evaluation.overlap import check_masks
from brainjax.evaluation.surface import (
    HD95_METHODS,
    bounding_box,
    check_spacing,
    compute_surface_distances,
    hausdorff_distance,
)

TOUCHING = ndimage.generate_binary_structure(3, 3)  # 26 neighbours make one component
DILATION = ndimage.generate_binary_structure(3, 2)  # 18 neighbours, as BraTS dilates


@dataclass(frozen=True, kw_only=True)
class LesionScores:
    """Lesion-wise scores of one region of one case.

    Attributes:
      dice: sum of the lesions' Dice over the number of lesions and false
        positives; 1 when there is neither.
      hd95_mm: the same mean of HD95, with the penalty for misses and false
        positives; 0 when there is neither.
      lesions: reference lesions above the volume that the rule ignores.
      missed: those of them that no predicted component meets.
      false_positives: predicted components that meet no reference lesion at all,
        not even an ignored one.
    """

    dice: float
    hd95_mm: float
    lesions: int
    missed: int
    false_positives: int


def score_lesions(
    predicted: np.ndarray,
    reference: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    rule: LesionRule,
    penalty_mm: float,
    method: str = "deepmind",
) -> LesionScores:
    """Scores every lesion of a region on its own (BraTS-2023-Metrics).

    Components of the reference whose dilations join are one lesion. The
    predicted components (26 neighbours) that meet the dilated lesion are its
    prediction together. Dice and HD95 of each lesion are averaged with every
    false-positive component as a lesion of Dice 0 and of the penalty.

    BraTS 2024 also joins predicted components and lesions across tissues before
    it does this; that is not done here.

    Args:
      predicted: boolean ``[D, H, W]``.
      reference: boolean ``[D, H, W]``.
      spacing_mm: voxel size along the three axes.
      rule: dilation in voxels and the volume up to which lesions are ignored.
      penalty_mm: HD95 of a missed lesion and of a false-positive component.
      method: definition of HD95, see ``surface.hausdorff_distance``.

    Raises:
      InputError: the masks or the spacing cannot be used, or the method is unknown.
    """
    check_masks(predicted, reference)
    spacing = check_spacing(spacing_mm)
    if method not in HD95_METHODS:
        raise InputError(f"method: expected one of {sorted(HD95_METHODS)}, found {method!r}")
    box = bounding_box(predicted | reference)
    if box is None:
        return LesionScores(dice=1.0, hd95_mm=0.0, lesions=0, missed=0, false_positives=0)
    # The tight box loses nothing: where two dilations meet outside it they also meet inside,
    # since moving a point to the nearest one in the box only brings it nearer to both lesions.
    predicted, reference = predicted[box], reference[box]
    around = reference
    if rule.dilation:
        around = ndimage.binary_dilation(reference, structure=DILATION, iterations=rule.dilation)
    zones, lesion_count = ndimage.label(around, structure=TOUCHING)
    components, component_count = ndimage.label(predicted, structure=TOUCHING)

    pairs = zones.astype(np.int64) * (component_count + 1) + components
    shape = (lesion_count + 1, component_count + 1)
    meets = np.bincount(pairs.ravel(), minlength=shape[0] * shape[1]).reshape(shape) > 0
    shared = np.bincount(pairs[reference], minlength=shape[0] * shape[1]).reshape(shape)
    component_voxels = np.bincount(components.ravel(), minlength=component_count + 1)
    false_positives = int(np.count_nonzero(~meets[1:, 1:].any(axis=0)))

    dices, distances, missed = [], [], 0
    for lesion in range(1, lesion_count + 1):
        voxels = int(shared[lesion].sum())
        if voxels * np.prod(spacing) <= rule.ignored_mm3:
            continue
        matched = np.flatnonzero(meets[lesion, 1:]) + 1
        if not matched.size:
            missed += 1
            dices.append(0.0)
            distances.append(penalty_mm)
            continue
        found = int(component_voxels[matched].sum())
        dices.append(2 * int(shared[lesion, matched].sum()) / (voxels + found))
        measured = compute_surface_distances(
            np.isin(components, matched),
            reference & (zones == lesion),
            spacing_mm=spacing,
            elements=HD95_METHODS[method],
        )
        distances.append(hausdorff_distance(measured, percentile=95, method=method))
    count = len(dices) + false_positives
    penalties = false_positives * penalty_mm
    return LesionScores(
        dice=sum(dices) / count if count else 1.0,
        hd95_mm=(sum(distances) + penalties) / count if count else 0.0,
        lesions=len(dices),
        missed=missed,
        false_positives=false_positives,
    )
