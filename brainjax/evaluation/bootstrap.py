"""How far a score may be chance: bootstrap intervals and permutation tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from brainjax.errors import InputError
from brainjax.evaluation.probabilities import (
    check_class_names,
    check_probabilities,
    number_groups,
)
from brainjax.evaluation.ranking import divide, rank_scores, ranking_scores

PERMUTATION_STATISTICS = ("auroc macro", "accuracy")
CELLS_AT_ONCE = 100_000  # cases times samples in hand at a time: what the cache holds


def bootstrap_intervals(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    groups: Sequence[str] | np.ndarray | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of accuracy, AUROC and average precision.

    Draws as many patients as there are, with replacement, and takes all cases of
    each: slices of one patient are not independent, and drawing them one by one
    would make intervals too narrow. (Efron and Tibshirani 1993, chapters 8, 13.)
    A sample that lacks a class leaves the scores that need it undefined and is
    not counted for them. The interval of a score without one error is a point.

    Args:
      probabilities: floats ``[n, K]`` whose rows sum to 1.
      labels: true classes ``[n]``, integers from 0 to K-1.
      class_names: K names; None: the numbers of the classes.
      groups: patient id of each case; ``""`` is a patient of its own. None: every
        case is.
      samples: number of bootstrap samples.
      confidence: share of the samples inside the interval.
      seed: seed of the draws.

    Returns:
      (low, high) by ``accuracy``, ``balanced_accuracy``, ``auroc/<class>``,
      ``auroc/macro``, ``average_precision/<class>`` and
      ``average_precision/macro``; NaN for a score that has no value.

    Raises:
      InputError: the predictions cannot be scored, or an option is out of range.
    """
    values = check_probabilities(probabilities, labels)
    cases, classes = values.shape
    if class_names is None:
        class_names = [str(k) for k in range(classes)]
    names = check_class_names(class_names, classes)
    if samples < 1:
        raise InputError(f"samples: expected at least 1, found {samples}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected a number between 0 and 1, found {confidence}")
    members = number_groups(groups, cases)
    positive = np.asarray(labels)[:, None] == np.arange(classes)
    right = (values.argmax(axis=1) == labels).astype(np.float64)
    rankings = [rank_scores(values[:, k]) for k in range(classes)]
    random = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // cases)
    drawn: dict[str, list[np.ndarray]] = {}
    for start in range(0, samples, at_once):
        weights = draw_patients(random, int(members.max()) + 1, min(at_once, samples - start))[
            members
        ]
        for name, scores in _weighted_scores(weights, positive, right, rankings, names).items():
            drawn.setdefault(name, []).append(scores)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    return {name: _interval(np.concatenate(scores), tails) for name, scores in drawn.items()}


