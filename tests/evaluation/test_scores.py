from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.evaluation import (
    CONVENTIONS,
    Convention,
    RegionScore,
    get_convention,
    score_case,
    summarize,
)
from brainjax.files import write_json

REGIONS = {"ET": (3,), "WT": (1, 2, 3), "TC": (1, 3)}
SHAPE = (12, 12, 12)


def case(
    predicted: np.ndarray, reference: np.ndarray, case_id: str = "case", **options: object
) -> dict[str, RegionScore]:
    settings: dict = {
        "regions": REGIONS,
        "spacing_mm": (1.0, 1.0, 1.0),
        "convention": "brats2019",
        **options,
    }
    scores = score_case(predicted, reference, case_id=case_id, **settings)
    return {score.region: score for score in scores}


def labels(**boxes: tuple[int, int]) -> np.ndarray:
    """Classes with a slab for each of ``necrosis``, ``oedema`` and ``enhancing``."""
    array = np.zeros(SHAPE, np.uint8)
    for number, name in enumerate(("necrosis", "oedema", "enhancing"), start=1):
        if name in boxes:
            array[slice(*boxes[name]), 2:6, 2:6] = number
    return array


REFERENCE = labels(oedema=(1, 3), necrosis=(3, 5), enhancing=(5, 9))  # 32, 32 and 64 voxels


def test_regions_are_made_of_their_classes() -> None:
    predicted = labels(oedema=(1, 3), enhancing=(3, 9))  # the necrosis taken for enhancing tumour
    scores = case(predicted, REFERENCE)
    assert list(scores) == ["ET", "WT", "TC"]
    assert scores["WT"].dice == scores["TC"].dice == 1.0
    assert scores["ET"].dice == pytest.approx(2 * 64 / (96 + 64))
    assert scores["ET"].sensitivity == 1.0
    assert scores["ET"].specificity == pytest.approx(1 - 32 / (12**3 - 64))
    assert (scores["ET"].reference_voxels, scores["ET"].predicted_voxels) == (64, 96)
    assert scores["ET"].outcome == "both"
    # Both ETs have the same end; the other ends are 2 slabs apart, and more than 5 % of the border.
    assert scores["ET"].hd95_mm == scores["ET"].hd100_mm == 2.0
    assert scores["WT"].hd95_mm == scores["WT"].hd100_mm == 0.0
    assert scores["WT"].nsd == 1.0


def test_perfect_prediction_under_every_convention_and_method() -> None:
    for convention in CONVENTIONS:
        for method in ("medpy", "deepmind", "monai"):
            options = {"convention": convention, "hd95_method": method, "lesion_wise": True}
            for score in case(REFERENCE, REFERENCE, **options).values():
                assert (score.dice, score.sensitivity, score.specificity) == (1.0, 1.0, 1.0)
                assert (score.hd95_mm, score.hd100_mm, score.nsd) == (0.0, 0.0, 1.0)
                assert score.lesions is not None
                assert (score.lesions.dice, score.lesions.hd95_mm) == (1.0, 0.0)
                assert (score.convention, score.hd95_method) == (convention, method)


@pytest.mark.parametrize(
    ("convention", "penalty"),
    [("brats2019", 373.12866), ("brats2023", 374), ("brats2024-gli", 337)],
)
def test_empty_masks_in_the_challenges(convention: str, penalty: float) -> None:
    with_tumour, without = labels(enhancing=(5, 6)), labels(oedema=(1, 3))
    both = case(without, without, convention=convention)["ET"]
    assert (both.outcome, both.dice, both.sensitivity) == ("both_empty", 1.0, 1.0)
    assert (both.hd95_mm, both.hd100_mm, both.nsd) == (0.0, 0.0, 1.0)
    invented = case(with_tumour, without, convention=convention)["ET"]
    assert (invented.outcome, invented.dice, invented.sensitivity) == ("false_positive", 0.0, 0.0)
    assert (invented.hd95_mm, invented.hd100_mm, invented.nsd) == (penalty, penalty, 0.0)
    assert invented.specificity == 1 - 16 / 12**3
    missed = case(without, with_tumour, convention=convention)["ET"]
    assert (missed.outcome, missed.dice, missed.sensitivity) == ("missed", 0.0, 0.0)
    assert (missed.hd95_mm, missed.hd100_mm, missed.nsd) == (penalty, penalty, 0.0)


