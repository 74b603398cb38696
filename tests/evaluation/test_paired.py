"""Paired intervals and tests against hand-derived cases and SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from brainjax.errors import InputError
from brainjax.evaluation import adjust_holm, compare_paired, signed_rank_p_value


def enumerated_p(differences: list[float]) -> float:
    """The test's definition: every choice of signs is as likely as any other."""
    ranks = stats.rankdata(np.abs(differences))
    middle = ranks.sum() / 2
    observed = abs(ranks[np.array(differences) > 0].sum() - middle)
    sums = [
        abs(ranks[np.array(signs)].sum() - middle)
        for signs in itertools.product([False, True], repeat=len(ranks))
    ]
    return float(np.mean(np.array(sums) >= observed - 1e-9))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 2.0, 3.0], 2 / 8),  # all alike, one of the two extremes of 2^3 sign patterns
        ([1.0, 2.0, -3.0], 1.0),  # ranks 1 + 2 = 3: the middle itself
        ([-1.0, 2.0, 3.0, 4.0], 4 / 16),  # W- = 1: {}, {1} and their complements
        ([0.0, 0.0, 1.0, 2.0, 3.0], 2 / 8),  # zeros are dropped first
        ([0.0, 0.0], 1.0),
    ],
)
def test_signed_ranks_by_hand(differences: list[float], expected: float) -> None:
    assert signed_rank_p_value(differences) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_signed_ranks_are_the_enumerated_ones(values: list[int]) -> None:
    differences = [float(value) for value in values if value]
    expected = enumerated_p(differences) if differences else 1.0  # ties and zeros included
    assert signed_rank_p_value([float(value) for value in values]) == pytest.approx(expected)


def test_signed_ranks_against_scipy(rng) -> None:
    many = rng.normal(0.3, 1, 80)
    tied = np.round(rng.normal(0.2, 1, 40), 1)
    assert signed_rank_p_value(many) == stats.wilcoxon(many).pvalue
    kept = tied[tied != 0]
    expected = stats.wilcoxon(kept, method="asymptotic", zero_method="wilcox").pvalue
    assert signed_rank_p_value(tied) == pytest.approx(expected)
    assert len(kept) < len(tied)
    assert math.isnan(signed_rank_p_value([]))


def test_holm_by_hand() -> None:
    # 4 x 0.01, 3 x 0.02, 2 x 0.04; 0.03 x 2 = 0.06 sets the floor of what comes after.
    assert adjust_holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert adjust_holm([0.9, 0.8]) == [1.0, 1.0]
    assert adjust_holm([]) == []
    found = adjust_holm([0.01, math.nan, 0.02])
    assert found[0] == pytest.approx(0.02)  # of two tests, not of three
    assert found[2] == pytest.approx(0.02)
    assert math.isnan(found[1])


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_p_value_and_bonferroni_s(values: list[float]) -> None:
    for p, adjusted in zip(values, adjust_holm(values), strict=True):
        assert p <= adjusted <= min(1.0, p * len(values)) + 1e-12
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(adjust_holm(values))[order]) >= 0)


def test_the_interval_is_scipy_s(rng) -> None:
    method, reference = rng.normal(0.8, 0.1, 40), rng.normal(0.75, 0.1, 40)
    found = compare_paired(method, reference, samples=20_000)
    theirs = stats.bootstrap(
        (method - reference,), np.mean, method="percentile", n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert found.mean == pytest.approx(np.mean(method - reference))
    assert found.low == pytest.approx(theirs.low, abs=2e-3)
    assert found.high == pytest.approx(theirs.high, abs=2e-3)
    assert found.p_value == stats.wilcoxon(method, reference).pvalue


def test_a_bootstrap_of_two_cases_by_hand() -> None:
    # Means 0, 1/2 and 1 with chances 1/4, 1/2 and 1/4: both ends of 95 % lie outside.
    found = compare_paired([0.0, 1.0], [0.0, 0.0])
    assert (found.low, found.high) == (0.0, 1.0)
    within = compare_paired([0.0, 1.0], [0.0, 0.0], confidence=0.4)
    assert (within.low, within.high) == (0.5, 0.5)


def test_patients_are_drawn_with_all_their_scans() -> None:
    """Copies of a patient's scan add nothing: interval and test stay as they were."""
    once = compare_paired([0.1, 0.2, 0.4, 0.3], [0.0] * 4, groups=list("abcd"))
    copied = compare_paired(
        [0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.3, 0.3], [0.0] * 8, groups=list("aabbccdd")
    )
    assert (copied.cases, copied.patients) == (8, 4)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert copied.p_value == once.p_value == 2 / 16
    apart = compare_paired([0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.3, 0.3], [0.0] * 8)
    assert apart.high - apart.low < copied.high - copied.low


def test_pairs_without_a_value_do_not_count() -> None:
    found = compare_paired([0.5, math.nan, 0.7], [0.4, 0.5, math.nan])
    assert found.cases == 1
    assert found.mean == pytest.approx(0.1)
    none = compare_paired([math.nan], [0.5])
    assert none.cases == 0
    assert math.isnan(none.mean + none.low + none.p_value)


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        (([0.1, 0.2], [0.1]), {}, "expected two of each case"),
        (([math.inf], [0.1]), {}, "found an infinite one"),
        (([0.1], [0.1]), {"samples": 0}, "expected at least 1"),
        (([0.1], [0.1]), {"confidence": 1.0}, "between 0 and 1"),
        (([0.1], [0.1]), {"groups": ["a", "b"]}, "expected 1 patient ids"),
    ],
)
def test_what_cannot_be_compared(arguments, options, told) -> None:
    with pytest.raises(InputError, match=told):
        compare_paired(*arguments, **options)
