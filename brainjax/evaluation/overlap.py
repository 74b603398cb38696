"""Overlap of two masks: Dice, sensitivity and specificity from voxel counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from brainjax.errors import InputError


@dataclass(frozen=True, kw_only=True)
class OverlapCounts:
    """How the voxels of a prediction and of its reference meet.

    A ratio without a denominator is NaN here: what an empty mask is worth is
    said by a ``Convention``, not by arithmetic.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN when both masks are empty."""
        doubled = 2 * self.true_positives
        return _ratio(doubled, doubled + self.false_positives + self.false_negatives)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN); NaN when the reference is empty."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP); NaN when the reference fills the volume."""
        return _ratio(self.true_negatives, self.true_negatives + self.false_positives)


def count_overlap(
    predicted: np.ndarray, reference: np.ndarray, *, outside_voxels: int = 0
) -> OverlapCounts:
    """Counts the voxels that two boolean masks of one shape share and do not share.

    Args:
      predicted: boolean mask of any shape.
      reference: boolean mask of the same shape.
      outside_voxels: background voxels that a crop has left out; they count as
        true negatives.

    Raises:
      InputError: the masks are not boolean or differ in shape.
    """
    check_masks(predicted, reference)
    positives = int(np.count_nonzero(predicted))
    wanted = int(np.count_nonzero(reference))
    shared = int(np.count_nonzero(predicted & reference))
    return OverlapCounts(
        true_positives=shared,
        false_positives=positives - shared,
        false_negatives=wanted - shared,
        true_negatives=predicted.size + outside_voxels - positives - wanted + shared,
    )


def dice(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Dice coefficient of two boolean masks; NaN when both are empty.

    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    return count_overlap(predicted, reference).dice


def sensitivity(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Share of the reference that the prediction finds; NaN when the reference is empty.

    >>> sensitivity(np.array([True, True, False]), np.array([True, False, False]))
    1.0
    """
    return count_overlap(predicted, reference).sensitivity


def specificity(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Share of the background left alone; NaN when the reference fills the array.

    >>> specificity(np.array([True, True, False]), np.array([True, False, False]))
    0.5
    """
    return count_overlap(predicted, reference).specificity


def check_masks(predicted: np.ndarray, reference: np.ndarray) -> None:
    """Raises InputError unless both arrays are boolean and of one shape."""
    for name, mask in (("predicted", predicted), ("reference", reference)):
        if mask.dtype != np.bool_:
            raise InputError(f"{name}: expected a boolean mask, found {mask.dtype}")
    if predicted.shape != reference.shape:
        raise InputError(
            f"predicted and reference masks must share one shape, "
            f"found {predicted.shape} and {reference.shape}"
        )


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