def test_empty_masks_without_values_of_their_own() -> None:
    with_tumour, without = labels(enhancing=(5, 6)), labels(oedema=(1, 3))
    both = case(without, without, convention="nan")["ET"]
    for value in (both.dice, both.sensitivity, both.hd95_mm, both.hd100_mm, both.nsd):
        assert value is not None
        assert math.isnan(value)
    invented = case(with_tumour, without, convention="nan")["ET"]
    assert (invented.dice, invented.nsd) == (0.0, 0.0)
    assert math.isnan(invented.sensitivity)
    missed = case(without, with_tumour, convention="nan")["ET"]
    assert (missed.dice, missed.sensitivity, missed.nsd) == (0.0, 0.0, 0.0)
    for score in (invented, missed):
        assert score.hd95_mm is not None
        assert math.isnan(score.hd95_mm)


def test_penalties_are_the_diagonals_they_are_said_to_be() -> None:
    assert math.hypot(240, 240, 155) == pytest.approx(373.12866, abs=1e-5)
    assert math.floor(math.hypot(182, 218, 182)) == 337


def test_conventions_choose_their_definitions() -> None:
    # A 2 x 2 x 2 cube and one voxel 9 steps beyond it: see test_surface.
    reference = np.zeros(SHAPE, np.uint8)
    reference[:2, :2, :2] = 3
    predicted = reference.copy()
    predicted[10, 0, 0] = 3
    expected = {"brats2019": 1.8, "brats2023": 8.0, "brats2024-gli": 8.0, "nan": 1.8}
    for convention, distance in expected.items():
        score = case(predicted, reference, convention=convention)["ET"]
        assert score.hd95_mm == pytest.approx(distance)
        assert score.hd100_mm == pytest.approx(9.0)
        chosen = case(predicted, reference, convention=convention, hd95_method="monai")["ET"]
        assert chosen.hd95_mm == pytest.approx(5.4)
    # 8 of 8 and 8 of 9 border voxels agree.
    mean = case(predicted, reference, convention="brats2024-gli")["ET"].nsd
    assert mean == pytest.approx((1 + 8 / 9) / 2)


def test_spacing_and_tolerance_are_in_mm() -> None:
    predicted = labels(oedema=(1, 3), necrosis=(3, 6), enhancing=(6, 9))  # ET starts a slab later
    near = case(predicted, REFERENCE, spacing_mm=(3.0, 1.0, 1.0), tolerance_mm=3.0)["ET"]
    far = case(predicted, REFERENCE, spacing_mm=(3.0, 1.0, 1.0), tolerance_mm=2.9)["ET"]
    assert near.hd95_mm == near.hd100_mm == 3.0
    assert near.nsd == 1.0
    assert far.nsd is not None
    assert far.nsd < 1.0
    assert (near.tolerance_mm, far.tolerance_mm) == (3.0, 2.9)


def test_far_false_positive_moves_the_distance_and_little_else() -> None:
    predicted = REFERENCE.copy()
    predicted[11, 11, 11] = 3
    score = case(predicted, REFERENCE)["ET"]
    assert score.dice == pytest.approx(2 * 64 / (64 + 65))
    assert score.hd95_mm == 0.0
    assert score.hd100_mm == pytest.approx(math.hypot(3, 6, 6))  # from (8, 5, 5)


def test_layout_dtype_and_surroundings_do_not_matter() -> None:
    predicted = labels(oedema=(1, 4), necrosis=(4, 5), enhancing=(5, 10))
    expected = case(predicted, REFERENCE, lesion_wise=True)
    fortran = case(
        np.asfortranarray(predicted.astype(np.int64)),
        REFERENCE.astype(np.int16),
        lesion_wise=True,
    )
    assert fortran == expected
    larger = [np.pad(array, 4)[::-1] for array in (predicted, REFERENCE)]
    for region, score in case(larger[0], larger[1], lesion_wise=True).items():
        before = expected[region]
        assert score.specificity > before.specificity
        same = dataclasses.replace(score, specificity=before.specificity)
        assert same.nsd == pytest.approx(before.nsd)
        assert dataclasses.replace(same, nsd=before.nsd) == before


