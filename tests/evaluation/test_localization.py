"""Localisation scores by hand, baselines at chance, intervals and verdicts."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainjax.evaluation import (
    MapScore,
    bootstrap_means,
    centre_map,
    insertion_deletion,
    localization_markdown,
    localization_numbers,
    rank_correlation,
    score_localization,
    structural_similarity,
    summarize_localization,
    write_map_scores,
)

REGION = np.zeros((6, 8), bool)
REGION[1:3, 2:5] = True  # 6 of 48 pixels


def test_scores_of_a_map_worked_out_by_hand() -> None:
    values = np.zeros((6, 8))
    values[1, 2], values[2, 3], values[5, 7] = 3.0, 2.0, 5.0
    score = score_localization(values, REGION)
    assert score.saliency_share == pytest.approx(5 / 10)
    assert score.ratio == pytest.approx((5 / 10) / (6 / 48))
    assert score.pointing == 0
    # 2 pixels inside beat 41 zeros and lose to one; 4 tie with 41 and lose to one.
    assert score.auroc == pytest.approx((2 * 41 + 4 * 41 / 2) / (6 * 42))
    # (5, 7) lies 3 rows and 3 columns from (2, 4).
    assert score_localization(values, REGION, tolerance=4.25).pointing == 1
    assert score_localization(values, REGION, tolerance=4.2).pointing == 0
    assert score_localization(values, REGION, tolerance=8.0, spacing=(2.0, 2.0)).pointing == 0


@given(st.floats(0.0, 5.0))
def test_a_map_that_is_the_same_everywhere_scores_as_chance(value) -> None:
    score = score_localization(np.full(REGION.shape, value), REGION)
    assert (score.flat, score.ratio, score.auroc) == (True, 1.0, 0.5)
    assert score.pointing == pytest.approx(6 / 48)


def test_maps_that_are_not_finite_and_regions_that_do_not_fit() -> None:
    values = np.ones(REGION.shape)
    values[0, 0] = np.nan
    score = score_localization(values, REGION)
    assert not score.finite
    assert math.isnan(score.auroc)
    for region in (np.zeros_like(REGION), np.ones_like(REGION), REGION[:3]):
        with pytest.raises(ValueError, match="does not fit"):
            score_localization(np.ones(REGION.shape), region)


def test_volumes_are_scored_likewise() -> None:
    region = np.zeros((4, 5, 6), bool)
    region[1:3, 1:3, 1:3] = True
    score = score_localization(region.astype(float), region)
    assert (score.saliency_share, score.pointing, score.auroc) == (1.0, 1.0, 1.0)


def test_insertion_and_deletion_of_a_score_that_is_one_pixel() -> None:
    image = np.zeros((2, 2, 1), np.float32)
    image[0, 1] = 1.0
    predict = lambda images: images[:, 0, 1, 0]  # noqa: E731
    found = np.array([[0.0, 9.0], [0.0, 0.0]])
    # Found first: inserted from the first of four steps on, deleted from there on.
    black = np.zeros_like(image)
    areas = insertion_deletion(predict, image, found, deleted=black, inserted_into=black, steps=4)
    assert areas == pytest.approx((0.125 + 0.75, 0.125))
    areas = insertion_deletion(predict, image, -found, deleted=black, inserted_into=black, steps=4)
    assert areas == pytest.approx((0.125, 0.125 + 0.75))


def test_equal_values_are_put_in_by_chance_not_by_place() -> None:
    image = np.arange(100, dtype=np.float32).reshape(10, 10, 1)
    total = lambda images: images.sum((1, 2, 3))  # noqa: E731
    black = np.zeros_like(image)
    inserted, deleted = insertion_deletion(
        total, image, np.ones((10, 10)), deleted=black, inserted_into=black, steps=10
    )
    assert inserted == pytest.approx(image.sum() / 2, rel=0.1)
    assert inserted + deleted == pytest.approx(image.sum())


def test_the_centre_map_is_symmetric_and_largest_in_the_middle() -> None:
    values = centre_map((5, 7), spread=0.25)
    assert np.unravel_index(values.argmax(), values.shape) == (2, 3)
    np.testing.assert_allclose(values, values[::-1, ::-1])
    assert values[2, 3 + 1] == pytest.approx(np.exp(-0.5 * (1 / (0.25 * 7)) ** 2))


def test_similarities_of_equal_opposite_and_flat_maps() -> None:
    values = np.random.default_rng(0).random((20, 20))
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert structural_similarity(values, 7 * values) == pytest.approx(1)
    assert structural_similarity(values, values[::-1]) < 0.3
    assert math.isnan(rank_correlation(values, np.ones_like(values)))
    assert math.isnan(structural_similarity(values, np.zeros_like(values)))


def test_bootstrapped_means_draw_whole_patients() -> None:
    values = np.repeat([0.0, 1.0, 0.0, 1.0], 25)[:, None]
    patients = np.repeat(["a", "b", "c", "d"], 25)
    ((low, high),) = bootstrap_means(values, groups=patients, samples=500)
    assert (low, high) == (0.0, 1.0)  # four patients: 1/16 of the samples have none of a kind
    ((low, high),) = bootstrap_means(values, samples=500)
    assert 0.35 < low < 0.5 < high < 0.65
    table = np.array([[np.nan, np.nan], [1.0, np.nan], [3.0, np.nan]])
    limits = bootstrap_means(table, samples=200)
    assert limits[0].tolist() == [1.0, 3.0]
    assert np.isnan(limits[1]).all()


def scores_of(method, areas, **more):
    return [
        MapScore(case_id=str(n), patient_id=f"p{n // 2}", method=method,
                 values={"auroc": area, "ratio": 2 * area}, **more)
        for n, area in enumerate(areas)
    ]  # fmt: skip


@pytest.fixture
def table():
    draw = np.random.default_rng(0).normal
    return [
        *scores_of("gradient", 0.9 + 0.02 * draw(size=40)),
        *scores_of("grad_cam", 0.6 + 0.02 * draw(size=40)),
        *scores_of("occlusion", 0.5 + 0.1 * draw(size=40)),
        *scores_of("smooth_gradient", 0.2 + 0.02 * draw(size=40)),
        *scores_of("uniform", np.full(40, 0.5), flat=True),
        *scores_of("centre", np.full(40, 0.65)),
        *scores_of("intensity", np.full(40, 0.55)),
    ]


def test_verdicts_are_by_the_intervals_of_the_differences(table) -> None:
    found = {row.method: row for row in summarize_localization(
        table, samples=200, similarity={"gradient": 0.93, "grad_cam": 0.1},
        control={"grad_cam": 0.7})}  # fmt: skip
    assert found["gradient"].verdict == (
        "localises: better than chance and every baseline; hardly changes with a network made "
        "random (rank correlation 0.93)"
    )
    assert (
        found["grad_cam"].verdict
        == "better than chance, not better than a Gaussian in the middle; hardly changes with one "
        "trained on permuted labels (rank correlation 0.70)"
    )
    assert found["occlusion"].verdict == "no better than chance"
    assert found["smooth_gradient"].verdict.startswith("worse than chance")
    assert found["uniform"].verdict == "baseline"
    assert found["uniform"].flat == 40
    mean, low, high = found["gradient"].means["auroc"]
    assert low < mean < high
    assert found["gradient"].above["centre"] == pytest.approx((low - 0.65, high - 0.65))
    assert math.isnan(found["gradient"].means["insertion"][0])


def test_maps_that_are_not_finite_are_counted_and_told(table) -> None:
    broken = scores_of("gradient", [math.nan, 0.9], finite=False)
    (row,) = summarize_localization(broken, samples=20)
    assert (row.not_finite, row.means["auroc"][0]) == (2, 0.9)
    assert "2 maps are not finite" in row.verdict


def test_tables_for_people_and_programs(table, tmp_path) -> None:
    found = summarize_localization(table, samples=20)
    text = localization_markdown(found)
    assert len(text.splitlines()) == 2 + 7
    assert "| uniform | 1.00 (1.00-1.00) | n/a | 0.50 (0.50-0.50) | n/a | n/a | baseline |" in text
    assert localization_numbers(found)["auroc_low/uniform"] == 0.5
    write_map_scores(tmp_path / "scores.csv", table)
    with (tmp_path / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(table)
    assert (rows[-1]["auroc"], rows[-1]["insertion"], rows[-1]["flat"]) == ("0.55", "", "0")
