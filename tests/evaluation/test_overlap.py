from __future__ import annotations

import math

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.evaluation import count_overlap, dice, sensitivity, specificity


def slab(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((10, 4, 5), bool)
    mask[start:stop] = True
    return mask


def test_shifted_slabs_by_hand() -> None:
    # 4 slabs of 20 voxels each, shifted by one: 3 shared, 1 too many, 1 missed, 5 left alone.
    counts = count_overlap(slab(3, 7), slab(2, 6))
    assert counts.true_positives == 60
    assert counts.false_positives == counts.false_negatives == 20
    assert counts.true_negatives == 100
    assert counts.dice == 0.75
    assert counts.sensitivity == 0.75
    assert counts.specificity == 100 / 120


def test_sides_are_not_mixed_up() -> None:
    small, large = slab(2, 4), slab(2, 8)
    assert sensitivity(small, large) == pytest.approx(1 / 3)
    assert sensitivity(large, small) == 1.0
    assert specificity(small, large) == 1.0
    assert specificity(large, small) == 0.5
    assert dice(small, large) == dice(large, small) == 0.5


def test_empty_masks_have_no_value_of_their_own() -> None:
    empty, full = slab(0, 0), slab(0, 10)
    assert math.isnan(dice(empty, empty))
    assert math.isnan(sensitivity(full, empty))
    assert math.isnan(specificity(empty, full))
    assert dice(full, empty) == dice(empty, full) == 0.0
    assert specificity(empty, empty) == 1.0


def test_voxels_outside_a_crop_are_true_negatives() -> None:
    whole = count_overlap(slab(3, 7), slab(2, 6))
    cropped = count_overlap(slab(3, 7)[2:7], slab(2, 6)[2:7], outside_voxels=100)
    assert cropped == whole


def test_wrong_masks_are_refused() -> None:
    with pytest.raises(InputError, match="boolean mask, found int64"):
        dice(slab(0, 1).astype(np.int64), slab(0, 1))
    with pytest.raises(InputError, match="share one shape"):
        dice(slab(0, 1), slab(0, 1)[:5])