def test_scoring_leaves_its_input_alone() -> None:
    predicted, reference = REFERENCE[::-1].copy(), REFERENCE.copy()
    predicted.flags.writeable = reference.flags.writeable = False
    case(predicted, reference, lesion_wise=True)


def test_overlap_alone_has_no_distances() -> None:
    score = case(REFERENCE, REFERENCE, with_surface=False)["ET"]
    assert (score.hd95_mm, score.hd100_mm, score.nsd, score.lesions) == (None, None, None, None)
    assert score.dice == 1.0


def test_unusable_input_is_refused_with_reasons() -> None:
    with pytest.raises(InputError, match=r"BraTS_1: .*\(12, 12, 12\).*\(11, 12, 12\)"):
        case(REFERENCE, REFERENCE[1:], "BraTS_1")
    with pytest.raises(InputError, match="integer classes, found float32"):
        case(REFERENCE.astype(np.float32), REFERENCE)
    with pytest.raises(InputError, match="integer classes, found bool"):
        case(REFERENCE, REFERENCE > 0)
    with pytest.raises(InputError, match=r"\[D, H, W\]"):
        case(REFERENCE[None], REFERENCE[None])
    with pytest.raises(InputError, match=r"brats2019.*found 'brats2018'"):
        case(REFERENCE, REFERENCE, convention="brats2018")
    with pytest.raises(InputError, match="hd95_method"):
        case(REFERENCE, REFERENCE, hd95_method="itk")
    with pytest.raises(InputError, match="voxel sizes"):
        case(REFERENCE, REFERENCE, spacing_mm=(1.0, -1.0, 1.0))
    with pytest.raises(InputError, match="ET must be made of classes above 0"):
        case(REFERENCE, REFERENCE, regions={"ET": (0, 3)})
    with pytest.raises(InputError, match="at least one region"):
        case(REFERENCE, REFERENCE, regions={})


def test_own_convention() -> None:
    own = Convention(name="own", distance_one_empty_mm=100.0, hd95_method="monai")
    assert get_convention(own) is own
    missed = case(np.zeros_like(REFERENCE), REFERENCE, convention=own)["WT"]
    assert (missed.hd95_mm, missed.convention) == (100.0, "own")


def test_lesion_rules_belong_to_conventions() -> None:
    reference = np.zeros((30, 12, 12), np.uint8)
    reference[1:5, 1:5, 1:5] = 3
    reference[20:23, 1:4, 1:4] = 3  # 27 mm^3, missed
    predicted = reference.copy()
    predicted[20:] = 0
    by_2023 = case(predicted, reference, convention="brats2023", lesion_wise=True)["ET"].lesions
    by_2024 = case(predicted, reference, convention="brats2024-gli", lesion_wise=True)["ET"].lesions
    assert by_2023 is not None
    assert (by_2023.lesions, by_2023.dice) == (1, 1.0)
    assert by_2024 is not None
    assert (by_2024.lesions, by_2024.dice, by_2024.hd95_mm) == (2, 0.5, 337 / 2)


def cohort(convention: str) -> tuple[RegionScore, ...]:
    """Four cases: perfect, enhancing tumour missed, invented, and rightly absent."""
    without = labels(oedema=(1, 3), necrosis=(3, 5))
    pairs = {
        "perfect": (REFERENCE, REFERENCE),
        "missed": (without, REFERENCE),
        "invented": (REFERENCE, without),
        "absent": (without, without),
    }
    return tuple(
        score
        for name, pair in pairs.items()
        for score in case(*pair, name, convention=convention).values()
    )


