"""AUROC and average precision from ranks, for one or for many weightings at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Cases from the highest score to the lowest.

    Attributes:
      order: indices of the cases ``[n]``, highest score first.
      starts: where each run of equal scores begins in ``order`` ``[m]``, m <= n.
      thresholds: the score of each run ``[m]``.
    """

    order: np.ndarray
    starts: np.ndarray
    thresholds: np.ndarray


def rank_scores(scores: np.ndarray) -> Ranking:
    """Sorts scores ``[n]`` from high to low and finds the ties."""
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    starts = np.flatnonzero(np.r_[True, descending[1:] != descending[:-1]])
    return Ranking(order=order, starts=starts, thresholds=descending[starts])


def count_runs(
    ranking: Ranking, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Adds up the weights of the positives and of the negatives in each run of equal scores.

    Args:
      ranking: the order of n cases.
      positive: booleans ``[n]``.
      weights: ``[n, S]``, a column per weighting; a bootstrap sample is one whose
        weights are how often each case was drawn.

    Returns:
      Two arrays ``[m, S]``, m being the number of runs.
    """
    ordered = weights[ranking.order].astype(np.float64, copy=False)
    positives = ordered * positive[ranking.order][:, None]
    negatives = ordered - positives
    if len(ranking.starts) < len(ranking.order):
        positives = np.add.reduceat(positives, ranking.starts, axis=0)
        negatives = np.add.reduceat(negatives, ranking.starts, axis=0)
    return positives, negatives


def ranking_scores(
    ranking: Ranking, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Computes AUROC and average precision under each weighting.

    AUROC is the probability that a positive scores higher than a negative, ties
    counting one half (Hanley and McNeil 1982). Average precision is the sum over
    thresholds of precision times the gain in recall, without interpolation.

    Args:
      ranking: the order of n cases.
      positive: booleans ``[n]``.
      weights: ``[n, S]``, not negative.

    Returns:
      AUROC ``[S]``, NaN where positives or negatives weigh nothing, and average
      precision ``[S]``, NaN where positives weigh nothing.
    """
    positives, negatives = count_runs(ranking, positive, weights)
    true = np.cumsum(positives, axis=0)
    false = np.cumsum(negatives, axis=0)
    all_positives, all_negatives = true[-1], false[-1]
    below = all_negatives[None] - false + negatives / 2
    wins = np.einsum("ms,ms->s", positives, below)
    seen = true + false
    precision = np.divide(true, seen, out=np.zeros_like(true), where=seen > 0)
    area = np.einsum("ms,ms->s", positives, precision)
    return (
        divide(wins, all_positives * all_negatives),
        divide(area, all_positives),
    )


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotients of two arrays of one shape; NaN, without a warning, where the second is 0.

    >>> divide(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    array([0.5, nan])
    """
    out = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) != 0)
