from __future__ import annotations

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.evaluation import LesionRule, score_lesions
from brainjax.evaluation.lesions import LesionScores

PENALTY = 374.0
GLIOMA = LesionRule(dilation=3, ignored_mm3=50.0)
SHAPE = (40, 24, 24)


def cubes(*starts: tuple[int, int, int], side: int = 4) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for start in starts:
        mask[tuple(slice(at, at + side) for at in start)] = True
    return mask


def score(
    predicted: np.ndarray,
    reference: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    rule: LesionRule = GLIOMA,
) -> LesionScores:
    return score_lesions(predicted, reference, spacing_mm=spacing_mm, rule=rule, penalty_mm=PENALTY)


def test_one_found_one_missed_one_invented() -> None:
    found, missed, invented = (1, 1, 1), (30, 1, 1), (15, 18, 18)
    scores = score(cubes(found, invented), cubes(found, missed))
    assert (scores.lesions, scores.missed, scores.false_positives) == (2, 1, 1)
    assert scores.dice == pytest.approx((1 + 0 + 0) / 3)
    assert scores.hd95_mm == pytest.approx((0 + PENALTY + PENALTY) / 3)


def test_gap_of_twice_the_dilation_joins_lesions() -> None:
    first = (1, 1, 1)
    joined = cubes(first, (1 + 4 + 6, 1, 1))
    apart = cubes(first, (1 + 4 + 7, 1, 1))
    assert score(joined, joined).lesions == 1
    assert score(apart, apart).lesions == 2
    # Half of a joined pair: Dice 2 x 64 / (128 + 64), and not one whole and one missed lesion.
    assert score(cubes(first), joined).dice == pytest.approx(2 / 3)
    assert score(cubes(first), apart).dice == pytest.approx(1 / 2)


def test_dilation_is_by_18_neighbours() -> None:
    # Three dilations reach (3, 3, 0), so (7, 7, 0) apart joins; but of (3, 3, 3) only (2, 2, 2).
    rule = LesionRule(dilation=3, ignored_mm3=0.0)
    across_face = cubes((5, 5, 5), (12, 12, 5), side=1)
    across_cube = cubes((5, 5, 5), (12, 12, 12), side=1)
    assert score(across_face, across_face, rule=rule).lesions == 1
    assert score(across_cube, across_cube, rule=rule).lesions == 2


def test_prediction_counts_when_it_meets_the_dilated_lesion() -> None:
    reference = cubes((1, 1, 1))
    near = score(cubes((1 + 4 + 2, 1, 1)), reference)  # starts on the last voxel of the dilation
    assert (near.missed, near.false_positives, near.dice) == (0, 0, 0.0)
    assert near.hd95_mm == pytest.approx(6.0)  # more than 5 % of the area is on the far face
    far = score(cubes((1 + 4 + 3, 1, 1)), reference)
    assert (far.missed, far.false_positives) == (1, 1)
    assert far.hd95_mm == PENALTY


def test_small_lesions_are_ignored_but_still_claim_their_prediction() -> None:
    small = cubes((30, 1, 1), side=3)  # 27 mm^3
    reference = cubes((1, 1, 1)) | small
    assert score(cubes((1, 1, 1)), reference).dice == 1.0
    claimed = score(reference, reference)
    assert (claimed.lesions, claimed.false_positives, claimed.dice) == (1, 0, 1.0)
    # The limit is a volume: 27 voxels of 2 mm^3 are 54 mm^3.
    assert score(cubes((1, 1, 1)), reference, spacing_mm=(1.0, 1.0, 2.0)).lesions == 2
    # At the limit itself a lesion is ignored.
    edge = LesionRule(dilation=3, ignored_mm3=64.0)
    assert score(cubes((1, 1, 1)), cubes((1, 1, 1)), rule=edge).lesions == 0


def test_nothing_and_only_invented() -> None:
    empty = cubes()
    nothing = score(empty, empty)
    assert (nothing.dice, nothing.hd95_mm, nothing.lesions) == (1.0, 0.0, 0)
    invented = score(cubes((1, 1, 1), side=1), empty)
    assert (invented.dice, invented.hd95_mm, invented.false_positives) == (0.0, PENALTY, 1)
    missed = score(empty, cubes((1, 1, 1)))
    assert (missed.dice, missed.hd95_mm, missed.missed) == (0.0, PENALTY, 1)


def test_components_touch_by_their_corners() -> None:
    # Two voxels that share one corner are one false positive, not two.
    predicted = cubes((1, 1, 1), (2, 2, 2), side=1)
    assert score(predicted, cubes()).false_positives == 1


def test_one_prediction_over_two_lesions_serves_both() -> None:
    reference = cubes((1, 1, 1), (12, 1, 1))
    predicted = np.zeros(SHAPE, bool)
    predicted[1:16, 1:5, 1:5] = True  # a bar of 15 x 4 x 4 over both
    scores = score(predicted, reference)
    assert (scores.lesions, scores.missed, scores.false_positives) == (2, 0, 0)
    assert scores.dice == pytest.approx(2 * 64 / (240 + 64))


def test_no_dilation_and_unknown_method() -> None:
    pair = cubes((1, 1, 1), (6, 1, 1))
    assert score(pair, pair, rule=LesionRule(dilation=0, ignored_mm3=0.0)).lesions == 2
    with pytest.raises(InputError, match="method"):
        score_lesions(
            pair, pair, spacing_mm=(1, 1, 1), rule=GLIOMA, penalty_mm=PENALTY, method="itk"
        )


def test_crop_changes_nothing(rng: np.random.Generator) -> None:
    # Random blobs well inside a volume, and the same cut to their box.
    noise = rng.random((2, 12, 10, 11)) < 0.03
    whole = np.zeros((2, 30, 30, 30), bool)
    whole[:, 9:21, 9:19, 9:20] = noise
    rule = LesionRule(dilation=1, ignored_mm3=0.0)
    assert score(noise[0], noise[1], rule=rule) == score(whole[0], whole[1], rule=rule)
