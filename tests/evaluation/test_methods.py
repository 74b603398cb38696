"""Tables of several methods, by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from brainjax.errors import InputError
from brainjax.evaluation import (
    RegionScore,
    compare_methods,
    deviations_table,
    differences_table,
    folds_table,
    means_table,
    published_table,
    spreads_of,
    table_markdown,
)

BASE = RegionScore(
    case_id="a", region="ET", outcome="both", reference_voxels=9, predicted_voxels=9, dice=0.5,
    sensitivity=0.5, specificity=1.0, hd95_mm=3.0, hd100_mm=4.0, nsd=0.5, convention="brats2019",
    hd95_method="medpy",
)  # fmt: skip


def scores(*dice: float, hd100: float = 4.0) -> list[RegionScore]:
    return [
        dataclasses.replace(BASE, case_id=f"case_{n}", region=region, dice=value, hd100_mm=hd100)
        for n, value in enumerate(dice)
        for region in ("ET", "WT")
    ]


METHODS = {"baseline": scores(0.5, 0.7), "intra": scores(0.6, 0.9, hd100=2.5)}
PATIENTS = {"case_0": "p", "case_1": "q"}
TITLES = {"baseline": "Baseline", "intra": "Baseline + Intra"}


def test_tables_4_and_5() -> None:
    rows = {TITLES[name]: spreads_of(found) for name, found in METHODS.items()}
    assert table_markdown(means_table(rows, caption="Means")).splitlines() == [
        "Means",
        "",
        "| Method | Dice (%) ET | Dice (%) WT | HD95 (mm) ET | HD95 (mm) WT | HD100 (mm) ET "
        "| HD100 (mm) WT |",
        "|---|---:|---:|---:|---:|---:|---:|",
        "| Baseline | 60.00 | 60.00 | 3.00 | 3.00 | 4.00 | 4.00 |",
        "| Baseline + Intra | 75.00 | 75.00 | 3.00 | 3.00 | 2.50 | 2.50 |",
    ]
    assert deviations_table(rows, caption="").rows == (
        ("Baseline", "10.00", "10.00", *["0.00"] * 4),
        ("Baseline + Intra", "15.00", "15.00", *["0.00"] * 4),
    )


def test_published_figures_have_columns_of_their_own() -> None:
    rows = {TITLES[name]: spreads_of(found) for name, found in METHODS.items()}
    theirs = {"Baseline": {"dice": {"ET": (0.7447, 0.3028), "WT": (0.8835, math.nan)}}}
    table = published_table(rows, theirs, "dice", caption="")
    assert table.head == ("Method", "ET", "ET, published", "WT", "WT, published")
    assert table.rows == (
        ("Baseline", "60.00 ± 10.00", "74.47 ± 30.28", "60.00 ± 10.00", "88.35"),
        ("Baseline + Intra", "75.00 ± 15.00", "none", "75.00 ± 15.00", "none"),
    )
    without = published_table(rows, theirs, "hd100_mm", caption="")
    assert without.head == ("Method", "ET", "WT")
    assert without.rows[1] == ("Baseline + Intra", "2.50 ± 0.00", "2.50 ± 0.00")


def test_folds() -> None:
    table = folds_table({"fold 0": scores(0.5), "fold 1": scores(0.6, 0.8)}, caption="")
    assert [row[:3] for row in table.rows] == [("fold 0", "1", "50.00"), ("fold 1", "2", "70.00")]


def test_differences_to_the_first() -> None:
    third = {**METHODS, "inter": scores(0.4, 0.6)}
    found = compare_methods(third, PATIENTS)
    assert len(found) == 2 * 2 * 3
    first = found[0]
    assert (first.method, first.metric, first.region) == ("intra", "dice", "ET")
    assert first.difference.mean == pytest.approx(0.15)
    assert (first.difference.low, first.difference.high) == pytest.approx((0.1, 0.2))
    assert first.difference.p_value == 0.5
    assert first.p_holm == 1.0  # the smaller of two equal ones, twice
    table = differences_table(found, "dice", TITLES, caption="")
    assert table.rows[0] == (
        "Baseline + Intra", "ET", "2", "+15.00 [+10.00, +20.00]", "0.500", "1.000",
    )  # fmt: skip
    assert table.rows[1][3] == "-10.00 [-10.00, -10.00]"
    distances = differences_table(found, "hd100_mm", TITLES, caption="")
    assert distances.rows[0][3] == "-1.50 [-1.50, -1.50]"


def test_scores_that_have_no_value() -> None:
    undefined = [dataclasses.replace(one, hd100_mm=math.nan) for one in METHODS["intra"]]
    assert means_table({"m": spreads_of(undefined)}, caption="").rows[0][-1] == "none"
    found = compare_methods({"baseline": METHODS["baseline"], "m": undefined}, PATIENTS)
    table = differences_table(found, "hd100_mm", {}, caption="")
    assert table.rows[0] == ("m", "ET", "0", "none", "none", "none")


def test_only_the_same_cases_scored_alike_are_compared() -> None:
    with pytest.raises(InputError, match="intra and baseline were scored on different cases"):
        compare_methods({**METHODS, "intra": scores(0.5)}, PATIENTS)
    other = [dataclasses.replace(one, convention="brats2023") for one in METHODS["intra"]]
    with pytest.raises(InputError, match="one way of scoring"):
        compare_methods({**METHODS, "intra": other}, PATIENTS)
    with pytest.raises(InputError, match="baseline: scores: expected each case once"):
        compare_methods({"baseline": METHODS["baseline"] * 2}, PATIENTS)
    with pytest.raises(InputError, match="at least one"):
        compare_methods({}, PATIENTS)