def test_summary_counts_what_is_empty() -> None:
    summary = summarize(cohort("brats2019"), prefix="val")
    assert summary["val/cases"] == 4
    assert summary["val/reference_empty/ET"] == 2
    assert summary["val/missed/ET"] == 1
    assert summary["val/false_positive/ET"] == 1
    assert summary["val/both_empty/ET"] == 1
    assert summary["val/reference_empty/WT"] == summary["val/missed/WT"] == 0
    assert summary["val/dice/ET"] == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert summary["val/dice_sd/ET"] == pytest.approx(0.5)
    assert summary["val/hd95_mm/ET"] == pytest.approx(373.12866 / 2)
    means = [summary[f"val/dice/{region}"] for region in ("ET", "WT", "TC")]
    assert summary["val/dice/mean"] == pytest.approx(sum(means) / 3)
    assert not any("_defined" in name for name in summary)
    for metric in ("dice", "hd95_mm", "hd100_mm", "nsd", "sensitivity", "specificity"):
        for region in ("ET", "WT", "TC"):
            assert math.isfinite(summary[f"val/{metric}/{region}"])
            assert math.isfinite(summary[f"val/{metric}_sd/{region}"])
    assert all(type(value) is float for value in summary.values())


def test_summary_says_how_many_values_are_defined() -> None:
    summary = summarize(cohort("nan"), prefix="val")
    assert summary["val/dice/ET"] == pytest.approx(1 / 3)  # the absent one has no Dice
    assert summary["val/dice_defined/ET"] == 3
    assert summary["val/hd95_mm/ET"] == 0.0  # only the perfect one has a distance
    assert summary["val/hd95_mm_defined/ET"] == 1
    assert summary["val/missed/ET"] == 1
    assert "val/dice_defined/WT" not in summary
    # Nothing defined: no mean is made up, and the mean over regions is of the others.
    absent = [score for score in cohort("nan") if score.case_id == "absent"]
    alone = summarize(absent, prefix="val")
    assert "val/dice/ET" not in alone
    assert alone["val/dice_defined/ET"] == 0
    assert alone["val/dice/mean"] == 1.0


def test_summary_of_overlap_alone_and_of_lesions() -> None:
    plain = case(REFERENCE, REFERENCE, with_surface=False).values()
    names = summarize(plain, prefix="test")
    assert "test/dice/WT" in names
    assert not any("hd95" in name or "nsd" in name or "lesion" in name for name in names)
    lesions = summarize(case(REFERENCE, REFERENCE, lesion_wise=True).values(), prefix="test")
    assert lesions["test/lesion_dice/WT"] == 1.0
    assert lesions["test/lesions/WT"] == 1
    assert lesions["test/lesions_missed/WT"] == lesions["test/lesions_false_positive/WT"] == 0


def test_summary_is_flat_json(tmp_path) -> None:
    path = tmp_path / "summary.json"
    summary = summarize(cohort("nan"), prefix="val")
    write_json(path, summary)
    assert json.loads(path.read_text()) == summary


def test_summary_refuses_what_it_cannot_average() -> None:
    scores = cohort("brats2019")
    with pytest.raises(InputError, match="at least one case"):
        summarize([], prefix="val")
    with pytest.raises(InputError, match="each case once"):
        summarize(scores + scores[:1], prefix="val")
    with pytest.raises(InputError, match="one convention"):
        summarize(scores + tuple(case(REFERENCE, REFERENCE, convention="nan").values()), prefix="v")


def test_mean_is_over_the_three_regions_only() -> None:
    regions = {**REGIONS, "oedema": (2,)}
    predicted = labels(necrosis=(3, 5), enhancing=(5, 9))  # the oedema is missed
    summary = summarize(case(predicted, REFERENCE, regions=regions).values(), prefix="val")
    means = [summary[f"val/dice/{region}"] for region in ("ET", "WT", "TC")]
    assert summary["val/dice/oedema"] == 0.0
    assert summary["val/dice/mean"] == pytest.approx(sum(means) / 3)
    only = summarize(case(predicted, REFERENCE, regions={"oedema": (2,)}).values(), prefix="val")
    assert only["val/dice/mean"] == 0.0
