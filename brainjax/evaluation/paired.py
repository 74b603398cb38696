"""Two methods on the same cases: intervals and tests of their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from brainjax.errors import InputError
from brainjax.evaluation.bootstrap import CELLS_AT_ONCE, draw_patients
from brainjax.evaluation.probabilities import number_groups


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How far the scores of a method are from those of a reference on the same cases.

    Attributes:
      cases: pairs in which both scores have a value; only these count.
      patients: of these cases.
      mean: of the method's score minus the reference's; NaN without a pair.
      low: lower end of the bootstrap interval of this mean.
      high: upper end.
      p_value: of the two-sided Wilcoxon signed-rank test, see ``signed_rank_p_value``.
    """

    cases: int
    patients: int
    mean: float
    low: float
    high: float
    p_value: float


def compare_paired(
    method: Sequence[float] | np.ndarray,
    reference: Sequence[float] | np.ndarray,
    *,
    groups: Sequence[str] | np.ndarray | None = None,
    samples: int = 5000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Compares two methods' scores of the same cases, in the same order.

    The interval is the percentile bootstrap of the mean difference: as many patients
    as there are are drawn with replacement, each with all their cases and with both
    scores of each (Efron and Tibshirani 1993, chapters 8 and 13). The test takes one
    difference for each patient, the mean of those of their cases, since scans of one
    patient are not independent.

    Args:
      method: scores ``[n]``; NaN where there is none.
      reference: scores ``[n]`` likewise.
      groups: patient id of each case; ``""`` is a patient of its own. None: every
        case is.
      samples: number of bootstrap samples.
      confidence: share of the samples inside the interval.
      seed: seed of the draws.

    Raises:
      InputError: the scores do not pair, are infinite, or an option is out of range.

    >>> compare_paired([0.9, 0.8, 0.7], [0.8, 0.8, 0.5]).mean
    0.1
    """
    ours, theirs = (np.asarray(scores, np.float64) for scores in (method, reference))
    if ours.ndim != 1 or ours.shape != theirs.shape:
        raise InputError(
            f"scores: expected two of each case, found shapes {ours.shape} and {theirs.shape}"
        )
    if np.isinf(ours).any() or np.isinf(theirs).any():
        raise InputError("scores: expected finite numbers or NaN, found an infinite one")
    if samples < 1:
        raise InputError(f"samples: expected at least 1, found {samples}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected a number between 0 and 1, found {confidence}")
    known = ~(np.isnan(ours) | np.isnan(theirs))
    differences = (ours - theirs)[known]
    members = number_groups(groups, len(ours))[known]
    if not len(differences):
        return PairedDifference(
            cases=0, patients=0, mean=math.nan, low=math.nan, high=math.nan, p_value=math.nan
        )
    _, members = np.unique(members, return_inverse=True)
    sums, counts = (np.bincount(members, weights=w) for w in (differences, np.ones(len(members))))
    random = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // len(counts))
    means = []
    for start in range(0, samples, at_once):
        drawn = draw_patients(random, len(counts), min(at_once, samples - start))
        means.append(sums @ drawn / (counts @ drawn))
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    low, high = np.quantile(np.concatenate(means), tails)
    return PairedDifference(
        cases=len(differences),
        patients=len(counts),
        mean=float(differences.mean()),
        low=float(low),
        high=float(high),
        p_value=signed_rank_p_value(sums / counts),
    )


def signed_rank_p_value(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test that differences lie around 0.

    Differences of exactly 0 are dropped before ranking, as Wilcoxon (1945) did; where
    all are 0 nothing speaks against equality and p is 1. SciPy works it out: exactly for
    up to 50 differences without ties, else by the normal approximation with tied ranks
    corrected for, without continuity correction.

    Args:
      differences: ``[n]``, one for each patient, without NaN.

    Returns:
      The p-value; NaN without any difference.

    >>> signed_rank_p_value([0.1, 0.2, 0.3, 0.4, 0.5, 0.0])  # 2 of the 32 signs: all alike
    0.0625
    """
    values = np.asarray(differences, np.float64)
    if not len(values):
        return math.nan
    values = values[values != 0]
    if not len(values):
        return 1.0
    tied = len(np.unique(np.abs(values))) < len(values)
    method: str | scipy.stats.PermutationMethod = "asymptotic"
    if tied and len(values) <= 13:
        method = scipy.stats.PermutationMethod(
            n_resamples=2 ** len(values)
        )  # every choice of signs
    elif not tied and len(values) <= 50:
        method = "exact"
    return float(scipy.stats.wilcoxon(values, method=method, correction=False).pvalue)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of the p-values of one family of tests (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, and none may fall below a smaller
    one's; at most 1. A NaN is no test: it stays and does not count.

    >>> adjust_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    adjusted = np.full(len(values), np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return adjusted.tolist()