def bootstrap_means(
    values: np.ndarray,
    *,
    groups: Sequence[str] | np.ndarray | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> np.ndarray:
    """Percentile bootstrap intervals of the means of several columns, drawing patients.

    Args:
      values: floats ``[n, M]``; NaN is left out of its column's mean.
      groups: patient id of each row, as in ``bootstrap_intervals``.
      samples: number of bootstrap samples.
      confidence: share of the samples inside the interval.
      seed: seed of the draws.

    Returns:
      Low and high limits ``[M, 2]``; NaN for a column without values.

    >>> bootstrap_means(np.array([[1.0], [1.0]]), samples=10).tolist()
    [[1.0, 1.0]]
    """
    members = number_groups(groups, len(values))
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    random = np.random.default_rng(seed)
    weights = draw_patients(random, int(members.max()) + 1, samples)[members]  # [n, samples]
    means = divide(filled.T @ weights, defined.astype(np.float64).T @ weights)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    return np.array([_interval(column, tails) for column in means])


def interval_numbers(
    intervals: Mapping[str, tuple[float, float]], prefix: str, *, permutation_p: float | None = None
) -> dict[str, float]:
    """Flat names and numbers of intervals, and of a permutation test where there is one.

    >>> interval_numbers({"auroc/glioma": (0.8, 0.9)}, "test", permutation_p=0.01)
    {'test/auroc_low/glioma': 0.8, 'test/auroc_high/glioma': 0.9, 'test/permutation_p': 0.01}
    """
    named = {}
    for name, limits in intervals.items():
        metric, slash, part = name.partition("/")
        for end, limit in zip(("low", "high"), limits, strict=True):
            named[f"{prefix}/{metric}_{end}{slash}{part}"] = float(limit)
    if permutation_p is not None:
        named[f"{prefix}/permutation_p"] = float(permutation_p)
    return named


def permutation_p_value(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    statistic: str = "auroc macro",
    permutations: int = 1000,
    seed: int = 0,
    groups: Sequence[str] | np.ndarray | None = None,
) -> float:
    """Tests whether predictions are better than those for shuffled labels.

    p = (b + 1) / (m + 1), b being the number of m permutations whose score is at
    least the observed one (Phipson and Smyth 2010): one-sided and never 0.

    Args:
      probabilities: floats ``[n, K]`` whose rows sum to 1.
      labels: true classes ``[n]``, integers from 0 to K-1.
      statistic: ``"auroc macro"``, the mean one-against-rest AUROC, or
        ``"accuracy"``.
      permutations: number of permutations.
      seed: seed of the permutations.
      groups: patient id of each case; labels are then exchanged between patients,
        all cases of a patient keeping one label. ``""`` is a patient of its own.

    Returns:
      The p-value; NaN where the statistic has no value (one class only).

    Raises:
      InputError: the predictions cannot be scored, a patient has several labels,
        or an option is out of range.
    """
    values = check_probabilities(probabilities, labels)
    cases, classes = values.shape
    if statistic not in PERMUTATION_STATISTICS:
        raise InputError(
            f"statistic: expected one of {PERMUTATION_STATISTICS}, found {statistic!r}"
        )
    if permutations < 1:
        raise InputError(f"permutations: expected at least 1, found {permutations}")
    labels = np.asarray(labels)
    members = number_groups(groups, cases)
    of_patient = np.empty(int(members.max()) + 1, labels.dtype)
    of_patient[members] = labels
    if np.any(of_patient[members] != labels):
        raise InputError(
            "groups: expected one label per patient, found patients with several; "
            "shuffling labels between patients means nothing then"
        )
    predicted = values.argmax(axis=1)
    ranks = scipy.stats.rankdata(values, axis=0)

    def score(rows: np.ndarray) -> np.ndarray:
        """The statistic ``[m]`` under the labels ``[m, n]``."""
        if statistic == "accuracy":
            return (rows == predicted[None]).mean(axis=1)
        areas = [auroc_of_ranks(rows == k, ranks[:, k]) for k in range(classes)]
        defined = [area for area in areas if not np.isnan(area).any()]
        return np.mean(defined, axis=0) if defined else np.full(len(rows), np.nan)

    observed = float(score(labels[None])[0])
    if math.isnan(observed):
        return math.nan
    random = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // cases)
    as_good = 0
    for start in range(0, permutations, at_once):
        rows = min(at_once, permutations - start)
        shuffled = random.permuted(np.tile(of_patient, (rows, 1)), axis=1)[:, members]
        as_good += int(np.count_nonzero(score(shuffled) >= observed - 1e-12))
    return (as_good + 1) / (permutations + 1)


def auroc_of_ranks(positive: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """AUROC from ranks, as the Mann-Whitney U of the positives over its maximum.

    Args:
      positive: booleans ``[m, n]``, a row per labelling of the n cases.
      ranks: ranks of the scores ``[n]``, 1 for the lowest, ties sharing their mean.

    Returns:
      ``[m]``; NaN where all cases or none are positive.
    """
    count = positive.sum(axis=1).astype(np.float64)
    wins = positive.astype(np.float64) @ ranks - count * (count + 1) / 2
    return divide(wins, count * (len(ranks) - count))


def draw_patients(random: np.random.Generator, patients: int, samples: int) -> np.ndarray:
    """How often each patient is drawn in each sample, float64 ``[patients, samples]``."""
    picks = random.integers(0, patients, (samples, patients)) * samples
    picks += np.arange(samples)[:, None]
    counts = np.bincount(picks.ravel(), minlength=patients * samples)
    return counts.reshape(patients, samples).astype(np.float64)


def _weighted_scores(
    weights: np.ndarray,
    positive: np.ndarray,
    right: np.ndarray,
    rankings: Sequence,
    names: Sequence[str],
) -> dict[str, np.ndarray]:
    """Every score of each sample ``[S]``, from the weights ``[n, S]`` of the cases."""
    there = positive.any(axis=0)
    of_class = positive.astype(np.float64).T
    recalls = divide((of_class * right[None]) @ weights, of_class @ weights)
    areas = [ranking_scores(ranking, positive[:, k], weights) for k, ranking in enumerate(rankings)]
    scores = {
        "accuracy": right @ weights / weights.sum(axis=0),
        "balanced_accuracy": recalls[there].mean(axis=0),
    }
    ranked = there & ~positive.all(axis=0)
    for number, (metric, defined) in enumerate((("auroc", ranked), ("average_precision", there))):
        table = np.stack([area[number] for area in areas])
        scores |= {f"{metric}/{name}": table[k] for k, name in enumerate(names)}
        empty = np.full(weights.shape[1], np.nan)
        scores[f"{metric}/macro"] = table[defined].mean(axis=0) if defined.any() else empty
    return scores


def _interval(scores: np.ndarray, tails: tuple[float, float]) -> tuple[float, float]:
    """Quantiles of the scores that have a value."""
    defined = scores[~np.isnan(scores)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, tails)
    return float(low), float(high)
